//! What is said of a package after it was sealed.

use custodia_node::home::Home;
use custodia_node::operations as op;

use super::{Asked, absolute, answer, by, call};
use crate::args::{Common, Disclose, Event};
use crate::say;

/// Signs a custody event.
pub(super) async fn event(home: &Home, event: &Event, common: &Common) -> Asked {
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
        by: by(common, passphrase),
    })
    .await?;
    answer(common, &line, say::signed)
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
