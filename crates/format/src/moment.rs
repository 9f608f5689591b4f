//! Dates as people write them (docs/operate/records.md). Whatever could be read in two ways is refused with both.

use crate::text::{Time, zone_seconds};

/// A date that was read, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// As it was written, without its zone.
    pub told: String,
    /// `YYYY-MM-DDTHH:MM:SS`; what was not told is filled with the earliest.
    pub value: String,
    /// The last part that was told: `year`, `month`, `day`, `minute` or `second`.
    pub precision: &'static str,
    /// `Z` or an offset, where it was told.
    pub zone: Option<String>,
}

impl Moment {
    /// Seconds since 1970 of the earliest that it can mean; none where its zone is not told.
    pub fn unix(&self) -> Option<i64> {
        let local = Time::parse(&format!("{}Z", self.value))?.unix();
        Some(local - zone_seconds(self.zone.as_deref()?)?)
    }
}

/// What can be read.
const FORM: &str = "a date such as 2003, 2003-07, 2003-07-08, 2003-07-08 10:15 or 2003-07-08T10:15:00+02:00";
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Reads a date.
///
/// # Errors
/// What should have been written, in words.
pub fn read(text: &str) -> Result<Moment, String> {
    if let Some(readings) = other_order(text) {
        return Err(readings);
    }
    read_form(text).ok_or_else(|| FORM.to_owned())
}

fn read_form(text: &str) -> Option<Moment> {
    let (date, time) = text.split_once(['T', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let (time, zone) = match time {
        Some(time) => match time.find(['Z', '+', '-']) {
            Some(at) => (Some(time.get(..at)?), Some(time.get(at..)?.to_owned())),
            None => (Some(time), None),
        },
        None => (None, None),
    };
    let (filled, precision) = match (date.len(), time.map(str::len)) {
        (4, None) => (format!("{date}-01-01T00:00:00"), "year"),
        (7, None) => (format!("{date}-01T00:00:00"), "month"),
        (10, None) => (format!("{date}T00:00:00"), "day"),
        (10, Some(5)) => (format!("{date}T{}:00", time?), "minute"),
        (10, Some(8)) => (format!("{date}T{}", time?), "second"),
        _ => return None,
    };
    Time::parse(&format!("{filled}Z"))?;
    if let Some(zone) = &zone {
        zone_seconds(zone)?;
    }
    let told = zone.as_ref().map_or(text, |zone| text.strip_suffix(zone.as_str()).unwrap_or(text)).to_owned();
    Some(Moment { told, value: filled, precision, zone })
}

/// For three numbers with the year last (`08/07/2003`, `8.7.03`): how they can be read.
fn other_order(text: &str) -> Option<String> {
    let parts: [&str; 3] = text.split(['/', '.', '-', ' ']).collect::<Vec<_>>().try_into().ok()?;
    let number = |part: &str, most: usize| (1..=most).contains(&part.len()).then(|| part.parse::<u32>().ok()).flatten();
    let [first, second] = [number(parts[0], 2)?, number(parts[1], 2)?];
    let year = number(parts[2], 4)?;
    let year = match year {
        0..100 => return Some("a date whose year has four digits, as 2003-07-08".to_owned()),
        year => year,
    };
    let reading = |day: u32, month: u32| {
        let name = MONTHS.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
        Time::parse(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"))?;
        Some(format!("{year:04}-{month:02}-{day:02} if it is {day} {name} {year}"))
    };
    match (reading(first, second), reading(second, first)) {
        (Some(one), Some(other)) if one != other => Some(format!("{one}, or {other}")),
        (Some(one), _) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_far_as_they_go() {
        for (text, value, precision, zone) in [
            ("2003", "2003-01-01T00:00:00", "year", None),
            ("2003-07", "2003-07-01T00:00:00", "month", None),
            ("2003-07-08", "2003-07-08T00:00:00", "day", None),
            ("2003-07-08 10:15", "2003-07-08T10:15:00", "minute", None),
            ("2003-07-08T10:15:30Z", "2003-07-08T10:15:30", "second", Some("Z")),
            ("2003-07-08 10:15+02:00", "2003-07-08T10:15:00", "minute", Some("+02:00")),
            ("2003-07-08 10:15-03:30", "2003-07-08T10:15:00", "minute", Some("-03:30")),
        ] {
            let moment = read(text).unwrap();
            assert_eq!((&*moment.value, moment.precision, moment.zone.as_deref()), (value, precision, zone), "{text}");
            assert_eq!(moment.told + zone.unwrap_or_default(), text);
        }
        let unix = |text: &str| read(text).unwrap().unix();
        assert_eq!(unix("1970-01-02 01:30+01:30"), Some(86_400));
        assert_eq!(unix("1970-01-01T00:00:07-00:30"), Some(1807));
        assert_eq!((unix("1970-01-01 00:00Z"), unix("1970-01-01 00:00")), (Some(0), None));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_with_both() {
        let both = read("08/07/2003").unwrap_err();
        assert_eq!(both, "2003-07-08 if it is 8 July 2003, or 2003-08-07 if it is 7 August 2003");
        assert_eq!(read("08/07 2003").unwrap_err(), both);
        assert_eq!(read("25.12.2003").unwrap_err(), "2003-12-25 if it is 25 December 2003");
        assert_eq!(read("12/25/2003").unwrap_err(), "2003-12-25 if it is 25 December 2003");
        assert_eq!(read("7/7/2003").unwrap_err(), "2003-07-07 if it is 7 July 2003");
        assert!(read("8.7.03").unwrap_err().contains("four digits"));
        for none in [
            "",
            "July 2003",
            "January-February 2003",
            "2003-13",
            "2003-02-29",
            "2003-7-8",
            "03-07-08",
            "2003-07-08 1015",
            "2003-07-08 10",
            "20030708",
            "99/99/2003",
            "2003-07-08T10:15:60",
            "２００３",
            "2003-07-08 25:00",
        ] {
            assert!(read(none).is_err(), "{none}");
        }
    }
}
