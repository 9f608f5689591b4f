//! The clock and the entropy of the node, and which start of the machine this is: the one place where they are read.

use custodia_format::text::Time;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure};

/// The moment that this machine's clock shows, in whole seconds.
///
/// It is a claim: it goes into `issued_at` and into the cosignatures that we make, and blocks nothing.
pub(crate) fn now() -> Time {
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
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| Failure::new(Code::Internal, format!("The system gave no random bytes: {error}.")))?;
    Ok(bytes)
}

/// Which start of the machine this is; empty where the system does not say.
pub(crate) fn boot() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map(|boot| boot.trim().to_owned()).unwrap_or_default()
}
