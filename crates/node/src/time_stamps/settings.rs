//! The section `[time-stamps]` of `custodia.toml`.

use std::fmt;
use std::time::Duration;

use custodia_verify::time_stamp::Policy;
use serde::{Deserialize, Deserializer};

use crate::http::{NoPlace, Place};

/// Services that one node asks: more than a court would look at.
const SERVICES: usize = 8;
/// Hours between two questions where nothing is said: a day's work is bounded by the hour.
const HOURS: f64 = 1.0;
/// The longest time between two questions: a year.
const HOURS_MOST: f64 = 8784.0;
const HOUR_SECONDS: f64 = 3600.0;

/// Which services stamp this node's checkpoints, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeStamps {
    /// The time between two questions to one service, `hours`.
    #[serde(default = "every_default", rename = "hours", deserialize_with = "every")]
    pub every: Duration,
    /// The services; each is asked by itself.
    #[serde(deserialize_with = "services")]
    pub services: Vec<Service>,
}

/// A time-stamping service: RFC 3161 over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Where it is asked, `url`.
    #[serde(rename = "url", deserialize_with = "place")]
    pub(crate) place: Place,
    /// The policy that its tokens must be of; any where none is named.
    #[serde(default, deserialize_with = "policy")]
    pub(crate) policy: Option<Policy>,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)
    }
}

const fn every_default() -> Duration {
    Duration::from_secs((HOURS * HOUR_SECONDS) as u64)
}

fn every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let hours = f64::deserialize(deserializer)?;
    // One second at least: what is asked without a pause is an attack on the service.
    if (1.0 / HOUR_SECONDS..=HOURS_MOST).contains(&hours) {
        return Ok(Duration::from_secs_f64(hours * HOUR_SECONDS));
    }
    Err(serde::de::Error::custom(format!("hours is {hours}; it is one second (1/3600) to {HOURS_MOST}")))
}

fn services<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Service>, D::Error> {
    let services = Vec::<Service>::deserialize(deserializer)?;
    if !(1..=SERVICES).contains(&services.len()) {
        let found = services.len();
        return Err(serde::de::Error::custom(format!("{found} services; allowed are 1 to {SERVICES}")));
    }
    for (at, service) in services.iter().enumerate() {
        if services.iter().take(at).any(|other| other.place == service.place) {
            return Err(serde::de::Error::custom(format!("{service} is named twice")));
        }
    }
    Ok(services)
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
    let url = String::deserialize(deserializer)?;
    Place::parse(&url).map_err(|why| {
        serde::de::Error::custom(match why {
            NoPlace::Https => {
                format!(
                    "{url}: the node speaks plain http; a token is signed, and a tunnel on this machine can add TLS"
                )
            }
            NoPlace::Other => format!("{url} is not http://HOST[:PORT][/PATH]"),
        })
    })
}

fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Policy>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Policy::new(&text)
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("{text} is no policy such as 1.3.6.1.4.1.1")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::failure::Code;

    fn of(section: &str) -> Result<TimeStamps, crate::failure::Failure> {
        Config::parse(&format!("ledger = \"a/b/1\"\n[time-stamps]\n{section}\n"))
            .map(|config| config.time_stamps.unwrap())
    }

    #[test]
    fn services_are_named_with_what_they_must_be() {
        let settings =
            of("hours = 0.5\nservices = [{ url = \"http://tsa.example/tsr\", policy = \"1.2.3\" }]").unwrap();
        assert_eq!(settings.every, Duration::from_secs(1800));
        assert_eq!(settings.services[0].to_string(), "http://tsa.example/tsr");
        assert_eq!(settings.services[0].policy, Some(Policy::new_unwrap("1.2.3")));
        let tables = of(
            "[[time-stamps.services]]\nurl = \"http://a.example\"\n[[time-stamps.services]]\nurl = \"http://b.example\"",
        );
        assert_eq!((tables.as_ref().unwrap().services.len(), tables.unwrap().every), (2, every_default()));
    }

    #[test]
    fn a_section_that_says_less_or_more_is_refused() {
        let service = "{ url = \"http://tsa.example\" }";
        for bad in [
            "".to_owned(),
            "services = []".to_owned(),
            format!("services = [{service}, {service}]"),
            "services = [{ url = \"https://tsa.example\" }]".to_owned(),
            "services = [{ url = \"tsa.example\" }]".to_owned(),
            "services = [\"http://tsa.example\"]".to_owned(),
            "services = [{ url = \"http://tsa.example\", polcy = \"1.2.3\" }]".to_owned(),
            "services = [{ url = \"http://tsa.example\", policy = \"any\" }]".to_owned(),
            format!("hours = 0\nservices = [{service}]"),
            format!("hours = -1\nservices = [{service}]"),
            format!("hours = nan\nservices = [{service}]"),
            format!("hours = 9000\nservices = [{service}]"),
            format!("every = 1\nservices = [{service}]"),
        ] {
            assert_eq!(of(&bad).unwrap_err().code, Code::Config, "{bad}");
        }
        let https = of("services = [{ url = \"https://tsa.example\" }]").unwrap_err();
        assert!(https.found.unwrap().contains("plain http"));
    }
}
