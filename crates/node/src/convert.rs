//! The errors of the crates below, as people are told of them: one place, so that one fault has one wording.

use custodia_format::statement::StatementError;
use custodia_index::IndexError;
use custodia_ledger::{AppendError, Health, OpenError, ReadError, StorageError as LedgerStorage};
use custodia_net::{BindError, ConnectError, End, LinkError, NoAnswer, Tried, Via};
use custodia_vault::{Fault, ImportError, IncomingError, ItemError, LockError, Problem, StorageError};

use crate::failure::{Code, Failure};

/// Problems of a source that are named in full; the rest is counted.
const PROBLEMS_NAMED: usize = 20;

impl From<StatementError> for Failure {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Malformed(malformed) => malformed.into(),
            other => Self::new(Code::Signature, format!("A key in this statement is refused: {other}.")),
        }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::new(Code::Io, format!("The index cannot be used: {error}."))
            .safe("The index holds nothing that the ledger does not.")
            .next("delete the index/ folder and run it again: it is rebuilt from the ledger")
    }
}

impl From<Health> for Failure {
    fn from(health: Health) -> Self {
        match health {
            Health::Poisoned { why } => Self::new(Code::Poisoned, "This node reads, and signs nothing.")
                .at(why)
                .safe("Everything acknowledged before is safe; what was asked for now was not done.")
                .next("if the disk is full, free some space; else find out why it failed")
                .next("start the node again: it checks everything before it signs"),
            Health::RolledBack { why } => Self::new(Code::RolledBack, "This ledger is behind what was seen of it.")
                .at(why)
                .safe("Everything here can be read; nothing will be signed over the missing part.")
                .next("bring back the disk that is ahead, if it exists")
                .next("if it does not: stop the node, then custodia ledger succeed"),
            Health::Ended => Self::new(Code::Internal, "This ledger ended; the next generation signs."),
            Health::Signing => Self::new(Code::Internal, "The ledger signs, and said that it does not."),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full { path } => disk_full(path),
            AppendError::Refused { health } => health.into(),
            AppendError::Unknown { why } => Self::new(
                Code::Poisoned,
                "A write failed; it is not known whether this was logged.",
            )
            .at(why)
            .safe("Everything acknowledged before is safe. The next start decides whether this was logged, and what was logged is signed once.")
            .next("if the disk is full, free some space; else find out why it failed")
            .next("start the node again: it checks everything before it signs"),
            other => Self::new(Code::Internal, format!("The ledger did not take a document: {other}.")),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Name(malformed) => malformed.into(),
            OpenError::Storage(storage) => storage.into(),
            OpenError::NoLedger | OpenError::Journal { .. } => {
                Self::new(Code::RolledBack, "The ledger of this node is not here, or is another key's.")
                    .at(error)
                    .safe("No new ledger is begun over an old one: that would be a second history.")
                    .next("bring back state/ and ledger/ from the disk that had them")
            }
            other => Self::new(Code::Io, format!("The ledger cannot be opened: {other}.")),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { asked, size } => {
                Self::new(Code::UnknownStatement, "The ledger has no such entry or size.")
                    .instead_of(format!("below {size}"), asked.to_string())
            }
            other => Self::new(Code::Io, format!("The ledger cannot be read: {other}."))
                .safe("Nothing was signed.")
                .next("custodia ledger fsck"),
        }
    }
}

impl From<LedgerStorage> for Failure {
    fn from(error: LedgerStorage) -> Self {
        match error {
            LedgerStorage::Full { path } => disk_full(path),
            other => Self::new(Code::Io, format!("The ledger's files cannot be used: {other}.")),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full { path, needed, available } => {
                let failure = disk_full(path.display());
                match (needed, available) {
                    (Some(needed), Some(available)) => {
                        failure.instead_of(format!("{needed} bytes free"), format!("{available} bytes free"))
                    }
                    _ => failure,
                }
            }
            StorageError::Failed { path, error } => Self::io(&error, path),
            other => Self::new(Code::Io, format!("The vault cannot be used: {other}.")),
        }
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Storage(storage) => storage.into(),
            other => Self::new(Code::Locked, "Another process works on this home.")
                .instead_of("no other process", other.to_string())
                .safe("Nothing was touched.")
                .next("wait until it ends; a node that serves takes requests by itself on its socket"),
        }
    }
}

impl From<ItemError> for Failure {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Storage(storage) => storage.into(),
            ItemError::Cancelled => interrupted(),
            other => Self::new(Code::Io, format!("An item of this node is not what it must be: {other}."))
                .safe("Nothing was handed on. What was signed about it still holds.")
                .next("bring the item back from a backup, or receive the package again"),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Cancelled => interrupted(),
            ImportError::Storage(storage) => {
                Self::from(storage).safe("Nothing was sealed. What was copied is removed; the source was only read.")
            }
            ImportError::Refused { problems } => {
                let is_change =
                    |problem: &Problem| matches!(problem.fault, Fault::Changed { .. } | Fault::Length { .. });
                let failure = unsealable(&problems);
                match problems.iter().any(is_change) {
                    false => failure,
                    true => Self {
                        code: Code::SourceChanged,
                        next: vec!["wait until nobody writes there, then run the same command".to_owned()],
                        ..failure
                    },
                }
            }
            other => Self::new(Code::Internal, format!("The vault took nothing: {other}.")),
        }
    }
}

/// What is said of a source that cannot be sealed: everything that is wrong with it, not the first of it.
pub(crate) fn unsealable(problems: &[Problem]) -> Failure {
    let mut named: Vec<String> = problems.iter().take(PROBLEMS_NAMED).map(ToString::to_string).collect();
    if problems.len() > PROBLEMS_NAMED {
        named.push(format!("and {} more", problems.len() - PROBLEMS_NAMED));
    }
    if problems.iter().all(|problem| matches!(problem.fault, Fault::NoFiles)) {
        return Failure::new(Code::Empty, "There is no file to seal.")
            .at(named.join("; "))
            .instead_of("at least one file", "0 files")
            .safe("Nothing was sealed.")
            .next("name a file, or a folder that holds some");
    }
    let what = match problems.len() {
        1 => "One thing in the source cannot be sealed.".to_owned(),
        many => format!("{many} things in the source cannot be sealed."),
    };
    Failure::new(Code::InputUnreadable, what)
        .at(named.join("; "))
        .instead_of("regular files that can be read", "what is named above")
        .safe("Nothing was sealed. The source was only read.")
        .next("take these out of the source, or make them readable, then run the same command")
}

impl From<IncomingError> for Failure {
    fn from(error: IncomingError) -> Self {
        match error {
            IncomingError::Storage(storage) => storage.into(),
            other => Self::new(Code::PeerMisbehaved, format!("The transfer is not what its manifest says: {other}.")),
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::new(Code::Io, format!("The node cannot listen: {error}."))
            .safe("Nothing was changed; what is queued stays queued.")
            .next("choose another address: `listen` in custodia.toml")
            .next("if only TCP is taken there: `tcp = false`")
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::IdentityChanged { peer, shown } => Self::new(
                Code::IdentityChanged,
                format!("The machine that answers as {peer} shows a key that its card does not hold."),
            )
            .instead_of("a transport key of its newest card", shown.to_string())
            .safe("Nothing was sent.")
            .next("call a number that you already know, and ask whether they have a new card"),
            ConnectError::Unreachable { address, tried, tcp_answers } => unreachable(&address, &tried, tcp_answers),
            ConnectError::Ended(end) => end.into(),
            other => Self::new(Code::Internal, format!("The connection could not be made: {other}.")),
        }
    }
}

/// What is said of a peer that no road led to: each road by itself, and what can be done about it here.
fn unreachable(address: &std::net::SocketAddr, tried: &[Tried], tcp_answers: bool) -> Failure {
    let queued = "Everything is queued here; what the peer has proven is not sent again.";
    let found = tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if tcp_answers {
        return Failure::new(
            Code::UdpBlocked,
            "Nothing comes back from the peer by UDP: a firewall between may drop it.",
        )
        .at(address)
        .instead_of("an answer", format!("{found}; something listens there by TCP"))
        .safe(queued)
        .next("custodia queue via NAME auto: TCP is taken when UDP meets silence")
        .next("ask who runs this network to let UDP through to that address: it carries more");
    }
    let roads = tried.iter().map(|tried| if tried.via == Via::Tcp { "TCP" } else { "UDP" }).collect::<Vec<_>>();
    let failure = Failure::new(Code::PeerUnreachable, "The peer does not answer.")
        .at(format!("{} {address}", roads.join(" and ")))
        .instead_of("an answer", found)
        .safe(queued)
        .next("custodia queue");
    match tried.iter().any(|tried| matches!(tried.answer, NoAnswer::Silence(_))) {
        true => failure.next("ask whether their node runs, and whether the networks between let it through"),
        false => failure.next("ask whether their node runs, and listens at this address"),
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        let queued = "Everything is queued here; what the peer has proven is not sent again.";
        match &end {
            End::NotKnownThere => Self::new(Code::PeerRefused, "The peer does not know this node's key.")
                .safe(queued)
                .next("ask them to run: custodia trust add, with this node's card (custodia card)"),
            End::Misbehaved(fault) => Self::new(Code::PeerMisbehaved, "The peer broke the protocol.")
                .instead_of("docs/spec/wire.md", fault.to_string())
                .safe(queued),
            End::ByPeer(_) | End::OtherProtocol => Self::new(Code::PeerRefused, "The peer ended the connection.")
                .instead_of("a session", end.to_string())
                .safe(queued),
            _ => Self::new(Code::LinkLost, "The link was lost.")
                .instead_of("a session", end.to_string())
                .safe(queued)
                .next("custodia queue"),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Declined { refusal } => Self::new(Code::PeerRefused, "The peer refused the package.")
                .at(format!("its signed refusal {refusal}"))
                .safe("The refusal is in this ledger; nothing counts as received.")
                .next("custodia show PACKAGE"),
            LinkError::Refused(refused) if refused.code == custodia_exchange::Code::Quota => {
                Self::new(Code::Quota, "The peer may be handed no more by this authority for now.")
                    .instead_of("a consignment or a receipt", refused.to_string())
                    .safe("Nothing counts as received; it stays queued, and is tried again.")
                    .next("ask them what their node's trace says of E-QUOTA: it names the limit")
                    .next("custodia queue")
            }
            LinkError::Refused(refused) => Self::new(Code::PeerRefused, "The peer did not take the package now.")
                .instead_of("a consignment or a receipt", refused.to_string())
                .safe("Nothing counts as received; it stays queued."),
            LinkError::Ended(end) => end.into(),
            other => Self::new(Code::PeerRefused, other.to_string()),
        }
    }
}

fn disk_full(place: impl std::fmt::Display) -> Failure {
    Failure::new(Code::DiskFull, "The disk is full.").at(place).next("free some space, then run it again")
}

fn interrupted() -> Failure {
    Failure::new(Code::Interrupted, "Interrupted.").next("run the same command again")
}
