//! Where each package is that travels now: what its session told, put together. No clock is read here, and no disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use custodia_exchange::{Event, Phase as Wire};
use custodia_format::Hash;
use custodia_format::key::KeyId;
use custodia_net::{LinkNews, LinkState as Road};
use serde::{Deserialize, Serialize};

use super::{LinkState, Phase, Progress};

/// For how long nothing moves until that is told.
pub(crate) const STALLED: Duration = Duration::from_secs(5);
/// Packages of which it is remembered what was proven; it is asked anew in each session, so nothing is lost with it.
const REMEMBERED: usize = 4096;

/// Which way a package goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To another authority.
    Out,
    /// To this one.
    In,
}

impl Direction {
    /// Which way the package goes that an event of a session is about, with its release and what happened; none where it is
    /// about none.
    pub(crate) const fn of(event: &Event) -> Option<(Self, &Hash, &Wire)> {
        match event {
            Event::Sending { release, phase } => Some((Self::Out, release, phase)),
            Event::Receiving { release, phase } => Some((Self::In, release, phase)),
            _ => None,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// One package on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journey {
    pub(crate) direction: Direction,
    pub(crate) peer: KeyId,
    stage: Stage,
    /// Bytes that this session carried: handed to the link, or read from it and proven.
    carried: u64,
    /// Proven at the reader when this session began to carry, and now.
    held: Option<u64>,
    proven: Option<u64>,
    /// When something last happened.
    moved: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Announced,
    Content,
    Receipt,
}

impl Journey {
    fn new(direction: Direction, peer: KeyId, now: Instant) -> Self {
        Self { direction, peer, stage: Stage::Announced, carried: 0, held: None, proven: None, moved: now }
    }

    fn handle(&mut self, phase: &Wire, now: Instant) {
        self.moved = now;
        match phase {
            Wire::Content { bytes, proven, .. } => {
                self.stage = Stage::Content;
                self.carried = *bytes;
                self.held = self.held.or(*proven);
                self.proven = proven.or(self.proven);
            }
            Wire::Consigned | Wire::Document(_) => self.stage = Stage::Content,
            Wire::Proven => self.stage = Stage::Receipt,
            _ => {}
        }
    }

    /// How far it is, where the package has so many bytes; 0 when that is not known here.
    pub(crate) fn progress(&self, total: u64, road: Option<&Road>, now: Instant) -> Progress {
        let within = |bytes: u64| if total == 0 { bytes } else { bytes.min(total) };
        // The receipt says that all of it is proven.
        let proven = if self.stage == Stage::Receipt { total } else { within(self.proven.unwrap_or(0)) };
        let begun = self.held.unwrap_or(0).saturating_add(self.carried);
        // What was on its way when a link broke is sent again: never shown as more than there is.
        let bytes = if self.direction == Direction::In { proven } else { within(begun).max(proven) };
        let is_whole = total > 0 && proven == total;
        let phase = match self.stage {
            Stage::Announced => Phase::Announce,
            Stage::Receipt => Phase::Receipt,
            Stage::Content if is_whole => Phase::Receipt,
            Stage::Content if self.direction == Direction::In => Phase::Receive,
            Stage::Content if total > 0 && bytes == total => Phase::Prove,
            Stage::Content => Phase::Send,
        };
        let silence = now.saturating_duration_since(self.moved);
        let mut progress = Progress::of(phase).bytes(bytes, total);
        progress.direction = Some(self.direction);
        progress.proven = Some(proven);
        progress.link = Some(link(road, (silence >= STALLED).then_some(silence)));
        progress
    }
}

/// How a road is, in the words of progress.
pub(crate) fn link(road: Option<&Road>, stalled: Option<Duration>) -> LinkState {
    let lost = road.and_then(|road| road.packets).filter(|packets| packets.sent > 0);
    LinkState {
        via: road.map(|road| road.via.to_string()),
        round_trip_ms: road
            .and_then(|road| road.round_trip)
            .map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
        lost_per_million: lost.map(|packets| {
            let share = packets.lost.min(packets.sent).saturating_mul(1_000_000) / packets.sent;
            u32::try_from(share).unwrap_or(1_000_000)
        }),
        stalled_seconds: stalled.map(|silence| silence.as_secs()),
    }
}

/// All packages that travel now, and the links that they travel on.
#[derive(Debug, Default)]
pub(crate) struct Journeys {
    journeys: BTreeMap<(Direction, Hash), Journey>,
    /// What was proven of each package when it was last heard of: that holds over a link that broke.
    proven: BTreeMap<(Direction, Hash), u64>,
    /// The newest state of a link to each peer, and how many there are.
    links: BTreeMap<KeyId, (usize, Option<Road>)>,
}

impl Journeys {
    /// Something happened in a session with this peer.
    pub(crate) fn handle(&mut self, peer: KeyId, event: &Event, now: Instant) {
        let Some((direction, release, phase)) = Direction::of(event) else { return };
        let key = (direction, *release);
        match phase {
            Wire::Receipted { .. } | Wire::Declined { .. } => {
                self.journeys.remove(&key);
                self.proven.remove(&key);
            }
            Wire::Failed(_) => drop(self.journeys.remove(&key)),
            // Each session counts anew.
            Wire::Announced => {
                let proven = self.proven.get(&key).copied();
                self.journeys.insert(key, Journey { proven, ..Journey::new(direction, peer, now) });
            }
            phase => {
                let journey = self.journeys.entry(key).or_insert_with(|| Journey::new(direction, peer, now));
                journey.handle(phase, now);
                if let Some(proven) = journey.proven {
                    if self.proven.len() >= REMEMBERED {
                        self.proven.clear();
                    }
                    self.proven.insert(key, proven);
                }
            }
        }
    }

    /// Something became of a link to this peer.
    pub(crate) fn link(&mut self, peer: KeyId, news: &LinkNews) {
        match news {
            LinkNews::Begun => self.links.entry(peer).or_default().0 += 1,
            LinkNews::Is(state) => self.links.entry(peer).or_default().1 = Some(*state),
            LinkNews::Ended(_) => {
                let links = self.links.entry(peer).or_default();
                links.0 = links.0.saturating_sub(1);
                if links.0 == 0 {
                    self.links.remove(&peer);
                    self.journeys.retain(|_, journey| journey.peer != peer);
                }
            }
        }
    }

    /// One package, with the road that it goes.
    pub(crate) fn of(&self, direction: Direction, release: &Hash) -> Option<(Journey, Option<Road>)> {
        let journey = self.journeys.get(&(direction, *release))?;
        Some((*journey, self.road(&journey.peer)))
    }

    /// How the newest link to a peer is.
    pub(crate) fn road(&self, peer: &KeyId) -> Option<Road> {
        self.links.get(peer).and_then(|(_, road)| *road)
    }

    /// All packages.
    pub(crate) fn all(&self) -> impl Iterator<Item = ((Direction, Hash), &Journey)> {
        self.journeys.iter().map(|(key, journey)| (*key, journey))
    }

    /// All peers with sessions: how many, and how the newest is.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&KeyId, usize, Option<Road>)> {
        self.links.iter().map(|(peer, (count, road))| (peer, *count, *road))
    }
}

#[cfg(test)]
mod tests {
    use custodia_net::{Packets, Via};

    use super::*;

    fn peer() -> KeyId {
        KeyId(Hash::of(b"peer"))
    }

    /// The progress of one package of a thousand bytes after these phases.
    fn after(direction: Direction, phases: &[Wire]) -> Option<Progress> {
        let (mut journeys, now) = (Journeys::default(), Instant::now());
        for phase in phases {
            let (release, phase) = (Hash::ZERO, phase.clone());
            let event = match direction {
                Direction::Out => Event::Sending { release, phase },
                Direction::In => Event::Receiving { release, phase },
            };
            journeys.handle(peer(), &event, now);
        }
        journeys.of(direction, &Hash::ZERO).map(|(journey, road)| journey.progress(1000, road.as_ref(), now))
    }

    fn content(bytes: u64, proven: Option<u64>) -> Wire {
        Wire::Content { bytes, wasted: 0, proven }
    }

    #[test]
    fn a_package_is_sent_proven_and_receipted_in_that_order() {
        let phases = [Wire::Announced, Wire::Consigned, content(400, None), content(1000, Some(300))];
        let at = |count: usize| {
            let told = after(Direction::Out, &phases[..count]).unwrap();
            (told.phase, told.bytes, told.proven)
        };
        assert_eq!(at(1), (Phase::Announce, 0, Some(0)));
        assert_eq!(at(2), (Phase::Send, 0, Some(0)));
        assert_eq!(at(3), (Phase::Send, 400, Some(0)), "what was sent is not proven");
        let told = after(Direction::Out, &[phases.as_slice(), &[content(1000, Some(1000))]].concat()).unwrap();
        assert_eq!((told.phase, told.proven), (Phase::Receipt, Some(1000)));
        let told = after(Direction::Out, &[content(900, Some(100)), content(900, Some(500))]).unwrap();
        assert_eq!((told.phase, told.bytes, told.proven), (Phase::Prove, 1000, Some(500)), "100 were there before");
        let ended = [Wire::Announced, Wire::Proven, Wire::Receipted { receipt: Hash::ZERO }];
        assert_eq!(after(Direction::Out, &ended[..2]).unwrap().phase, Phase::Receipt);
        assert_eq!(after(Direction::Out, &ended), None);
    }

    #[test]
    fn what_comes_in_counts_what_is_proven_here() {
        let told = after(Direction::In, &[Wire::Announced, Wire::Consigned, content(200, Some(700))]).unwrap();
        assert_eq!((told.phase, told.bytes, told.proven), (Phase::Receive, 700, Some(700)));
    }

    #[test]
    fn a_session_that_begins_anew_takes_up_what_the_peer_has() {
        let again = [Wire::Announced, content(800, Some(100)), Wire::Announced, content(50, Some(600))];
        let told = after(Direction::Out, &again).unwrap();
        assert_eq!((told.bytes, told.proven), (650, Some(600)));
        let silent = after(Direction::Out, &[&again[..2], &[Wire::Announced, Wire::Consigned]].concat()).unwrap();
        assert_eq!(
            (silent.phase, silent.bytes, silent.proven),
            (Phase::Send, 100, Some(100)),
            "what is proven stays proven"
        );
        let greedy = after(Direction::Out, &[Wire::Announced, content(50, Some(5000))]).unwrap();
        assert_eq!(greedy.proven, Some(1000), "a peer can claim no more than there is");
    }

    #[test]
    fn a_link_tells_its_road_and_its_silence_and_takes_its_packages_along() {
        let (mut journeys, now) = (Journeys::default(), Instant::now());
        let state = Road {
            via: Via::Udp,
            round_trip: Some(Duration::from_millis(620)),
            packets: Some(Packets { sent: 2000, lost: 42 }),
        };
        journeys.link(peer(), &LinkNews::Begun);
        journeys.link(peer(), &LinkNews::Is(state));
        journeys.handle(peer(), &Event::Sending { release: Hash::ZERO, phase: Wire::Announced }, now);
        let at = |journeys: &Journeys, seconds: u64| {
            let (journey, road) = journeys.of(Direction::Out, &Hash::ZERO).unwrap();
            journey.progress(0, road.as_ref(), now + Duration::from_secs(seconds)).link.unwrap()
        };
        let link = at(&journeys, 1);
        assert_eq!(
            (link.via.as_deref(), link.round_trip_ms, link.lost_per_million),
            (Some("udp"), Some(620), Some(21_000))
        );
        assert_eq!((link.stalled_seconds, at(&journeys, 7).stalled_seconds), (None, Some(7)));
        journeys.link(peer(), &LinkNews::Begun);
        let ended = LinkNews::Ended(custodia_net::End::ByPeer(0));
        journeys.link(peer(), &ended);
        assert!(journeys.of(Direction::Out, &Hash::ZERO).is_some(), "the other session is still there");
        journeys.link(peer(), &ended);
        assert!(journeys.of(Direction::Out, &Hash::ZERO).is_none());
        assert_eq!(journeys.links().count(), 0);
    }
}
