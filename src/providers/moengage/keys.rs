//! The keys of an account in the configuration, for people: what is read, and what holds without it.

use crate::config::keys::{Key, Kind, key};

/// The keys of an account, as [`super::Account::read`] reads them.
pub(super) const ALL: &[Key] = &[
    key(
        "data_center",
        Kind::Text,
        None,
        "The data center of the workspace, such as \"01\": a text. Required where base_url is absent.",
        "It is in the address of the workspace's dashboard.",
    ),
    key(
        "base_url",
        Kind::Text,
        None,
        "Where both APIs are, in the place of data_center; its path comes before the calls' own. A proxy or the simulator, perhaps.",
        "Absent, data_center tells both addresses.",
    ),
    key(
        "workspace_id",
        Kind::Text,
        None,
        "The id of the workspace (app id). Required.",
        "Accounts with the same workspace share one limit.",
    ),
    key("push_api_key", Kind::Secret, None, "The key of the push API. Required.", "It signs every sendPush."),
    key(
        "campaign_api_key",
        Kind::Secret,
        None,
        "The key of the campaign API: updateCampaign and searchCampaigns need it.",
        "Absent, jobs of these operations are invalid. It is not the push key.",
    ),
    key(
        "requests_per_minute",
        Kind::Limit,
        Some("10000"),
        "The limit on sendPush, in any 60 seconds, over all workers; campaign calls have 10 a second, 100 a minute and 6,000 an hour.",
        "What the documentation grants a workspace.",
    ),
    key(
        "on_unknown",
        Kind::Choice(&["dead", "resend"]),
        Some(r#""dead""#),
        "What becomes of a User send whose answer was lost: left to a person as dead, or sent again, perhaps pushing twice.",
        "The provider has no means to recognise a second one.",
    ),
];
