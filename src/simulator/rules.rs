//! What can be set for each provider.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a request over the limit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Throttling {
    /// HTTP 429, with the wait in a header.
    #[serde(rename = "429")]
    Status,
    /// HTTP 200 with the refusal in the body.
    #[serde(rename = "body")]
    Body,
}

/// A provider's limits and habits.
///
/// The credentials are secrets only of whoever made them up for a test, yet they stay out of
/// `Debug` and out of what `/_simulator/limits` answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Rules {
    /// The most counted requests in any window; `None` for no limit.
    pub requests: Option<u32>,
    /// The length of the sliding window. The documented one is a minute; tests may shorten it.
    pub window: Duration,
    /// How a request over the limit is answered.
    pub throttling: Throttling,
    /// How long an accepted identity is remembered; `None` for ever.
    pub duplicate_window: Option<Duration>,
    /// The most devices of a `createMessage` request that uses up no limit; 0 is message tracing
    /// switched on. Pushwoosh only.
    pub exempt_devices: usize,
    /// The credentials that are let in; `None` makes any credential an account of its own.
    /// Pushwoosh: the API token. MoEngage: `<workspace id>:<push API key>`.
    pub credentials: Option<Vec<String>>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("requests", &self.requests)
            .field("window", &self.window)
            .field("throttling", &self.throttling)
            .field("duplicate_window", &self.duplicate_window)
            .field("exempt_devices", &self.exempt_devices)
            .field("credentials", &self.credentials.as_ref().map(Vec::len))
            .finish()
    }
}

/// A change of some rules, as `PUT /_simulator/limits` takes it: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesChange {
    /// A number, or `"unlimited"`.
    pub requests: Option<Limit>,
    /// A duration such as `"60s"`.
    #[serde(default, deserialize_with = "some_duration")]
    pub window: Option<Duration>,
    /// `"429"` or `"body"`.
    pub throttling: Option<Throttling>,
    /// A duration such as `"5m"`.
    #[serde(default, deserialize_with = "some_duration")]
    pub duplicate_window: Option<Duration>,
    /// A number.
    pub exempt_devices: Option<usize>,
}

impl RulesChange {
    /// The rules after the change.
    pub fn apply(&self, rules: &Rules) -> Rules {
        Rules {
            requests: self.requests.map_or(rules.requests, |limit| limit.0),
            window: self.window.unwrap_or(rules.window),
            throttling: self.throttling.unwrap_or(rules.throttling),
            duplicate_window: self.duplicate_window.or(rules.duplicate_window),
            exempt_devices: self.exempt_devices.unwrap_or(rules.exempt_devices),
            credentials: rules.credentials.clone(),
        }
    }
}

/// A number of requests, or none for no limit; written as a number or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<u32>);

impl std::str::FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|number| Self(Some(number)))
            .map_err(|_| format!("{text:?} is no limit: a whole number or \"unlimited\""))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(Some(number))),
            Written::Word(word) => word.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_u32(number),
            None => serializer.serialize_str("unlimited"),
        }
    }
}

/// Reads a duration such as `"20ms"` or `"5m"`; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{text:?} is no duration: {error}"))
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            requests: Some(600),
            window: Duration::from_secs(60),
            throttling: Throttling::Status,
            duplicate_window: Some(Duration::from_secs(300)),
            exempt_devices: 10,
            credentials: Some(vec!["token-1".into()]),
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let change: RulesChange =
            serde_json::from_str(r#"{"requests":"unlimited","window":"250ms","throttling":"body"}"#).unwrap();
        let expected = Rules {
            requests: None,
            window: Duration::from_millis(250),
            throttling: Throttling::Body,
            ..rules()
        };
        assert_eq!(change.apply(&rules()), expected);
        assert_eq!(RulesChange::default().apply(&rules()), rules());
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused() {
        for text in
            [r#"{"request":1}"#, r#"{"requests":"many"}"#, r#"{"requests":-1}"#, r#"{"window":"soon"}"#]
        {
            assert!(serde_json::from_str::<RulesChange>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_stay_out_of_debug() {
        assert!(!format!("{:?}", rules()).contains("token-1"));
    }
}
