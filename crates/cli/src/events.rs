//! What programs are told as it happens: one JSON object a line on stdout (docs/spec/events.md). A line is written whole and
//! at once, and the last one is the answer or the failure.

use std::time::SystemTime;

use custodia_format::text::Time;
use custodia_node::Listening;
use custodia_node::api::Progress;
use custodia_node::failure::Failure;
use serde_json::{Map, Value, json};

use crate::ask::Asked;
use crate::print;

/// The name of the schema, which each line carries.
const SCHEMA: &str = "custodia.event/1";

/// How far work is.
pub(crate) fn progress(op: &str, progress: &Progress) {
    // Whoever read it has read enough.
    let _ = tell(of_progress(op, progress));
}

/// A node listens.
pub(crate) fn listening(listening: &Listening) {
    let _ = tell(event("listening", [("listening", json!(listening))]));
}

/// The last line of a command that worked.
pub(crate) fn answer(answer: Value) -> Asked {
    tell(event("answer", [("answer", answer)]))
}

/// The last line of one that did not.
pub(crate) fn failure(failure: &Failure) {
    let _ = tell(event("failure", [("exit", json!(failure.code.exit())), ("failure", json!(failure))]));
}

fn of_progress(op: &str, progress: &Progress) -> Map<String, Value> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(progress) else { return Map::new() };
    let ended = members.remove("ended");
    let name = match (&ended, members.contains_key("note")) {
        (Some(Value::Object(ended)), _) => {
            members
                .retain(|name, _| ["package", "peer", "direction", "bytes_total", "proven"].contains(&name.as_str()));
            members.extend(ended.clone());
            "ended"
        }
        (_, true) => {
            members.retain(|name, _| ["phase", "package", "peer", "direction", "note"].contains(&name.as_str()));
            "note"
        }
        _ => "progress",
    };
    members.insert("op".to_owned(), json!(op));
    event(name, members)
}

fn event<N: Into<String>>(name: &str, members: impl IntoIterator<Item = (N, Value)>) -> Map<String, Value> {
    let head = [("schema", json!(SCHEMA)), ("type", json!(name)), ("at", json!(now()))];
    let head = head.into_iter().map(|(name, value)| (name.to_owned(), value));
    head.chain(members.into_iter().map(|(name, value)| (name.into(), value))).collect()
}

fn tell(event: Map<String, Value>) -> Asked {
    print(&format!("{}\n", Value::Object(event)))
}

/// This machine's clock, to the millisecond.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).ok().and_then(Time::from_unix).unwrap_or(Time::EPOCH);
    format!("{}.{:03}Z", seconds.to_string().trim_end_matches('Z'), since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use custodia_node::api::{Ended, Outcome, Phase};

    use super::*;

    #[test]
    fn progress_a_sentence_and_an_end_are_three_events() {
        let of = |progress: &Progress| {
            let mut event = of_progress("send", progress);
            assert!(event.remove("at").is_some_and(|at| at.as_str().is_some_and(|at| at.len() == 24)));
            Value::Object(event)
        };
        let head = json!({ "schema": SCHEMA, "op": "send" });
        let with = |more: Value| {
            let (mut all, more) = (head.as_object().cloned().unwrap(), more.as_object().cloned().unwrap());
            all.extend(more);
            Value::Object(all)
        };
        let mut progress = Progress::of(Phase::Send).bytes(1, 2);
        let counted =
            json!({ "type": "progress", "phase": "send", "bytes": 1, "bytes_total": 2, "items": 0, "items_total": 0 });
        assert_eq!(of(&progress), with(counted));
        progress.note = Some("A word.".to_owned());
        assert_eq!(of(&progress), with(json!({ "type": "note", "phase": "send", "note": "A word." })));
        progress.note = None;
        progress.ended = Some(Ended { outcome: Outcome::Stopped, statement: None, code: Some("Busy".to_owned()) });
        let ended = json!({ "type": "ended", "bytes_total": 2, "outcome": "stopped", "code": "Busy" });
        assert_eq!(of(&progress), with(ended));
    }
}
