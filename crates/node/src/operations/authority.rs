//! Who we are, whom we believe, who may sign for us.

use std::sync::Arc;

use custodia_format::body::{Body, Channel, Meeting};
use custodia_format::envelope::Envelope;
use custodia_format::kind::Kind;
use custodia_format::statement::Statement;
use custodia_format::text::Code as Pseudonym;
use custodia_format::trust::{TrustFile, TrustedAuthority};
use serde::{Deserialize, Serialize};

use super::answers::{Officer, OwnCard, Text, Trusted};
use crate::api::{Operation, Reporter};
use crate::author::{self, Draft};
use crate::failure::{Code, Failure};
use crate::keys::{self, Passphrase};
use crate::peers::Authority;
use crate::{Node, edge, home, init};

/// This authority's card.
#[derive(Debug, Serialize, Deserialize)]
pub struct Card {}

impl Operation for Card {
    const NAME: &'static str = "card";
    type Answer = OwnCard;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<OwnCard, Failure> {
        let (_, statement) = own_card(node)?;
        let Body::Card(card) = &statement.body else {
            return Err(Failure::new(Code::Internal, "A card's body is no card."));
        };
        let mut cards = String::new();
        for row in author::own_of_kind(node, &Kind::Card)? {
            let envelope = node.envelope(&row.digest)?.unwrap_or_default();
            // An envelope is one line.
            cards += &format!("{}\n", String::from_utf8_lossy(&envelope));
        }
        Ok(OwnCard {
            cards,
            name: statement.head.issuer.name.to_string(),
            number: card.number,
            fingerprint: init::root_of(card).key_id().to_string(),
        })
    }
}

/// Our newest card: its envelope, and what it says.
pub(crate) fn own_card(node: &Node) -> Result<(String, Statement), Failure> {
    let rows = author::own_of_kind(node, &Kind::Card)?;
    let missing = || Failure::new(Code::NoHome, "This node has no card.").at(node.home().path().display());
    let digest = rows.last().ok_or_else(missing)?.digest;
    let envelope = node.envelope(&digest)?.ok_or_else(missing)?;
    let statement = Statement::parse(&Envelope::parse(&envelope)?)?;
    Ok((String::from_utf8(envelope).map_err(|_| missing())?, statement))
}

/// Believe the authority of this card from now on.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrustAdd {
    /// The card's envelope; where there are several, one a line, from the first on.
    pub card: String,
    /// The fingerprint that the authority told over another channel: hex, spaces allowed.
    pub fingerprint: Option<String>,
    /// `in-person`, `call`, `letter` or `published`.
    pub channel: String,
    /// The officer who met them.
    pub officer: Option<String>,
    /// What our root key lies under.
    pub passphrase: Option<String>,
}

impl Operation for TrustAdd {
    const NAME: &'static str = "trust/add";
    type Answer = Trusted;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Trusted, Failure> {
        let envelopes: Vec<&[u8]> = self.card.trim_end().split('\n').map(str::as_bytes).collect();
        let first = envelopes.first().copied().unwrap_or_default();
        let statement = Statement::parse(&Envelope::parse(first)?)?;
        let Body::Card(card) = &statement.body else {
            return Err(Failure::new(Code::Malformed, "This statement is no card.")
                .instead_of("a card", statement.head.kind.to_string()));
        };
        let root = *init::root_of(card);
        let name = statement.head.issuer.name.clone();
        let shown = root.key_id().to_string();
        check_fingerprint(
            self.fingerprint.as_deref(),
            &shown,
            "This card's root key is not the one of the fingerprint.",
        )?;
        let mut authority = Authority::new(root, name.clone());
        if authority.learn(envelopes.iter().map(|envelope| envelope.to_vec()).collect()).len() != envelopes.len() {
            return Err(Failure::new(
                Code::Signature,
                "These cards do not verify under the root key of the first, or do not begin with card number 1.",
            )
            .instead_of(
                "card number 1, signed by the root key in it, and those that follow it",
                format!("card number {} and {} more", card.number, envelopes.len() - 1),
            )
            .next("ask for what their custodia card prints, all of it"));
        }
        let channel = Channel::parse(&self.channel).ok_or_else(|| {
            Failure::new(Code::Usage, "This is no channel.")
                .instead_of("in-person, call, letter or published", &self.channel)
        })?;
        let trust = trusting(
            node.trust()?,
            &TrustedAuthority { name: name.clone(), root, since: day(edge::now()), until: None, channel },
        )?;

        // Before anything is written: the node may sign, and the root key opens.
        node.may_sign()?;
        let root_key =
            keys::open(node.home(), keys::ROOT, &Passphrase::new(self.passphrase.as_deref().unwrap_or_default()))?;
        let by = self.officer.as_deref().map(Pseudonym::parse).transpose()?;
        let desk = node.desk();
        for envelope in envelopes {
            let file = node.home().peer(&root.key_id()).join(format!("{}.json", custodia_format::Hash::of(envelope)));
            home::write_durably(&file, envelope)?;
        }
        let meeting = Meeting { name: name.clone(), root: root.key_id(), how: channel, at: edge::now(), by };
        author::say(node, Draft::of(Body::Meeting(meeting)), &[&root_key])?;
        home::write_durably(&node.home().trust(), trust.print().as_bytes())?;
        node.peers().read_again(node.home(), &trust)?;
        drop(desk);
        trust
            .authority(&root)
            .map(|line| trusted(node, line))
            .ok_or_else(|| Failure::new(Code::Internal, "The trust file lost a line."))
    }
}

/// Refuses what has another fingerprint than the one that was told, however that is grouped, and also as openssl prints it:
/// `sha256 Fingerprint=AB:CD…`.
pub(super) fn check_fingerprint(told: Option<&str>, shown: &str, otherwise: &str) -> Result<(), Failure> {
    let Some(told) = told else { return Ok(()) };
    let told = told.rsplit_once('=').map_or(told, |(_, told)| told);
    let told: String = told.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    if told == shown {
        return Ok(());
    }
    Err(Failure::new(Code::Fingerprint, otherwise)
        .instead_of(told, shown)
        .safe("Nobody is trusted who was not trusted before.")
        .next("call a number that you already know, and ask for the fingerprint again"))
}

/// The trust file with one more authority. A name or root that is there already under another is refused.
fn trusting(mut trust: TrustFile, line: &TrustedAuthority) -> Result<TrustFile, Failure> {
    if let Some(known) = trust.authorities.iter().find(|known| known.name == line.name || known.root == line.root) {
        if known.name == line.name && known.root == line.root {
            return Ok(trust);
        }
        return Err(Failure::new(
            Code::IdentityChanged,
            format!("{} was met with another key, or this key under another name.", line.name),
        )
        .instead_of(format!("{} {}", known.name, known.root.key_id()), format!("{} {}", line.name, line.root.key_id()))
        .safe("The trust file is as it was.")
        .next("call a number that you already know: a key does not change by itself"));
    }
    trust.authorities.push(line.clone());
    // One other authority must have seen what is proven; more is each court's own choice.
    trust.quorum = trust.quorum.max(1);
    Ok(trust)
}

fn day(time: custodia_format::text::Time) -> custodia_format::text::Time {
    custodia_format::text::Time::parse_date(&time.date()).unwrap_or(time)
}

fn trusted(node: &Node, line: &TrustedAuthority) -> Trusted {
    let addresses = node.peers().rooted(&line.root.key_id());
    let addresses = addresses
        .and_then(|peer| peer.card().ok().map(|card| card.addresses.iter().map(ToString::to_string).collect()));
    Trusted {
        name: line.name.to_string(),
        fingerprint: line.root.key_id().to_string(),
        since: line.since.date(),
        channel: line.channel.as_str().to_owned(),
        addresses: addresses.unwrap_or_default(),
    }
}

/// Who is believed.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrustList {}

impl Operation for TrustList {
    const NAME: &'static str = "trust/list";
    type Answer = Vec<Trusted>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Trusted>, Failure> {
        Ok(node.trust()?.authorities.iter().map(|line| trusted(node, line)).collect())
    }
}

/// The trust file for others, with this authority in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrustExport {}

impl Operation for TrustExport {
    const NAME: &'static str = "trust/export";
    type Answer = Text;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Text, Failure> {
        Ok(Text { text: trust_with_us(node)?.print() })
    }
}

/// Whom this node believes, itself included: what its own proofs are checked against before they leave.
pub(crate) fn trust_with_us(node: &Node) -> Result<TrustFile, Failure> {
    let (_, statement) = own_card(node)?;
    let Body::Card(card) = &statement.body else {
        return Err(Failure::new(Code::Internal, "A card's body is no card."));
    };
    let since = day(card.keys.root.current.from);
    let name = statement.head.issuer.name;
    let own = TrustedAuthority { name, root: *init::root_of(card), since, until: None, channel: Channel::InPerson };
    let mut trust = trusting(node.trust()?, &own)?;
    trust.authorities.rotate_right(1);
    Ok(trust)
}

/// Delegate an officer.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfficerAdd {
    /// The officer's name, for the annex.
    pub name: String,
    /// What the root key lies under, and the officer's key will.
    pub passphrase: Option<String>,
}

impl Operation for OfficerAdd {
    const NAME: &'static str = "officer/add";
    type Answer = Officer;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Officer, Failure> {
        // Before a key is made for nothing.
        node.may_sign()?;
        let passphrase = Passphrase::new(self.passphrase.as_deref().unwrap_or_default());
        let root = keys::open(node.home(), keys::ROOT, &passphrase)?;
        let _desk = node.desk();
        let number = author::own_of_kind(node, &Kind::Delegation)?.len() + 1;
        let pseudonym = init::delegate(node, &format!("O-{number}"), &self.name, &root, &passphrase)?;
        let delegation = author::own_of_kind(node, &Kind::Delegation)?.last().map(|row| row.digest.to_string());
        Ok(Officer { pseudonym, delegation: delegation.unwrap_or_default() })
    }
}
