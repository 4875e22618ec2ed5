//! What MoEngage's answers mean.

use serde_json::{Value, json};

use super::signature::sign;
use super::{Account, rules};
use crate::job::{Delivery, Object};
use crate::ports::WireAnswer;
use crate::providers::answer::{by_status, clean, retry_after, speaks_of_rate_limit, texts};
use crate::verdict::{Acceptance, Verdict};

/// The members of a success that a receipt repeats.
const KEPT: [&str; 4] = ["status", "requestId", "responseId", "cid"];

/// Where an explanation may stand: version 2, version 1, errors of the gateway.
const EXPLANATIONS: [&str; 4] = ["Error_Message", "msg", "reason", "message"];

/// The meaning of an answer to `sendPush`.
pub(super) fn send_push(
    account: &Account,
    delivery: &Delivery,
    answer: &WireAnswer,
    after_unknown: bool,
) -> Verdict {
    let asked = Asked { account, payload: &delivery.job.payload, after_unknown };
    match answer {
        WireAnswer::NotSent(cause) => Verdict::NotSent { cause: asked.clean(cause) },
        WireAnswer::Lost(cause) => Verdict::Unknown { cause: asked.clean(cause), fault: false },
        WireAnswer::Response { status, headers, body } => {
            let body: Option<Value> = serde_json::from_slice(body).ok();
            let text = body.as_ref().map(explanation).unwrap_or_default();
            by_status(*status, headers, &asked.clean(text))
                .unwrap_or_else(|| asked.by_body(body.as_ref(), text, headers))
        }
    }
}

fn explanation(body: &Value) -> &str {
    EXPLANATIONS.iter().find_map(|name| body.get(name)?.as_str()).unwrap_or_default()
}

/// What was asked, as far as an answer's meaning depends on it.
struct Asked<'a> {
    account: &'a Account,
    payload: &'a Object,
    after_unknown: bool,
}

impl Asked<'_> {
    /// The meaning of a body under a successful HTTP status: failures come with it too.
    fn by_body(&self, body: Option<&Value>, text: &str, headers: &[(String, String)]) -> Verdict {
        let status = body.and_then(|body| body.get("status")).and_then(Value::as_str);
        match (body, status.map(str::to_lowercase).as_deref()) {
            (Some(body), Some("success")) => Verdict::Accepted(vec![self.acceptance(body)]),
            (Some(body), Some("fail")) => self.failure(body, text, headers),
            (_, _) => {
                let cause = "the answer can't be read although its HTTP status is success".to_owned();
                Verdict::Unknown { cause, fault: false }
            }
        }
    }

    /// The texts are published in part only, so they are matched loosely; whatever is not known is
    /// the delivery's own fault.
    fn failure(&self, body: &Value, text: &str, headers: &[(String, String)]) -> Verdict {
        let reason = if text.is_empty() { "Fail without a reason".to_owned() } else { self.clean(text) };
        // First: a limit may be said to be the workspace's, which is no fault of its credential.
        if speaks_of_rate_limit(text) {
            return Verdict::Throttled { retry_after: retry_after(headers) };
        }
        if names_credential(text) {
            return Verdict::Misconfigured { cause: reason };
        }
        if speaks_of_duplicate(text) {
            return self.duplicate(body, reason);
        }
        Verdict::Refused { reason }
    }

    /// A name that is taken was taken by our own lost attempt, if there is one and the name could
    /// be used only once. For the audience User the name says nothing about the push.
    fn duplicate(&self, body: &Value, reason: String) -> Verdict {
        let unique = rules::audience(self.payload).is_some_and(|audience| audience.has_unique_names());
        if self.after_unknown && unique {
            Verdict::AcceptedBefore(self.acceptance(body))
        } else {
            Verdict::Refused { reason }
        }
    }

    fn acceptance(&self, body: &Value) -> Acceptance {
        let text = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(|text| self.clean(text))
        };
        let kept = KEPT.into_iter().filter_map(|name| Some((name.to_owned(), json!(text(name)?))));
        Acceptance {
            message_code: text("responseId").or_else(|| text("cid")),
            unknown_devices: Vec::new(),
            response: Some(Value::Object(kept.collect())),
        }
    }

    /// A text of the provider without our credentials and without what we sent to users.
    fn clean(&self, text: &str) -> String {
        let campaign = self.payload.get("campaignName").and_then(Value::as_str).unwrap_or_default();
        let key = self.account.push_api_key.expose();
        let signature = sign(&self.account.workspace_id, campaign, key);
        let mut hidden = vec![key, self.account.workspace_id.as_str(), signature.as_str()];
        for name in ["payload", "targetUserAttributes"] {
            if let Some(value) = self.payload.get(name) {
                texts(value, &mut hidden);
            }
        }
        clean(text, hidden)
    }
}

fn names_credential(text: &str) -> bool {
    let text = text.to_lowercase();
    ["signature", "appid", "app id", "app_id", "workspace"].iter().any(|word| text.contains(word))
}

fn speaks_of_duplicate(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("duplicate") || (text.contains("campaign") && text.contains("already"))
}

#[cfg(test)]
mod tests;
