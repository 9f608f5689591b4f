//! The clock and the entropy of the node, and which start of the machine this is: the one place where they are read.

use custodia_format::text::Time;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure};

/// The moment that this machine's clock shows, in whole seconds.
///
/// It is a claim: it goes into `issued_at` and into the cosignatures that we make, and blocks nothing.
pub(crate) fn now() -> Time {
    #[cfg(feature = "watched")]
    if let Some(shown) = watched::now() {
        return shown;
    }
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).ok().and_then(Time::from_unix).unwrap_or(Time::EPOCH)
}

/// The first of November 2026: no clock that is set shows an earlier time to this program, which is younger.
const MADE: i64 = 1_793_491_200;

/// Whether a time can be that of a clock that somebody has set, and not one that began at 1970 with the machine.
pub(crate) fn is_of_a_set_clock(time: Time) -> bool {
    time.unix() >= MADE
}

/// Draws `N` random bytes from the system; they are wiped when dropped.
///
/// # Errors
/// [`Code::Internal`] when the system has none to give.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Failure> {
    let mut bytes = Zeroizing::new([0; N]);
    #[cfg(feature = "watched")]
    if watched::fill(bytes.as_mut_slice()) {
        return Ok(bytes);
    }
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| Failure::new(Code::Internal, format!("The system gave no random bytes: {error}.")))?;
    Ok(bytes)
}

/// Which start of the machine this is; empty where the system does not say.
pub(crate) fn boot() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map(|boot| boot.trim().to_owned()).unwrap_or_default()
}

/// A clock and a source of bytes in place of the system's, for the thread that sets them.
#[cfg(feature = "watched")]
pub(crate) mod watched {
    use std::cell::Cell;

    use custodia_format::Hash;
    use custodia_format::text::Time;

    #[derive(Clone, Copy)]
    struct Edge {
        unix: i64,
        seed: u64,
        drawn: u64,
    }

    thread_local! {
        static EDGE: Cell<Option<Edge>> = const { Cell::new(None) };
    }

    /// From now on this thread's clock shows this moment, and what it draws follows from the seed.
    pub(crate) fn set(unix: i64, seed: u64) {
        EDGE.set(Some(Edge { unix, seed, drawn: 0 }));
    }

    pub(super) fn now() -> Option<Time> {
        EDGE.get().and_then(|edge| Time::from_unix(edge.unix))
    }

    /// Fills the buffer, if this thread was given a seed.
    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(mut edge) = EDGE.get() else { return false };
        for part in bytes.chunks_mut(32) {
            let block = Hash::of(&[edge.seed.to_be_bytes(), edge.drawn.to_be_bytes()].concat());
            edge.drawn += 1;
            part.copy_from_slice(block.as_bytes().get(..part.len()).unwrap_or_default());
        }
        EDGE.set(Some(edge));
        true
    }
}
