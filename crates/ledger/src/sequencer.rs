//! The sequencer: one thread that gives indexes. Whatever waits when it is free becomes one commit, so that many callers
//! share one sequence of syncs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use custodia_format::Hash;

use crate::commit::{CommitError, Committer, NewDocument};
use crate::health::Health;
use crate::ledger::{AppendError, Appended, Shared};
use crate::start::mark_poisoned;

/// A commit takes no further caller from so many documents on: the last one in still waits only milliseconds.
const GROUP_DOCUMENTS: usize = 4096;
/// Nor from so many bytes on.
const GROUP_BYTES: usize = 64 << 20;

/// One caller's documents, in the caller's order, and where to answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) documents: Vec<NewDocument>,
    pub(crate) answer: SyncSender<Answer>,
}

pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

/// Serves callers until the last of them is gone.
pub(crate) fn run(shared: &Shared, mut committer: Option<Committer>, requests: &Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let (mut count, mut bytes) = size(&first);
        let mut group = vec![first];
        while count < GROUP_DOCUMENTS && bytes < GROUP_BYTES {
            let Ok(next) = requests.try_recv() else { break };
            let (more, longer) = size(&next);
            (count, bytes) = (count + more, bytes + longer);
            group.push(next);
        }
        serve(shared, &mut committer, group);
    }
}

fn size(request: &Request) -> (usize, usize) {
    (request.documents.len(), request.documents.iter().map(|new| new.bytes.len()).sum())
}

/// A caller whose request is part of a commit.
struct Waiting {
    digests: Vec<Hash>,
    /// Whether any of its documents is in this commit; the others are in the ledger already.
    news: bool,
    answer: SyncSender<Answer>,
}

fn serve(shared: &Shared, committer: &mut Option<Committer>, group: Vec<Request>) {
    let health = shared.health();
    let first = committer.as_ref().map_or(0, Committer::size);
    let (mut waiting, mut documents, mut indexes) = (Vec::new(), Vec::new(), HashMap::new());
    for Request { documents: asked, answer } in group {
        let digests: Vec<Hash> = asked.iter().map(|new| new.entry.sha256).collect();
        let mut news = false;
        for new in asked {
            let digest = new.entry.sha256;
            if shared.index_of(&digest).is_some() {
                continue;
            }
            news = true;
            if health.may_sign() && committer.is_some() && !indexes.contains_key(&digest) {
                indexes.insert(digest, first + documents.len() as u64);
                documents.push(new);
            }
        }
        waiting.push(Waiting { digests, news, answer });
    }
    let failed = match committer {
        Some(able) if !documents.is_empty() => match able.commit(&documents) {
            Ok(signed) => {
                // Step 7: all of it is durable and public. Now readers see it, and callers are answered.
                shared.publish(signed, indexes);
                None
            }
            Err(CommitError::Full { path }) => Some(AppendError::Full { path }),
            Err(CommitError::Unknown { why }) => {
                *committer = None;
                mark_poisoned(shared.storage(), &why);
                shared.set_health(Health::Poisoned { why: why.clone() });
                Some(AppendError::Unknown { why })
            }
        },
        _ => None,
    };
    let failed = failed.unwrap_or(AppendError::Refused { health });
    for Waiting { digests, news, answer } in waiting {
        let appended = digests.into_iter().map(|digest| Some(Appended { index: shared.index_of(&digest)?, digest }));
        let result = appended.collect::<Option<Vec<Appended>>>().ok_or_else(|| failed.clone());
        debug_assert!(news || result.is_ok(), "what was in the ledger stays in it");
        // A caller that went away has its documents logged all the same.
        let _ = answer.send(result);
    }
}

/// Starts the thread.
pub(crate) fn start(
    shared: Arc<Shared>,
    committer: Option<Committer>,
    requests: Receiver<Request>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("sequencer".to_owned()).spawn(move || run(&shared, committer, &requests))
}
