//! P3: nobody is ever shown two histories of a ledger, nor a smaller one after a larger one.

use custodia_exchange::message::Message;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::note::Note;
use custodia_format::tlog_proof::TlogProof;

use crate::world::World;

impl World<'_> {
    pub(super) fn see_checkpoints(&mut self, node: usize, connection: u64, message: &Message) {
        match message {
            Message::Hello(hello) => {
                self.see_note(node, &hello.held_checkpoint);
                // What anybody was shown before this session began is behind it.
                let shown = self.promises.newest.get(&node).copied().unwrap_or(0);
                self.see_newest(node, connection, hello.size, shown);
            }
            Message::AddCheckpoint(add) => {
                if let Some(checkpoint) = self.see_note(node, &add.checkpoint) {
                    // It was read before it was proven; another session may have shown a newer one meanwhile.
                    let shown = self.promises.shown.get(&(connection, node)).copied().unwrap_or(0);
                    self.see_newest(node, connection, checkpoint.size, shown);
                }
            }
            Message::Notes(notes) => notes.iter().for_each(|note| drop(self.see_note(node, note))),
            Message::Statement(signed) => match TlogProof::parse(&signed.tlog_proof) {
                Ok(proof) => drop(self.see_note(node, proof.checkpoint.print().as_bytes())),
                Err(error) => self.violated("P9", &format!("{node} sends a statement with a bad proof: {error}")),
            },
            _ => {}
        }
    }

    fn see_note(&mut self, node: usize, note: &[u8]) -> Option<Checkpoint> {
        if note.is_empty() {
            return None;
        }
        let checkpoint = Note::parse(note).ok().and_then(|note| Checkpoint::parse_text(&note.text).ok());
        let Some(checkpoint) = checkpoint else {
            self.violated("P9", &format!("{node} shows a note that is no checkpoint"));
            return None;
        };
        let key = (checkpoint.origin.clone(), checkpoint.size);
        let known = *self.promises.checkpoints.entry(key).or_insert(checkpoint.root);
        if known != checkpoint.root {
            let Checkpoint { origin, size, root } = &checkpoint;
            self.violated(
                "P3",
                &format!("{node} shows {origin} of size {size} with root {root}, and {known} was seen"),
            );
        }
        Some(checkpoint)
    }

    fn see_newest(&mut self, node: usize, connection: u64, size: u64, before: u64) {
        let newest = self.promises.newest.entry(node).or_default();
        *newest = (*newest).max(size);
        self.promises.shown.insert((connection, node), size);
        if size < before {
            self.violated("P3", &format!("{node} shows size {size} of its ledger after {before}"));
        }
    }
}
