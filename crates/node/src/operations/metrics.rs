//! The node's state in numbers, in the text format of OpenMetrics: for a collector, and for a person at night
//! (docs/operate/metrics.md says what to do when one of them is bad).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use custodia_format::checkpoint::cosignature_time;
use custodia_net::Refusal;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};

use super::answers::Text;
use crate::api::{Direction, Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::meters::Labels;
use crate::outbox::{self, Online};
use crate::witness::Whose;
use crate::{Node, author, edge, host, receive};

/// Gauges of one name, by label.
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// What the node counts and sees, as OpenMetrics text.
#[derive(Debug, Serialize, Deserialize)]
pub struct Metrics {}

impl Operation for Metrics {
    const NAME: &'static str = "metrics";
    type Answer = Text;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Text, Failure> {
        Ok(Text { text: scrape(node)? })
    }
}

/// All of it, as of now. Reads the index and the disk.
pub(crate) fn scrape(node: &Arc<Node>) -> Result<String, Failure> {
    let mut registry = Registry::with_prefix("custodia");
    node.meters().register(&mut registry);
    queue(node, &mut registry)?;
    ledger(node, &mut registry)?;
    disk(node, &mut registry)?;
    if let Some(online) = node.online() {
        network(node, &online, &mut registry);
    }
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    Ok(text)
}

fn queue(node: &Node, registry: &mut Registry) -> Result<(), Failure> {
    let now = edge::now().unix();
    let (mut waiting, mut oldest) = (0_u64, 0);
    for release in outbox::open_releases(node)?.into_values().flatten() {
        waiting += 1;
        if let Some(statement) = author::statement(node, &release)? {
            oldest = oldest.max(now.saturating_sub(statement.head.issued_at.unix()));
        }
    }
    let mut owed = 0_u64;
    for authority in node.peers().all() {
        owed += host::owed(node, &authority.as_peer())?.len() as u64;
    }
    registry.register(
        "queue_packages",
        "Packages handed over here that neither receipt nor refusal answers",
        gauge(waiting),
    );
    let help = "Age of the oldest of these by this machine's clock; 0 where there is none";
    registry.register_with_unit("queue_oldest", help, Unit::Seconds, gauge(u64::try_from(oldest).unwrap_or(0)));
    registry.register("queue_statements", "Answers of this node that their readers have not confirmed", gauge(owed));
    Ok(())
}

fn ledger(node: &Node, registry: &mut Registry) -> Result<(), Failure> {
    let size = node.ledger().size();
    registry.register("ledger_entries", "Entries of this node's ledger", gauge(size));
    let signs = u64::from(node.may_sign().is_ok());
    registry.register("ledger_signs", "Whether the node signs: 0 after a doubtful write or a rollback", gauge(signs));
    let (ages, behind) = (Gauges::default(), Gauges::default());
    let now = edge::now().unix();
    for peer in node.peers().all() {
        let labels = vec![("peer", peer.name.to_string())];
        let Some(filed) = node.notes().of_peer(&peer.root, Whose::Ours).last().cloned() else {
            behind.get_or_create(&labels).set(size as f64);
            continue;
        };
        let seen = if filed.at.generation == node.config().ledger.generation { filed.at.size } else { 0 };
        behind.get_or_create(&labels).set(size.saturating_sub(seen) as f64);
        let note = filed.read()?;
        let times = peer.witness_keys().filter_map(|key| cosignature_time(&note, key).ok().flatten());
        if let Some(time) = times.max().and_then(|time| i64::try_from(time).ok()) {
            ages.get_or_create(&labels).set(now.saturating_sub(time).max(0) as f64);
        }
    }
    let help = "Time since each peer last cosigned a checkpoint of this ledger, by its clock and this machine's";
    registry.register_with_unit("witness_age", help, Unit::Seconds, ages);
    registry.register("witness_behind_entries", "Entries that each peer has not cosigned yet", behind);
    Ok(())
}

fn disk(node: &Node, registry: &mut Registry) -> Result<(), Failure> {
    let free = node.vault().room()?;
    registry.register_with_unit("disk_free", "Free space on the disk of the home", Unit::Bytes, gauge(free));
    let kept = receive::room_kept(node)?;
    let help = "What peers leave of it to this node: below, nothing is taken of them";
    registry.register_with_unit("disk_reserve", help, Unit::Bytes, gauge(kept));
    Ok(())
}

fn network(node: &Node, online: &Online, registry: &mut Registry) {
    let journeys = online.watch().journeys();
    let mut under_way = [(Direction::Out, 0_u64), (Direction::In, 0)];
    for ((direction, _), _) in journeys.all() {
        under_way.iter_mut().filter(|(of, _)| *of == direction).for_each(|(_, count)| *count += 1);
    }
    let transfers = Gauges::default();
    for (direction, count) in under_way {
        transfers.get_or_create(&vec![("direction", direction.as_str().to_owned())]).set(count as f64);
    }
    registry.register("transfers", "Packages under way in sessions", transfers);
    let (sessions, round_trips, lost) = (Gauges::default(), Gauges::default(), Gauges::default());
    for (peer, count, road) in journeys.links() {
        let Some(authority) = node.peers().rooted(peer) else { continue };
        let mut labels: Labels = vec![("peer", authority.name.to_string())];
        sessions.get_or_create(&labels).set(count as f64);
        let Some(road) = road else { continue };
        labels.push(("road", road.via.to_string()));
        if let Some(time) = road.round_trip {
            round_trips.get_or_create(&labels).set(time.as_secs_f64());
        }
        if let Some(packets) = road.packets.filter(|packets| packets.sent > 0) {
            lost.get_or_create(&labels).set(packets.lost as f64 / packets.sent as f64);
        }
    }
    drop(journeys);
    registry.register("links", "Sessions with each peer that are open", sessions);
    let help = "How long an answer takes on the newest link to each peer";
    registry.register_with_unit("link_round_trip", help, Unit::Seconds, round_trips);
    let help = "Share of the packets sent on the newest link to each peer that were lost since it began";
    registry.register_with_unit("link_lost", help, Unit::Ratios, lost);
    // Filled now with what the socket has counted.
    let refused: Family<Labels, Counter> = Family::default();
    for refusal in Refusal::ALL {
        refused.get_or_create(&vec![("reason", refusal.as_str().to_owned())]).inc_by(online.refused(refusal));
    }
    registry.register("callers_refused", "Callers that were not let in", refused);
}

fn gauge(value: u64) -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value as f64);
    gauge
}
