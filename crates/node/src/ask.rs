//! Asking the peers what they saw of our ledger: a disk that was restored cannot know by itself that it is old.
//!
//! Before the first signature on a disk that is new here, or after the machine was started, all peers are asked, for some
//! seconds. What they tell is acted on where the session hears it: a ledger that is behind signs nothing, and what was
//! forgotten of others' ledgers is learned again. Where nobody answers the node signs on, and says that nobody has confirmed
//! it. `desk/asked` remembers the answer for this start of the machine and for this copy of the file: a copied home has
//! another.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use custodia_format::text::Label;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::failure::{Code, Failure};
use crate::home::{self, Home, NewFile};
use crate::outbox::{self, Online};
use crate::peers::Authority;
use crate::{Node, edge};

/// How long the first signature waits for peers: some round trips by satellite.
const PATIENCE: Duration = Duration::from_secs(4);
/// So long nobody is asked again after nobody had answered.
const AGAIN_SECONDS: i64 = 300;

/// What came of asking.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Who told.
    pub(crate) heard: Vec<Label>,
    /// Who did not, and why.
    pub(crate) silent: Vec<(Label, Failure)>,
}

/// When a call has done what it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The peer has told what it saw; the session goes on by itself.
    Heard,
    /// The session is over: the peer has learned what is new of us, too.
    Over,
}

/// Asks all peers at once, and waits so long for each.
pub(crate) async fn all(node: &Arc<Node>, online: &Arc<Online>, until: Until, patience: Duration) -> Asked {
    let mut calls = JoinSet::new();
    for authority in node.peers().all() {
        let (node, online) = (node.clone(), online.clone());
        calls.spawn(async move { (authority.clone(), one(node, online, authority, until, patience).await) });
    }
    let mut asked = Asked::default();
    while let Some(Ok((authority, told))) = calls.join_next().await {
        match told {
            Ok(()) => asked.heard.push(authority.name.clone()),
            Err(failure) => asked.silent.push((authority.name.clone(), failure)),
        }
    }
    asked.heard.sort();
    asked.silent.sort_by(|one, other| one.0.cmp(&other.0));
    asked
}

async fn one(
    node: Arc<Node>,
    online: Arc<Online>,
    authority: Arc<Authority>,
    until: Until,
    patience: Duration,
) -> Result<(), Failure> {
    let root = authority.root;
    // A call of its own, so that a session that has told what it had to is not cut off.
    let mut call = tokio::spawn(async move { outbox::greet(&online, &authority).await });
    let told = async {
        tokio::select! {
            greeted = &mut call => greeted.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string()))),
            () = node.heard().heard(&root), if until == Until::Heard => Ok(()),
        }
    };
    match timeout(patience, told).await {
        Ok(Ok(())) => Ok(()),
        // A session that ended because we are behind has told all the same.
        Ok(Err(_)) if node.heard().when(&root).is_some() => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(Code::PeerUnreachable, "The peer did not tell in time what it saw of this ledger.")
            .instead_of(format!("an answer within {} s", patience.as_secs()), "none")),
    }
}

/// Asks, where that was not done yet, before this process signs for the first time. Whether it may sign then, the ledger
/// says. Blocks; the thread belongs to a runtime.
pub(crate) fn before_signing(node: &Arc<Node>) -> Result<(), Failure> {
    let mut asked = node.asked();
    if *asked {
        return Ok(());
    }
    let record = Record::read(node.home())?;
    let now = edge::now().unix();
    let recent = |record: &Record| record.answered || (0..AGAIN_SECONDS).contains(&(now - record.at));
    if record.is_some_and(|record| record.is_of_here(node.home()) && recent(&record)) || node.peers().all().is_empty() {
        *asked = true;
        return Ok(());
    }
    let runtime = Handle::try_current().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let (online, own) = match node.online() {
        Some(online) => (online, false),
        // A port of its own for this question: nobody is to call here.
        None => (Online::to_ask(node, std::net::SocketAddr::from(([0, 0, 0, 0], 0)))?, true),
    };
    let told = runtime.block_on(all(node, &online, Until::Heard, PATIENCE));
    for (name, why) in &told.silent {
        tracing::warn!(peer = %name, %why, "a peer has not told what it saw of this ledger");
    }
    Record::write(node.home(), !told.heard.is_empty())?;
    *asked = true;
    // Sessions that wait for this go on; only then can they be ended.
    drop(asked);
    if own {
        // Nobody waits for those who did not answer.
        runtime.spawn(async move { online.close().await });
    }
    Ok(())
}

/// What `desk/asked` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    boot: String,
    inode: u64,
    /// Seconds since 1970, by our clock.
    at: i64,
    /// Whether anybody told.
    pub(crate) answered: bool,
}

const HEADER: &str = "custodia/asked/v1";
/// Bytes of it.
const RECORD_BYTES: u64 = 1024;

impl Record {
    /// Reads it. One that does not parse is none: then the peers are asked again.
    pub(crate) fn read(home: &Home) -> Result<Option<Self>, Failure> {
        let text = home::read_file(&home.asked(), RECORD_BYTES)?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.and_then(|text| Self::parse(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut line = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        line(HEADER).filter(|rest| rest.is_empty())?;
        let (boot, inode) = (line("boot ")?.to_owned(), line("inode ")?.parse().ok()?);
        Some(Self { boot, inode, at: line("at ")?.parse().ok()?, answered: line("answered ")? == "yes" })
    }

    /// Writes down that the peers were asked now, on this disk, since this start of the machine.
    pub(crate) fn write(home: &Home, answered: bool) -> Result<(), Failure> {
        let mut new = NewFile::create(&home.desk())?;
        let inode = new.file().metadata().map_err(|error| Failure::io(&error, new.path()))?.ino();
        let answered = if answered { "yes" } else { "no" };
        let text =
            format!("{HEADER}\nboot {}\ninode {inode}\nat {}\nanswered {answered}\n", edge::boot(), edge::now().unix());
        let written = std::io::Write::write_all(new.file(), text.as_bytes());
        written.map_err(|error| Failure::io(&error, new.path()))?;
        new.keep_as(&home.asked())
    }

    /// Whether it was written on this disk, since this start of the machine: a home that was copied, or a disk that was put
    /// back while the machine was off, has another record, or none.
    fn is_of_here(&self, home: &Home) -> bool {
        let inode = std::fs::metadata(home.asked()).map(|metadata| metadata.ino());
        self.boot == edge::boot() && inode.is_ok_and(|inode| inode == self.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_on_the_disk_and_in_the_start_where_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        home.create().unwrap();
        assert_eq!(Record::read(&home).unwrap(), None);
        Record::write(&home, true).unwrap();
        let record = Record::read(&home).unwrap().unwrap();
        assert!(record.is_of_here(&home) && record.answered);
        Record::write(&home, false).unwrap();
        assert!(!Record::read(&home).unwrap().unwrap().answered);

        let copy = folder.path().join("copy");
        assert!(std::process::Command::new("cp").arg("-a").arg(home.path()).arg(&copy).status().unwrap().success());
        let copy = Home::new(copy);
        assert!(!Record::read(&copy).unwrap().unwrap().is_of_here(&copy));
        let earlier = Record { boot: "another start".to_owned(), ..record };
        assert!(!earlier.is_of_here(&home));

        for bad in ["", "custodia/asked/v2\n", "custodia/asked/v1\nboot x\ninode y\nat 1\nanswered yes\n"] {
            home::write_durably(&home.asked(), bad.as_bytes()).unwrap();
            assert_eq!(Record::read(&home).unwrap(), None, "{bad:?}");
        }
    }
}
