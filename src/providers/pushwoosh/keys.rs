//! The keys of an account in the configuration, for people: what is read, and what holds without it.

use super::{DEFAULT_EXEMPT_DEVICES, fields};
use crate::config::keys::{Key, Kind, integer, key};

/// The keys of an account, as [`super::Account::read`] reads them.
pub(super) const ALL: &[Key] = &[
    key(
        "base_url",
        Kind::Text,
        Some(r#""https://api.pushwoosh.com""#),
        "Where the API is; its path comes before the calls' own. A proxy or the simulator, perhaps.",
        "The documented address.",
    ),
    key(
        "api_token",
        Kind::Secret,
        None,
        "The API token. Required.",
        "Accounts with the same token share one limit.",
    ),
    key(
        "application",
        Kind::Text,
        None,
        "The application code of jobs whose payload names neither an application nor a group.",
        "Absent, every payload names its own.",
    ),
    key(
        "requests_per_minute",
        Kind::Limit,
        Some("600"),
        "The account's limit on counted requests, in any 60 seconds, over all workers.",
        "What the documentation grants an account; an enterprise account may have none.",
    ),
    key(
        "exempt_devices",
        integer(0, DEFAULT_EXEMPT_DEVICES),
        Some("10"),
        "A message to at most so many devices, sent at once, uses up no limit; 0 for none.",
        "What the documentation exempts; 0 while message tracing is on, which ends the exemption.",
    ),
    key(
        "notifications_per_request",
        integer(1, fields::MOST_NOTIFICATIONS as u64),
        Some("20"),
        "The most deliveries that one counted request may carry.",
        "With 600 requests a minute up to 12,000 deliveries; after a fault few of them have to wait for the next request.",
    ),
    key(
        "require_targeting",
        Kind::Boolean,
        Some("false"),
        "Whether a message without users, devices, filter or conditions is refused: it goes to every subscriber.",
        "The provider allows it.",
    ),
];
