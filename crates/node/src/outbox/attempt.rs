//! One session with an authority, for as long as there is something to hand over in it.
//!
//! What is to be done can change while it lasts: what is queued meanwhile joins in, what is to wait is let go, and the rest
//! goes on. An attempt that fails leaves nothing behind: what the peer has proven is proven, and the queue is the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use custodia_format::Hash;
use custodia_format::key::KeyId;
use custodia_net::{Delivered, End, Link, LinkError, Via};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::roads::connect;
use super::{Online, Work};
use crate::Node;
use crate::failure::{Code, Failure};
use crate::peers::Authority;
use crate::watch::News;

/// How long a session that we made and that has nothing left waits for what may be queued right behind: to make another one
/// would take longer.
const LINGERS: Duration = Duration::from_millis(100);

/// What became of something that was handed over.
enum Done {
    Package(Hash, Result<Delivered, LinkError>),
    Statement(Result<(), LinkError>),
    /// What was let through before the day was used up has left.
    Left,
}

/// Calls an authority once, or takes the session in which it called us, and hands over what it must still get.
pub(super) async fn attempt(
    node: &Arc<Node>,
    online: &Online,
    root: &KeyId,
    work: watch::Receiver<Work>,
) -> Result<(), Failure> {
    let authority = node
        .peers()
        .rooted(root)
        .ok_or_else(|| Failure::new(Code::UnknownPeer, "The recipient is not trusted any more.").at(root))?;
    if let Some(link) = online.call_of(root) {
        return hand_over(online, &link, Session::Theirs, work).await?.map_or(Ok(()), Err);
    }
    let via = work.borrow().via;
    let mut otherwise = work.clone();
    let link = tokio::select! {
        link = connect(online, &authority, via) => link?,
        () = goes_otherwise(&mut otherwise, |wished| wished == via) => return Ok(()),
    };
    let handed = tokio::select! {
        handed = hand_over(online, &link, Session::Ours, work) => handed,
        () = goes_otherwise(&mut otherwise, |wished| [Via::Auto, link.via()].contains(&wished)) => {
            let end = link.hang_up().await;
            return begins_anew(online, root, end);
        }
    };
    let refused = match handed {
        // What was cut off is tried at once, by the network that there is now.
        Err(_) if link.has_ended() && link.ended().await == End::Moved => return begins_anew(online, root, End::Moved),
        handed => handed?,
    };
    let end = link.close().await;
    match refused {
        Some(failure) => Err(failure),
        None if end.is_orderly() => Ok(()),
        None => Err(end.into()),
    }
}

/// Waits until people want another road than one that fits.
async fn goes_otherwise(work: &mut watch::Receiver<Work>, fits: impl Fn(Via) -> bool) {
    if work.wait_for(|work| !fits(work.via)).await.is_err() {
        // Nobody asks for anything any more: whoever hands over sees to that.
        std::future::pending().await
    }
}

/// The session was broken off for a better one: that is no failure, and the next one follows at once.
fn begins_anew(online: &Online, root: &KeyId, end: End) -> Result<(), Failure> {
    let failure = match end {
        End::ByUs(_) => Failure::new(Code::LinkLost, "The link was broken off: the peer is called by another road."),
        end => end.into(),
    };
    tracing::info!(why = %failure.what, "a session begins anew");
    online.watch.news(News::Attempt(*root, Box::new(failure), 0));
    Ok(())
}

/// Who made the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    /// We called, and close it when nothing is left.
    Ours,
    /// The peer called, and closes it, perhaps while we begin: that is no failure, for we can call. What is queued while it
    /// lasts goes at once.
    Theirs,
}

/// Content that was let through on a day that is used up by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Nothing,
    /// It is on its way.
    Now,
    /// It has left: its packages are withdrawn.
    Gone,
}

/// Hands over what can be in this session; gives the last of what the peer did not take.
async fn hand_over(
    online: &Online,
    link: &Link,
    session: Session,
    mut work: watch::Receiver<Work>,
) -> Result<Option<Failure>, Failure> {
    let mut tasks: JoinSet<Done> = JoinSet::new();
    let mut under_way: BTreeSet<Hash> = BTreeSet::new();
    // Of them those that were told to wait, and have not ended yet.
    let mut withdrawn: BTreeSet<Hash> = BTreeSet::new();
    // Packages that ended in this session, whatever the work that was last looked at says of them.
    let mut over: BTreeSet<Hash> = BTreeSet::new();
    // A session begins with what is owed: in one that is new it goes without being pushed.
    let mut owed: BTreeSet<Hash> = match session {
        Session::Ours => work.borrow().owed.iter().copied().collect(),
        Session::Theirs => BTreeSet::new(),
    };
    let mut refused = None;
    let mut leaving = Leaving::Nothing;
    let mut has_changed = true;
    loop {
        if std::mem::take(&mut has_changed) {
            let now = work.borrow_and_update().clone();
            let wanted: BTreeSet<Hash> = now.releases.iter().copied().collect();
            for release in under_way.difference(&wanted) {
                if online.is_used_up() && !online.wishes.borrow().is_paused(release) && leaving != Leaving::Gone {
                    // What is counted and on its way may arrive first.
                    if std::mem::replace(&mut leaving, Leaving::Now) == Leaving::Nothing {
                        let link = link.clone();
                        tasks.spawn(async move {
                            link.falls_silent().await;
                            Done::Left
                        });
                    }
                } else if withdrawn.insert(*release) {
                    link.withdraw(*release).await?;
                }
            }
            if leaving == Leaving::Gone {
                leaving = Leaving::Nothing;
            }
            for release in now.releases {
                if !over.contains(&release) && under_way.insert(release) {
                    let link = link.clone();
                    tasks.spawn(async move { Done::Package(release, link.deliver(release).await) });
                }
            }
            for statement in now.owed {
                if owed.insert(statement) {
                    let link = link.clone();
                    tasks.spawn(async move { Done::Statement(link.push(statement).await) });
                }
            }
        }
        tokio::select! {
            () = sleep(LINGERS), if session == Session::Ours && tasks.is_empty() => return Ok(refused),
            _ = link.ended(), if tasks.is_empty() => return Ok(refused),
            Some(done) = tasks.join_next() => match done {
                Err(error) => return Err(Failure::new(Code::Internal, error.to_string())),
                Ok(Done::Package(release, outcome)) => {
                    under_way.remove(&release);
                    let was_withdrawn = withdrawn.remove(&release);
                    match outcome {
                        // It may be wanted again by now.
                        Err(LinkError::Refused(_)) if was_withdrawn => has_changed = true,
                        // A refusal is an answer: it is in our ledger, and nothing is owed any more.
                        Ok(_) | Err(LinkError::Declined { .. }) => {
                            over.insert(release);
                        }
                        Err(error @ LinkError::Refused(_)) => {
                            over.insert(release);
                            refused = Some(error.into());
                        }
                        Err(LinkError::Ended(_)) if session == Session::Theirs => return Ok(refused),
                        Err(error) => return Err(error.into()),
                    }
                    // Others may have waited for it. To look at all of the queue after each package would cost a large
                    // queue more than the packages do.
                    if online.wishes.borrow().is_first(&release) {
                        online.look.notify_one();
                    }
                }
                Ok(Done::Left) => (leaving, has_changed) = (Leaving::Gone, true),
                Ok(Done::Statement(outcome)) => match outcome {
                    Ok(()) => {}
                    // It stays owed, and is sent in the next session.
                    Err(error @ LinkError::Refused(_)) => refused = Some(error.into()),
                    Err(LinkError::Ended(_)) if session == Session::Theirs => return Ok(refused),
                    Err(error) => return Err(error.into()),
                },
            },
            changed = work.changed() => match changed {
                Ok(()) => has_changed = true,
                // Nobody asks for anything any more.
                Err(_) => return Ok(refused),
            },
        }
    }
}

/// Calls an authority once and hands it nothing: who was met has told what it saw of our ledger, and has cosigned what it
/// had not.
pub(crate) async fn greet(online: &Online, authority: &Authority) -> Result<(), Failure> {
    let via = online.wishes.borrow().via(&authority.root, &[]);
    let end = connect(online, authority, via).await?.close().await;
    if end.is_orderly() { Ok(()) } else { Err(end.into()) }
}
