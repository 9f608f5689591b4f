//! Between which two times a statement came to be, and by whose word.

use custodia_format::text::Time;
use serde::Serialize;

/// What a bound rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundSource {
    /// A cosignature by an authority or witness that the reader believes.
    Trusted,
    /// A time-stamp token by an authority of a `tsa` line of the trust file.
    TimeStamp,
    /// A cosignature by an authority that the reader does not believe.
    Untrusted,
    /// Another authority's statement that names this one: that authority's word.
    Word,
}

/// One end of an interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The time.
    #[serde(serialize_with = "time")]
    pub time: Time,
    /// By whose clock.
    pub by: String,
    /// What it rests on.
    pub source: BoundSource,
}

/// Between which two times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Interval {
    /// Not before.
    pub lower: Option<Bound>,
    /// Not after.
    pub upper: Option<Bound>,
}

fn time<S: serde::Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
