//! P9 and P10: an error of the disk is said, and after one on the ledger's way nothing is signed until a restart.

use custodia_node::watched;

use crate::disk::GivenError;
use crate::world::World;

impl World<'_> {
    /// A call came back: what the disk did to it must show.
    pub(crate) fn judge_errors(&mut self, node: usize, what: &str, given: &[GivenError], refused: bool) {
        let Some(station) = self.stations.get(node) else { return };
        let Some(up) = &station.up else { return };
        let ledger = watched::ledger(&up.node);
        let (may_sign, size, stopped) = (ledger.health().may_sign(), ledger.size(), station.stopped_at);
        let told = refused || !may_sign;
        for error in given {
            self.note(&format!("{node} had an IO error: {} {}", error.call, error.path.display()));
        }
        if let Some(error) = given.iter().find(|error| must_be_told(error)).filter(|_| !told) {
            let GivenError { call, path } = error;
            self.violated("P9", &format!("{node}: {what} went well, and {call} of {} had failed", path.display()));
        }
        if let Some(error) = given.iter().find(|error| leaves_doubt(error)).filter(|_| may_sign) {
            let GivenError { call, path } = error;
            self.violated("P10", &format!("{node} may sign, and {call} of {} had failed", path.display()));
        }
        match stopped {
            Some(before) if may_sign || size != before => {
                self.violated("P10", &format!("{node} had stopped signing at size {before}, and signs: {size}"));
            }
            None if !may_sign => {
                if let Some(station) = self.stations.get_mut(node) {
                    station.stopped_at = Some(size);
                }
                self.note(&format!("{node} signs no more"));
            }
            _ => {}
        }
    }
}

/// Whether somebody must hear of it: all but what a node does for its own convenience, after what counts is done.
fn must_be_told(error: &GivenError) -> bool {
    let path = &error.path;
    let is_statistic = path.file_name().is_some_and(|name| name == "travelled") || path.starts_with("desk");
    let is_rest = error.call.starts_with("remove");
    !is_statistic && !is_rest
}

/// Whether the ledger must stop: a write, a sync or a name of its own failed.
fn leaves_doubt(error: &GivenError) -> bool {
    let is_ledgers = ["state", "ledger", "statements", "anchors"].iter().any(|folder| error.path.starts_with(folder));
    is_ledgers && matches!(error.call, "write" | "sync" | "rename") && !error.path.ends_with("state/poisoned")
}
