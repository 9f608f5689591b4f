//! Whom a node talks to, and what happens when the one who answers is nobody, a stranger, or somebody else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Authority, Place, until};

/// The state of the one hand-over that an authority began.
fn state(authority: &Authority) -> String {
    authority.asks(&[&"queue"])[0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_name_that_nobody_was_met_under_gets_nothing() {
    let place = Place::new();
    let (lab, _) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    lab.fails("E-UNKNOWN-PEER", 22, &[&"send", &package, &"--to", &"tribunal.example"])
        .says("expected", "prosecutor.example")
        .says("found", "tribunal.example")
        .says("safe", "Nothing was signed or sent")
        .says("next", "custodia trust add");
    assert_eq!(lab.asks(&[&"queue"]), serde_json::json!([]));
}

#[test]
fn a_stranger_is_refused_and_leaves_no_trace() {
    let place = Place::new();
    let (stranger, prosecutor) = (place.found("stranger.example"), place.found("prosecutor.example"));
    place.trust(&stranger, &prosecutor);
    let package = stranger.seals(&place.source(1, 1000));
    let serving = prosecutor.serves();
    prosecutor.keeps(|| {
        stranger
            .fails_changing("E-PEER-REFUSED", 21, &Authority::sends(&package, &prosecutor))
            .says("what", "does not know this node's key")
            .says("safe", "queued")
            .says("next", "custodia trust add")
            .says("next", "custodia card");
    });
    assert_eq!(state(&stranger), "released");
    assert_eq!(prosecutor.asks(&[&"inbox"]), serde_json::json!([]));

    // Once the cards are exchanged, the same command delivers.
    place.trust(&prosecutor, &stranger);
    stranger.asks(&Authority::sends(&package, &prosecutor));
    assert_eq!(prosecutor.received()["state"], "received");
    serving.stop();
}

#[test]
fn a_machine_with_another_key_gets_nothing() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    // Somebody else's node has the address that the prosecutor's card names.
    let other = place.found_at("other.example", place.path("other"), &prosecutor.address);
    place.trust(&other, &lab);
    let serving = other.serves();
    other.keeps(|| {
        lab.fails_changing("E-IDENTITY-CHANGED", 22, &Authority::sends(&package, &prosecutor))
            .says("what", "prosecutor.example")
            .says("expected", "card")
            .says("safe", "Nothing was sent")
            .says("next", "call a number that you already know");
    });
    assert_eq!(other.asks(&[&"inbox"]), serde_json::json!([]));
    // Asking again changes nothing more here: the release was signed once, and waits.
    lab.fails("E-IDENTITY-CHANGED", 22, &Authority::sends(&package, &prosecutor));
    assert_eq!(lab.said_of(&package), ["seal", "release"]);
    serving.stop();

    let serving = prosecutor.serves();
    lab.asks(&Authority::sends(&package, &prosecutor));
    serving.stop();
}

#[test]
fn what_nobody_answers_is_queued_and_delivered_later() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    lab.fails_changing("E-PEER-UNREACHABLE", 20, &Authority::sends(&package, &prosecutor))
        .says("place", &prosecutor.address)
        .says("safe", "queued")
        .says("next", "custodia queue");

    let queue = lab.asks(&[&"queue"]);
    let told = &queue[0];
    assert_eq!((told["state"].as_str(), told["turn"].as_str()), (Some("released"), Some("ours")), "{queue}");
    assert!(told["why"].as_str().unwrap().contains("prosecutor.example has not answered"), "{queue}");
    assert!(told["next"].as_str().unwrap().contains("custodia serve"), "{queue}");
    let words = lab.says(&["queue"]);
    for line in ["     Why   prosecutor.example has not answered", "     Turn  ours\n", "     Next  custodia serve"] {
        assert!(words.contains(line), "{words}");
    }
    assert_eq!(lab.said_of(&package), ["seal", "release"]);

    let (theirs, ours) = (prosecutor.serves(), lab.serves());
    until("the queue is delivered", || (state(&lab) == "received").then_some(()));
    assert_eq!(prosecutor.received()["state"], "received");
    assert_eq!(lab.said_of(&package), ["seal", "release", "consignment", "receipt"]);
    ours.stop();
    theirs.stop();
}

#[test]
fn a_running_node_says_why_its_last_attempt_came_to_nothing_and_tries_again() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    let ours = lab.serves();
    lab.fails_changing("E-PEER-UNREACHABLE", 20, &Authority::sends(&package, &prosecutor));
    let queue = lab.asks(&[&"queue"]);
    assert_eq!(queue[0]["last_failure"]["code"], "E-PEER-UNREACHABLE", "{queue}");
    assert!(lab.says(&["queue"]).contains("     Last  E-PEER-UNREACHABLE"));

    let theirs = prosecutor.serves();
    // Nobody asks for it: the node itself tries again.
    until("the node tries again", || (state(&lab) == "received").then_some(()));
    ours.stop();
    theirs.stop();
}
