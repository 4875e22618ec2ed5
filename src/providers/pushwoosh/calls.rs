//! The calls that make no message: two that withdraw one, two that read.
//!
//! They name no application and use up no limit that is known, and doing one twice does no harm. Reading order:
//! `rules` (what a payload must keep to), then this file (deliveries and requests), then `verdict`
//! (what an answer means).

use std::sync::Arc;

use serde_json::Value;

use super::{Account, CALLS, request};
use crate::job::{Class, Delivery, Finding, Job, Object};
use crate::ports::{WireAnswer, WireRequest};
use crate::providers::Planned;
use crate::verdict::Verdict;

mod rules;
mod verdict;

/// One of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Removes a scheduled message.
    DeleteMessage,
    /// Stops a message that is not finished.
    CancelMessage,
    /// Reads one message.
    GetMessageDetails,
    /// Reads many messages with their figures.
    GetPushHistory,
}

impl Call {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DeleteMessage => "deleteMessage",
            Self::CancelMessage => "cancelMessage",
            Self::GetMessageDetails => "getMessageDetails",
            Self::GetPushHistory => "getPushHistory",
        }
    }

    /// Whether it changes nothing at the provider.
    pub(super) const fn reads(self) -> bool {
        match self {
            Self::DeleteMessage | Self::CancelMessage => false,
            Self::GetMessageDetails | Self::GetPushHistory => true,
        }
    }

    /// The JSON Schema of the payload.
    pub(super) fn schema(self) -> Value {
        rules::schema(self)
    }

    /// Checks the job and makes its one delivery.
    pub(super) fn plan(self, job: &Job) -> Result<Planned, Vec<Finding>> {
        let report = rules::check(self, &job.payload);
        if !report.is_empty() {
            return Err(report.into_findings());
        }
        let id = (&job.transaction_id).into();
        Ok(vec![Ok(Delivery { id, job: Arc::new(job.clone()), class: Class::Counted(CALLS), batch: None })])
    }

    /// Things worth knowing that break no rule.
    pub(super) fn warnings(self, payload: &Object) -> Vec<Finding> {
        rules::warnings(self, payload).into_findings()
    }

    /// The request of a delivery: the payload beside the credential.
    pub(super) fn request(self, account: &Account, delivery: &Delivery) -> WireRequest {
        let mut request = Object::new();
        request.insert("auth".to_owned(), account.api_token.expose().into());
        let given = delivery.job.payload.iter();
        request.extend(given.map(|(name, value)| rules::as_documented(self, name, value)));
        request::call(account, self.name(), &request)
    }

    /// The meaning of an answer.
    pub(super) fn verdict(
        self,
        account: &Account,
        delivery: &Delivery,
        answer: &WireAnswer,
        after_unknown: bool,
    ) -> Verdict {
        verdict::judge(self, account, delivery, answer, after_unknown)
    }
}

#[cfg(test)]
pub(super) mod tests;
