//! MoEngage's campaign API: `updateCampaign` and `searchCampaigns`.
//!
//! Reading order: `fields` (the documented members), `rules` (what a payload must keep to),
//! `request` (what is sent), `verdict` (what an answer means).

use crate::job::{Finding, Job};

pub(super) mod fields;
pub(super) mod request;
pub(super) mod rules;
pub(super) mod verdict;

/// The finding for a campaign job of an account that has no credential for such calls.
pub(super) fn no_key(job: &Job) -> Finding {
    Finding::new(
        "/operation",
        format!("{}, while the account has no campaign_api_key", job.operation),
        format!(
            "an account with that key: add accounts.{}.campaign_api_key to the configuration",
            job.account
        ),
        "paceline, the keys of an account",
    )
}
