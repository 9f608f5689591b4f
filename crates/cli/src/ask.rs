//! From a command to a request, and from its answer to words.

mod custody;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use custodia_court::{CourtError, Drawn};
use custodia_node::api::{Door, Operation, Reporter};
use custodia_node::failure::{Code, Failure};
use custodia_node::home::Home;
use custodia_node::operations as op;
use custodia_node::{Node, init};
use serde::Serialize;

use crate::args::{
    Audit, Channel, Command, Common, HandOver, Init, Ledger, Officer, Records, Trust, Usb, Verify, Waiting,
};
use crate::progress::{Teller, WATCH};
use crate::{events, print, say};

/// What a command ends with: an exit code, or a failure to be told.
pub(crate) type Asked = Result<u8, Failure>;

/// Bytes of a file that is read whole because somebody named it: a card, a certificate, a passphrase.
const NAMED_FILE_BYTES: u64 = 1024 * 1024;

/// Does a command; all but one need a node.
pub(crate) async fn command(command: Command, common: &Common) -> Asked {
    if let Command::Ledger(Ledger::Audit(audit)) = command {
        return self::audit(audit, common).await;
    }
    let home = home(common)?;
    match command {
        Command::Init(init) => make(&home, &init, common),
        Command::Card => {
            let card = call(&home, common, |_| op::Card {}).await?;
            if !common.is_for_programs() {
                say::fingerprint(&card);
            }
            answer(common, &card, |card| card.cards.clone())
        }
        Command::Trust(Trust::Add { card, fingerprint, channel }) => {
            let card = read_text(&card)?;
            let channel = match channel {
                Channel::InPerson => "in-person",
                Channel::Call => "call",
                Channel::Letter => "letter",
                Channel::Published => "published",
            };
            let trusted = call(&home, common, |passphrase| op::TrustAdd {
                card: card.clone(),
                fingerprint: fingerprint.clone(),
                channel: channel.to_owned(),
                officer: common.officer.clone(),
                passphrase,
            })
            .await?;
            answer(common, &trusted, say::trusted)
        }
        Command::Trust(Trust::Tsa { certificate, fingerprint }) => {
            let certificate = custodia_format::text::to_b64(&read_named(&certificate)?);
            let trusted = call(&home, common, |_| op::TrustTsa {
                certificate: certificate.clone(),
                fingerprint: fingerprint.clone(),
            })
            .await?;
            answer(common, &trusted, say::trusted_tsa)
        }
        Command::Trust(Trust::List) => {
            let list = call(&home, common, |_| op::TrustList {}).await?;
            answer(common, &list, |list| say::trust_list(list))
        }
        Command::Trust(Trust::Export) => {
            let text = call(&home, common, |_| op::TrustExport {}).await?;
            answer(common, &text, |text| text.text.clone())
        }
        Command::Officer(Officer::Add { name }) => {
            let officer = call(&home, common, |passphrase| op::OfficerAdd { name: name.clone(), passphrase }).await?;
            answer(common, &officer, say::officer)
        }
        Command::Seal(seal) => {
            let paths = seal.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
            let records = seal.records.as_deref().map(absolute).transpose()?;
            let sealed = call(&home, common, |passphrase| op::Seal {
                paths: paths.clone(),
                case: seal.case.clone(),
                note: seal.note.clone(),
                records: records.clone(),
                dry_run: seal.dry_run,
                by: by(common, passphrase),
            })
            .await?;
            answer(common, &sealed, say::sealed)?;
            Ok(if sealed.problems.is_empty() { 0 } else { Code::Records.exit() })
        }
        Command::Records(Records::Template { dir }) => {
            answer(common, &op::records_templates(&absolute(&dir)?)?, say::templates)
        }
        Command::Records(Records::List { package, of_type, from }) => {
            let request = |_| op::RecordsList { package: package.clone(), of_type: of_type.clone(), from };
            let page = call(&home, common, request).await?;
            answer(common, &page, say::records)
        }
        Command::Records(Records::About { case, code }) => {
            let about = call(&home, common, |_| op::RecordsAbout { case: case.clone(), code: code.clone() }).await?;
            answer(common, &about, |about| say::records_about(about))
        }
        Command::Send(send) => {
            let delivery = call(&home, common, |passphrase| op::Send {
                package: send.package.clone(),
                to: send.to.clone(),
                purpose: send.purpose.clone(),
                legal_basis: send.legal_basis.clone(),
                wait: send.wait,
                via: send.via.clone(),
                deadline: send.deadline.clone(),
                within: send.within.clone(),
                terms: op::Terms {
                    use_: send.limits.use_.clone(),
                    onward: send.limits.onward.clone(),
                    lead_only: send.limits.lead_only,
                    return_: send.limits.return_,
                    retain_until: send.limits.retain_until.clone(),
                    consent: send.limits.consent.clone(),
                    exculpatory: send.limits.exculpatory.clone(),
                    although: send.limits.although.clone(),
                },
                by: by(common, passphrase),
            })
            .await?;
            answer(common, &delivery, say::delivery)
        }
        Command::Usb(Usb::Write { dir, to, plain, again }) => {
            let dir = absolute(&dir)?;
            let chosen = if plain { None } else { chosen_passphrase(common, "Choose a passphrase for the medium.")? };
            let written = call(&home, common, |_| op::UsbWrite {
                dir: dir.clone(),
                to: to.clone(),
                passphrase: chosen.clone(),
                plain,
                again,
            })
            .await?;
            answer(common, &written, say::usb_written)
        }
        Command::Usb(Usb::Read { dir }) => {
            let dir = absolute(&dir)?;
            let read = call(&home, common, |passphrase| op::UsbRead { dir: dir.clone(), passphrase }).await?;
            answer(common, &read, say::usb_read)?;
            Ok(u8::from(!read.problems.is_empty()))
        }
        Command::Queue { what: Some(Waiting::Why { package }), .. } => {
            let waits = call(&home, common, |_| op::QueueWhy { package: package.clone() }).await?;
            answer(common, &waits, |waits| say::queue_why(waits))
        }
        Command::Queue { what: Some(Waiting::Pause(it)), .. } => order(&home, common, it, op::Order::Wait).await,
        Command::Queue { what: Some(Waiting::Resume(it)), .. } => order(&home, common, it, op::Order::GoOn).await,
        Command::Queue { what: Some(Waiting::First(it)), .. } => order(&home, common, it, op::Order::First).await,
        Command::Queue { what: Some(Waiting::Limit { rate }), .. } => {
            let pace = call(&home, common, |_| op::QueueLimit { limit: rate.clone() }).await?;
            answer(common, &pace, say::pace)
        }
        Command::Queue { what: Some(Waiting::Deadline { which, deadline, within }), .. } => {
            let asked = |_| op::QueueDeadline {
                package: which.package.clone(),
                to: which.to.clone(),
                deadline: deadline.clone(),
                within: within.clone(),
            };
            let transfers = call(&home, common, asked).await?;
            answer(common, &transfers, |transfers| say::queue_why(transfers))
        }
        Command::Queue { what: Some(Waiting::Cap { cap }), .. } => {
            let cap = call(&home, common, |_| op::QueueCap { cap: cap.clone() }).await?;
            answer(common, &cap, say::cap)
        }
        Command::Queue { what: Some(Waiting::Via { to, via }), .. } => {
            let road = call(&home, common, |_| op::QueueVia { to: to.clone(), via: via.clone() }).await?;
            answer(common, &road, say::road)
        }
        Command::Queue { what: Some(Waiting::Watch), .. } => watch(common).await,
        Command::Queue { what: None, now } => {
            let queue = call(&home, common, |_| op::Queue { now }).await?;
            answer(common, &queue, |queue| say::queue(queue))
        }
        Command::Inbox => {
            let inbox = call(&home, common, |_| op::Inbox {}).await?;
            answer(common, &inbox, |inbox| say::inbox(inbox))
        }
        Command::Show { package } => {
            let shown = call(&home, common, |_| op::Show { package: package.clone() }).await?;
            answer(common, &shown, say::shown)
        }
        Command::Event(event) => custody::event(&home, &event, common).await,
        Command::Label(label) => custody::label(&home, &label, common).await,
        Command::Chain(chain) => custody::chain(&home, &chain, common).await,
        Command::Disclose(disclose) => custody::disclose(&home, &disclose, common).await,
        Command::Accept { package } => {
            let line =
                call(&home, common, |passphrase| op::Accept { package: package.clone(), by: by(common, passphrase) })
                    .await?;
            answer(common, &line, say::signed)
        }
        Command::Refuse { package, reason } => {
            let line = call(&home, common, |passphrase| op::Refuse {
                package: package.clone(),
                reason: reason.clone(),
                by: by(common, passphrase),
            })
            .await?;
            answer(common, &line, say::signed)
        }
        Command::Prove { package, out, disclosure, annexes } => {
            let out = absolute(&out)?;
            let request =
                |_| op::Prove { package: package.clone(), out: out.clone(), disclosure: disclosure.clone(), annexes };
            let written = call(&home, common, request).await?;
            answer(common, &written, say::written)
        }
        Command::Export { package, dir, disclosure, annexes, bag } => {
            let dir = absolute(&dir)?;
            let request = |_| op::Export {
                package: package.clone(),
                dir: dir.clone(),
                disclosure: disclosure.clone(),
                annexes,
                bag,
            };
            let written = call(&home, common, request).await?;
            answer(common, &written, say::written)
        }
        Command::Ledger(Ledger::Checkpoint) => {
            let head = call(&home, common, |_| op::LedgerCheckpoint {}).await?;
            answer(common, &head, say::ledger_head)
        }
        Command::Ledger(Ledger::List) => {
            let lines = call(&home, common, |_| op::LedgerList {}).await?;
            answer(common, &lines, |lines| say::statements(lines))
        }
        Command::Ledger(Ledger::Show { n }) => {
            let text = call(&home, common, |_| op::LedgerShow { leaf_index: n }).await?;
            answer(common, &text, |text| text.text.clone())
        }
        Command::Ledger(Ledger::Prove { n }) => {
            let text = call(&home, common, |_| op::LedgerProve { leaf_index: n }).await?;
            answer(common, &text, |text| text.text.clone())
        }
        Command::Ledger(Ledger::Timestamp) => {
            let stamped = call(&home, common, |_| op::LedgerTimestamp {}).await?;
            answer(common, &stamped, |stamped| say::stamped(stamped))?;
            Ok(stamped.iter().find_map(|one| one.failure.as_ref()).map_or(0, |failure| failure.code.exit()))
        }
        Command::Doctor => {
            let diagnosis = call(&home, common, |_| op::Doctor {}).await?;
            answer(common, &diagnosis, say::diagnosis)?;
            Ok(u8::from(diagnosis.checks.iter().any(|check| !check.ok)))
        }
        Command::Metrics => {
            let text = call(&home, common, |_| op::Metrics {}).await?;
            answer(common, &text, |text| text.text.clone())
        }
        Command::Backup { dir, without_keys } => {
            let dir = absolute(&dir)?;
            let done = call(&home, common, |_| op::Backup { dir: dir.clone(), without_keys }).await?;
            answer(common, &done, say::backed_up)
        }
        Command::Restore { backup } => restore(absolute(&backup)?, home, common).await,
        Command::Ledger(Ledger::Succeed { without }) => succeed(&home, without, common).await,
        Command::Ledger(Ledger::Audit(_))
        | Command::Serve
        | Command::Verify(_)
        | Command::Explain { .. }
        | Command::Demo(_)
        | Command::Hammer(_)
        | Command::Ledger(Ledger::Fsck { .. }) => {
            Err(Failure::new(Code::Internal, "This command is no request to a node."))
        }
    }
}

/// Checks a proof as the court's own program does, with the same code.
pub(crate) fn verify(verify: &Verify, common: &Common) -> Asked {
    let request = custodia_court::Request {
        proof: verify.proof.clone(),
        dir: verify.dir.clone(),
        trust: verify.trust.clone(),
        strict: verify.strict,
        json: common.is_for_programs(),
        chain: verify.chain.then_some(Drawn::Words(verify.item)),
    };
    match custodia_court::check(&request) {
        Ok(checked) if common.jsonl => {
            let report = serde_json::from_str(&checked.text);
            events::answer(report.map_err(|error| Failure::new(Code::Internal, error.to_string()))?)?;
            Ok(checked.exit_code)
        }
        Ok(checked) => print(&checked.text).map(|_| checked.exit_code),
        Err(error) => Err(unjudged(error)),
    }
}

/// Audits a ledger of somebody's, as one without a node does.
async fn order(home: &Home, common: &Common, it: HandOver, order: op::Order) -> Asked {
    let ordered = |_| op::QueueOrder { package: it.package.clone(), to: it.to.clone(), order };
    answer(common, &call(home, common, ordered).await?, |queue| say::queue(queue))
}

async fn audit(audit: Audit, common: &Common) -> Asked {
    let request = op::Audit {
        source: audit.source,
        vkey: audit.vkey,
        witnesses: audit.witnesses,
        held: audit.held,
        statements: audit.statements,
    };
    let mut teller = Teller::new("ledger/audit", common);
    let audited = tokio::task::spawn_blocking(move || op::audit(&request, &mut |progress| teller.tell(&progress)));
    let audited = audited.await.map_err(|error| Failure::new(Code::Internal, error.to_string()))??;
    answer(common, &audited, say::audited)?;
    Ok(u8::from(!audited.errors.is_empty()))
}

/// Opens the next generation of the ledger, in this process: what a running node holds open cannot be moved.
async fn succeed(home: &Home, without: Vec<String>, common: &Common) -> Asked {
    let mut asked = op::Succession { passphrase: given_passphrase(common)?, without };
    loop {
        let (home, tried, mut teller) = (home.clone(), asked.clone(), Teller::new("ledger/succeed", common));
        let done =
            tokio::task::spawn_blocking(move || op::succeed(&home, &tried, &mut |progress| teller.tell(&progress)));
        match done.await.map_err(|error| Failure::new(Code::Internal, error.to_string()))? {
            Err(failure) if failure.code == Code::Passphrase && asked.passphrase.is_none() && at_terminal() => {
                asked.passphrase = Some(ask_passphrase(&failure.what)?);
            }
            done => return answer(common, &done?, say::succeeded),
        }
    }
}

/// Makes a home of a backup, in this process: there is no node yet.
async fn restore(backup: PathBuf, home: Home, common: &Common) -> Asked {
    let (reporter, mut told) = Reporter::channel();
    let mut teller = Teller::new("restore", common);
    let mut done = tokio::task::spawn_blocking(move || op::restore(&backup, &home, &reporter));
    let done = loop {
        tokio::select! {
            done = &mut done => break done,
            Some(progress) = told.next() => teller.tell(&progress),
        }
    };
    drop(teller);
    let restored = done.map_err(|error| Failure::new(Code::Internal, error.to_string()))??;
    answer(common, &restored, say::restored)?;
    Ok(u8::from(!restored.errors.is_empty()))
}

/// Why the court's program judged nothing, as a failure of this one.
fn unjudged(error: CourtError) -> Failure {
    let next = error.next_step();
    let failure = match error {
        CourtError::Read { path, error } => Failure::io(&error, path),
        CourtError::Size { path, limit } => {
            Failure::new(Code::Malformed, "This file is too large for what it should be.")
                .at(path.display())
                .instead_of(format!("at most {limit} bytes"), "more")
        }
        CourtError::Trust { path, error } => Failure::new(Code::Malformed, "This is not a well-formed trust file.")
            .at(format!("{}: {}", path.display(), error.place))
            .instead_of(error.expected, error.found),
        other => Failure::new(Code::Io, other.to_string()),
    };
    failure.safe("Nothing was judged, nothing was written.").next(next)
}

/// The person who decides.
fn by(common: &Common, passphrase: Option<String>) -> op::Decider {
    op::Decider { officer: common.officer.clone(), passphrase }
}

/// Asks the node; where a key lies under a passphrase that was not given, asks the person and tries again.
async fn call<O: Operation>(
    home: &Home,
    common: &Common,
    operation: impl Fn(Option<String>) -> O,
) -> Result<O::Answer, Failure> {
    let door = Door::of(home).await?;
    let mut passphrase = given_passphrase(common)?;
    loop {
        let mut teller = Teller::new(O::NAME, common);
        let answer = door.call(&operation(passphrase.clone()), |progress| teller.tell(&progress)).await;
        drop(teller);
        match answer {
            Err(failure) if failure.code == Code::Passphrase && passphrase.is_none() && at_terminal() => {
                passphrase = Some(ask_passphrase(&failure.what)?);
            }
            answer => return answer,
        }
    }
}

fn make(home: &Home, args: &Init, common: &Common) -> Asked {
    let chosen = || chosen_passphrase(common, "Choose a passphrase for the root key and the first officer's key.");
    let needed = || {
        Failure::new(Code::Passphrase, "A passphrase for the root key is needed, or the word that there is to be none.")
            .next("give it with --passphrase-file FILE")
            .next("or say --no-passphrase, where the disk itself is protected")
    };
    let passphrase = if args.no_passphrase { None } else { Some(chosen()?.ok_or_else(needed)?) };
    let addresses = if args.addresses.is_empty() { vec![args.listen.to_string()] } else { args.addresses.clone() };
    let made = init::init(
        home,
        &init::Founding {
            name: args.name.clone(),
            display: args.display.clone(),
            state: args.state.clone(),
            role: args.role.clone(),
            listen: args.listen,
            addresses,
            officer: args.officer.clone(),
            passphrase,
        },
    )?;
    answer(common, &made, say::made)
}

/// Runs the node until it is told to stop.
pub(crate) async fn serve(common: &Common) -> Asked {
    let home = home(common)?;
    let node = tokio::task::spawn_blocking(move || Node::open(&home))
        .await
        .map_err(|error| Failure::new(Code::Internal, error.to_string()))??;
    let node = Arc::new(node);
    let told = common.clone();
    // What travels is told from the moment on that the node listens.
    let (listens, does_listen) = tokio::sync::oneshot::channel();
    let served = custodia_node::serve(node.clone(), move |listening| {
        say::listening(&listening, &told);
        let _ = listens.send(());
    });
    let telling = async {
        if common.jsonl && does_listen.await.is_ok() {
            let mut teller = Teller::new("serve", common);
            // It ends with the node, and its end says nothing that the node's does not.
            let _ = Door::to(node).call(&op::QueueWatch {}, |progress| teller.tell(&progress)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = served => served?,
        () = telling => {}
    }
    if common.jsonl { events::answer(serde_json::Value::Null) } else { Ok(0) }
}

/// Shows all that travels, until it is told to stop.
pub(crate) async fn watch(common: &Common) -> Asked {
    let home = home(common)?;
    let mut teller = Teller::new(WATCH, common);
    let watched = async {
        let door = Door::of(&home).await?;
        door.call(&op::QueueWatch {}, |progress| teller.tell(&progress)).await
    };
    tokio::select! {
        watched = watched => watched?,
        _ = tokio::signal::ctrl_c() => {}
    }
    drop(teller);
    if common.jsonl { events::answer(serde_json::Value::Null) } else { Ok(0) }
}

/// How long a check that is told to stop may take to say how far it got.
const FSCK_STOPS: Duration = Duration::from_millis(700);

/// Checks the ledger, and all bytes when that is asked for. Ctrl-C stops it in good order: it says how far it got.
pub(crate) async fn fsck(operation: op::LedgerFsck, common: &Common) -> Asked {
    let home = home(common)?;
    let interrupted = || {
        Failure::new(Code::Interrupted, "The check was interrupted before its end.")
            .safe("Nothing was changed.")
            .next("run the same command again")
    };
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let door = tokio::select! {
        door = Door::of(&home) => door?,
        _ = &mut interrupt => return Err(interrupted()),
    };
    let mut teller = Teller::new(op::LedgerFsck::NAME, common);
    let checked = {
        let mut call = std::pin::pin!(door.call(&operation, |progress| teller.tell(&progress)));
        tokio::select! {
            checked = &mut call => checked,
            _ = &mut interrupt => {
                let stop = async {
                    let (_, checked) = tokio::join!(door.call(&op::LedgerFsckStop {}, |_| ()), call);
                    checked
                };
                // Only the ledger's own part, which changes nothing, cannot be stopped in its middle.
                tokio::time::timeout(FSCK_STOPS, stop).await.unwrap_or_else(|_| Err(interrupted()))
            }
        }
    };
    drop(teller);
    let checked = checked?;
    answer(common, &checked, say::checked)?;
    Ok(u8::from(!checked.errors.is_empty()))
}

/// Prints an answer as words or as one JSON document.
pub(crate) fn answer<A: Serialize>(common: &Common, answer: &A, words: impl FnOnce(&A) -> String) -> Asked {
    if common.jsonl {
        let answer = serde_json::to_value(answer);
        return events::answer(answer.map_err(|error| Failure::new(Code::Internal, error.to_string()))?);
    }
    if common.json {
        let value = serde_json::json!({ "schema": "custodia.answer/1", "answer": answer });
        return print(&format!("{value}\n"));
    }
    print(&words(answer))
}

/// The folder of the node: `--home`, `$CUSTODIA_HOME`, `~/.custodia`.
fn home(common: &Common) -> Result<Home, Failure> {
    if let Some(home) = &common.home {
        return Ok(Home::new(absolute(home)?));
    }
    match std::env::var_os("HOME") {
        Some(user) => Ok(Home::new(PathBuf::from(user).join(".custodia"))),
        None => Err(Failure::new(Code::Usage, "No folder for the node is named.").next("name it with --home DIR")),
    }
}

/// A running node has another working folder than the person who asks it.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::io(&error, path))
}

/// A new passphrase: the one that was given, or one that a person at the terminal types twice.
fn chosen_passphrase(common: &Common, why: &str) -> Result<Option<String>, Failure> {
    if let Some(given) = given_passphrase(common)? {
        return Ok(Some(given));
    }
    if !at_terminal() {
        return Ok(None);
    }
    let first = ask_passphrase(why)?;
    if first != ask_passphrase("The same again.")? {
        return Err(Failure::new(Code::Usage, "The two passphrases differ.").next("run the command again"));
    }
    Ok(Some(first))
}

fn given_passphrase(common: &Common) -> Result<Option<String>, Failure> {
    common.passphrase_file.as_deref().map(first_line).transpose()
}

/// The first line of a file: a passphrase.
fn first_line(path: &Path) -> Result<String, Failure> {
    let text = read_text(path)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new(Code::Passphrase, "The first line of this file is empty.")
            .at(path.display())
            .instead_of("the passphrase", "an empty line")
            .next("write the passphrase into the first line of that file")),
    }
}

fn read_named(path: &Path) -> Result<Vec<u8>, Failure> {
    custodia_node::home::read_file(path, NAMED_FILE_BYTES)?
        .ok_or_else(|| Failure::new(Code::Io, "There is no such file.").at(path.display()))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_named(path)?)
        .map_err(|_| Failure::new(Code::Malformed, "This file is not text.").at(path.display()))
}

fn at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a person for a passphrase; what is typed is not shown.
fn ask_passphrase(why: &str) -> Result<String, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |error: std::io::Error| Failure::io(&error, "the terminal");
    let stdin = std::io::stdin();
    let mut err = std::io::stderr();
    write!(err, "{why}\nPassphrase: ").and_then(|()| err.flush()).map_err(failed)?;
    let before = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(|error| failed(error.into()))?;
    let mut typed = String::new();
    let read = stdin.lock().read_line(&mut typed);
    tcsetattr(&stdin, OptionalActions::Now, &before).map_err(|error| failed(error.into()))?;
    let _ = writeln!(err);
    read.map_err(failed)?;
    match typed.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::new(Code::Passphrase, "No passphrase was typed.").safe("Nothing was signed.")),
        typed => Ok(typed.to_owned()),
    }
}
