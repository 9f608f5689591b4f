//! P3: nobody is ever shown two histories of a ledger, nor a smaller one after a larger one.

use custodia_exchange::message::Message;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::note::Note;
use custodia_format::tlog_proof::TlogProof;

use crate::world::World;

impl World<'_> {
    pub(super) fn see_checkpoints(&mut self, node: usize, message: &Message) {
        match message {
            Message::Hello(hello) => {
                self.see_note(node, &hello.held_checkpoint);
                self.see_newest(node, hello.size);
            }
            // One that a statement is proven under may be older than another that was sent before.
            Message::AddCheckpoint(add) => drop(self.see_note(node, &add.checkpoint)),
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
        let shown =
            self.template.peers.get(node).is_some_and(|peer| checkpoint.origin.starts_with(&format!("{}/", peer.name)));
        if shown {
            let newest = self.promises.newest.entry(node).or_default();
            *newest = (*newest).max(checkpoint.size);
        }
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

    /// What a node says of itself, whoever was shown whatever before.
    fn see_newest(&mut self, node: usize, size: u64) {
        let newest = self.promises.newest.entry(node).or_default();
        let before = std::mem::replace(newest, (*newest).max(size));
        if size < before {
            self.violated("P3", &format!("{node} shows size {size} of its ledger after {before}"));
        }
    }
}
