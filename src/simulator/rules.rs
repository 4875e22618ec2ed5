//! What can be set for each provider.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pools::Windows;

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
    /// The main limit: the most requests that use it up in any window; `None` for no limit.
    pub requests: Option<u32>,
    /// The length of the sliding window. The documented one is a minute; tests may shorten it.
    pub window: Duration,
    /// Limits beside the main one, by name. MoEngage: `campaigns`, for `updateCampaign` and
    /// `searchCampaigns`.
    pub pools: BTreeMap<String, Windows>,
    /// How a request over the main limit is answered where the documentation leaves it open.
    pub throttling: Throttling,
    /// How long an accepted identity is remembered; `None` for ever. Pushwoosh: `createMessage`.
    pub duplicate_window: Option<Duration>,
    /// The same for `createTargetedMessage`. Pushwoosh only.
    pub targeted_duplicate_window: Option<Duration>,
    /// The most devices of a `createMessage` request that uses up no limit; 0 is message tracing
    /// switched on. Pushwoosh only.
    pub exempt_devices: usize,
    /// The credentials that are let in; `None` makes any credential an account of its own.
    /// Pushwoosh: the API token. MoEngage: `<workspace id>:<push API key>`.
    pub credentials: Option<Vec<String>>,
    /// The same for campaign calls: `<workspace id>:<campaign API key>`. MoEngage only.
    pub campaign_credentials: Option<Vec<String>>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("requests", &self.requests)
            .field("window", &self.window)
            .field("pools", &self.pools)
            .field("throttling", &self.throttling)
            .field("duplicate_window", &self.duplicate_window)
            .field("targeted_duplicate_window", &self.targeted_duplicate_window)
            .field("exempt_devices", &self.exempt_devices)
            .field("credentials", &self.credentials.as_ref().map(Vec::len))
            .field("campaign_credentials", &self.campaign_credentials.as_ref().map(Vec::len))
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
    /// Windows such as `"10/1s,100/1m"`, or `"unlimited"`, by the name of the pool.
    #[serde(default)]
    pub pools: BTreeMap<String, Windows>,
    /// `"429"` or `"body"`.
    pub throttling: Option<Throttling>,
    /// A duration such as `"5m"`.
    #[serde(default, deserialize_with = "some_duration")]
    pub duplicate_window: Option<Duration>,
    /// A duration such as `"1d"`.
    #[serde(default, deserialize_with = "some_duration")]
    pub targeted_duplicate_window: Option<Duration>,
    /// A number.
    pub exempt_devices: Option<usize>,
}

impl RulesChange {
    /// The rules after the change. Fails for a pool that the provider does not have, and for a
    /// window without a length.
    pub fn apply(&self, rules: &Rules) -> Result<Rules, String> {
        if let Some(unknown) = self.pools.keys().find(|name| !rules.pools.contains_key(*name)) {
            let known: Vec<&str> = rules.pools.keys().map(String::as_str).collect();
            return Err(format!("no pool {unknown:?}, there are: {known:?}"));
        }
        if self.window.is_some_and(|window| window.is_zero()) {
            return Err("a window must have a length".to_owned());
        }
        let mut pools = rules.pools.clone();
        pools.extend(self.pools.clone());
        Ok(Rules {
            requests: self.requests.map_or(rules.requests, |limit| limit.0),
            window: self.window.unwrap_or(rules.window),
            pools,
            throttling: self.throttling.unwrap_or(rules.throttling),
            duplicate_window: self.duplicate_window.or(rules.duplicate_window),
            targeted_duplicate_window: self.targeted_duplicate_window.or(rules.targeted_duplicate_window),
            exempt_devices: self.exempt_devices.unwrap_or(rules.exempt_devices),
            credentials: rules.credentials.clone(),
            campaign_credentials: rules.campaign_credentials.clone(),
        })
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
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn rules() -> Rules {
        Rules {
            requests: Some(600),
            window: Duration::from_secs(60),
            pools: BTreeMap::from([("campaigns".to_owned(), Windows::of_seconds(&[(10, 1)]))]),
            throttling: Throttling::Status,
            duplicate_window: Some(Duration::from_secs(300)),
            targeted_duplicate_window: Some(Duration::from_secs(86_400)),
            exempt_devices: 10,
            credentials: Some(vec!["token-1".into()]),
            campaign_credentials: Some(vec!["token-2".into()]),
        }
    }

    fn change(text: &str) -> Result<Rules, String> {
        serde_json::from_str::<RulesChange>(text).map_err(|error| error.to_string())?.apply(&rules())
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let found = change(
            r#"{"requests":"unlimited","window":"250ms","throttling":"body","pools":{"campaigns":"5/2s"}}"#,
        );
        let expected = Rules {
            requests: None,
            window: Duration::from_millis(250),
            throttling: Throttling::Body,
            pools: BTreeMap::from([("campaigns".to_owned(), Windows::of_seconds(&[(5, 2)]))]),
            ..rules()
        };
        assert_eq!(found, Ok(expected));
        assert_eq!(change("{}"), Ok(rules()));
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused() {
        for text in [
            r#"{"request":1}"#,
            r#"{"requests":"many"}"#,
            r#"{"requests":-1}"#,
            r#"{"window":"soon"}"#,
            r#"{"window":"0"}"#,
            r#"{"pools":{"campaigns":"10"}}"#,
            r#"{"pools":{"campaign":"10/1s"}}"#,
        ] {
            assert!(change(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_stay_out_of_debug() {
        assert!(!format!("{:?}", rules()).contains("token-"));
    }
}
