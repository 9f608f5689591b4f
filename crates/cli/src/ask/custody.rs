//! What is said of a package after it was sealed.

use custodia_node::failure::Failure;
use custodia_node::home::Home;
use custodia_node::operations as op;

use super::{Asked, absolute, answer, ask_passphrase, at_terminal, by, call, first_line};
use crate::args::{Chain, Common, Disclose, Event, Label};
use crate::say;

/// Signs a custody event.
pub(super) async fn event(home: &Home, event: &Event, common: &Common) -> Asked {
    let also = event.also.as_ref().map(|officer| second(officer, event)).transpose()?;
    let line = call(home, common, |passphrase| op::Event {
        action: event.action.clone(),
        package: event.package.clone(),
        items: event.items.clone(),
        at: event.at.clone(),
        at_source: event.at_source.clone(),
        codes: event.codes.clone(),
        bag_seals: event.bag_seals.clone(),
        persons: event.persons.clone(),
        unsigned: event.unsigned.clone(),
        place: event.place.clone(),
        purpose: event.purpose.clone(),
        order: event.order.clone(),
        note: event.note.clone(),
        corrects: event.corrects.clone(),
        answers: event.answers.clone(),
        also: also.clone(),
        by: by(common, passphrase),
    })
    .await?;
    answer(common, &line, say::signed)
}

/// The second officer, with the passphrase of that officer's own key.
fn second(officer: &str, event: &Event) -> Result<op::Decider, Failure> {
    let passphrase = match &event.also_passphrase_file {
        Some(path) => Some(first_line(path)?),
        None if at_terminal() => Some(ask_passphrase(&format!("The key of {officer} signs too."))?),
        None => None,
    };
    Ok(op::Decider { officer: Some(officer.to_owned()), passphrase })
}

/// Prints labels.
pub(super) async fn label(home: &Home, label: &Label, common: &Common) -> Asked {
    let dir = absolute(&label.dir)?;
    let request = |_| op::Label {
        package: label.package.clone(),
        items: label.items.clone(),
        sheet: label.sheet.clone(),
        blank: label.blank,
        prefix: label.prefix.clone(),
        dir: dir.clone(),
    };
    let labelled = call(home, common, request).await?;
    answer(common, &labelled, say::labelled)
}

/// Draws the chain of custody.
pub(super) async fn chain(home: &Home, chain: &Chain, common: &Common) -> Asked {
    let svg = chain.svg.as_deref().map(absolute).transpose()?;
    let request = |_| op::Chain { package: chain.package.clone(), item: chain.item.clone(), svg: svg.clone() };
    let shown = call(home, common, request).await?;
    answer(common, &shown, say::chain)
}

/// Shows a reader a package in part.
pub(super) async fn disclose(home: &Home, disclose: &Disclose, common: &Common) -> Asked {
    let dir = disclose.dir.as_deref().map(absolute).transpose()?;
    let proof = disclose.proof.as_deref().map(absolute).transpose()?;
    let disclosed = call(home, common, |passphrase| op::Disclose {
        package: disclose.package.clone(),
        to: disclose.to.clone(),
        order: disclose.order.clone(),
        withhold: disclose.withhold.clone(),
        only: disclose.only.clone(),
        rest: disclose.rest.clone(),
        statements: disclose.statements.clone(),
        despite_echoes: disclose.despite_echoes,
        reviewed: disclose.reviewed.clone(),
        dir: dir.clone(),
        proof: proof.clone(),
        by: by(common, passphrase),
    })
    .await?;
    answer(common, &disclosed, say::disclosed)
}
