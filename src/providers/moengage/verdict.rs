//! What MoEngage's answers mean.

use serde_json::Value;

use super::signature::sign;
use super::{Account, rules};
use crate::job::{Delivery, Object};
use crate::ports::WireAnswer;
use crate::providers::answer::{
    by_status, clean, clean_words, retry_after, speaks_of_rate_limit, texts, unreadable,
};
use crate::verdict::{Acceptance, Json, Verdict};

/// The members of a success that a receipt repeats.
const KEPT: [&str; 4] = ["status", "requestId", "responseId", "cid"];

/// Where an explanation may stand: version 2, version 1, errors of the gateway.
const EXPLANATIONS: [&str; 4] = ["Error_Message", "msg", "reason", "message"];

/// How much of an explanation is judged by, in bytes.
const MOST_JUDGED: usize = 1_200;

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
            by_status(*status, headers, &asked.clean(&text))
                .unwrap_or_else(|| asked.by_body(body.as_ref(), &text, headers))
        }
    }
}

/// The explanation in a body, empty if there is none. Its layout is published by one sample only, so
/// capitals don't matter, and of a list or an object all texts are taken.
fn explanation(body: &Value) -> String {
    let member = |name: &&str| {
        let members = body.as_object()?.iter();
        let mut texts = Vec::new();
        members.filter(|(given, _)| given.eq_ignore_ascii_case(name)).for_each(|(_, value)| {
            self::texts(value, &mut texts);
        });
        texts.retain(|text| !text.is_empty());
        (!texts.is_empty()).then(|| texts.join("; "))
    };
    EXPLANATIONS.iter().find_map(member).unwrap_or_default()
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
            (_, _) => unreadable(),
        }
    }

    fn failure(&self, body: &Value, text: &str, headers: &[(String, String)]) -> Verdict {
        let reason = if text.is_empty() { "Fail without a reason".to_owned() } else { self.clean(text) };
        match self.meaning(text) {
            Meaning::Limit => Verdict::Throttled { retry_after: retry_after(headers) },
            // A name that is taken was taken by our own lost attempt, if there is one and the name
            // could be used only once. For the audience User the name says nothing about the push.
            Meaning::Duplicate if self.after_unknown && self.has_unique_name() => {
                Verdict::AcceptedBefore(self.acceptance(body))
            }
            Meaning::Credential => Verdict::Misconfigured { cause: reason },
            Meaning::Duplicate | Meaning::Delivery => Verdict::Refused { reason },
        }
    }

    /// What a refusal speaks of. A text as the provider documents it is its own, even where a
    /// producer happens to use the same words; in any other the producer's words decide nothing.
    fn meaning(&self, text: &str) -> Meaning {
        documented(text).unwrap_or_else(|| {
            // A limit also has to be one in the whole text, where its object may be a word that the
            // producer uses, too.
            let whole = speaks_of_rate_limit(head(text));
            loose_meaning(&self.without_payload(text), whole)
        })
    }

    fn has_unique_name(&self) -> bool {
        rules::audience(self.payload).is_some_and(|audience| audience.has_unique_names())
    }

    fn acceptance(&self, body: &Value) -> Acceptance {
        let text = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(|text| self.clean(text))
        };
        let kept: Object =
            KEPT.into_iter().filter_map(|name| Some((name.to_owned(), text(name)?.into()))).collect();
        Acceptance {
            message_code: text("responseId").or_else(|| text("cid")),
            unknown_devices: Vec::new(),
            response: Some(Json::of(&kept)),
        }
    }

    /// A text of the provider in lower case, without any text of the payload: a refusal that repeats
    /// a name such as "Card limit reached" must not be taken for throttling, and sent for ever.
    fn without_payload(&self, text: &str) -> String {
        let hidden: Vec<String> = self.payload_texts().into_iter().map(str::to_lowercase).collect();
        clean(&head(text).to_lowercase(), hidden.iter().map(String::as_str))
    }

    fn payload_texts(&self) -> Vec<&str> {
        let mut all = Vec::new();
        self.payload.values().for_each(|value| texts(value, &mut all));
        all
    }

    /// A text of the provider without our credentials and without what we sent; who is meant stays
    /// hidden however short the name is.
    fn clean(&self, text: &str) -> String {
        let campaign = self.payload.get("campaignName").and_then(Value::as_str).unwrap_or_default();
        let key = self.account.push_api_key.expose();
        let signature = sign(&self.account.workspace_id, campaign, key);
        let mut hidden = self.payload_texts();
        hidden.extend([key, self.account.workspace_id.as_str(), signature.as_str()]);
        let mut users = Vec::new();
        let target = self.payload.get("targetUserAttributes");
        if let Some(value) = target.and_then(|target| target.get("attributeValue")) {
            texts(value, &mut users);
        }
        clean_words(text, hidden, users)
    }
}

/// What a refusal speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The limit on requests.
    Limit,
    /// A name that is taken.
    Duplicate,
    /// The account's credential.
    Credential,
    /// Anything else: the delivery's own fault.
    Delivery,
}

/// The reasons that the provider's documents name, in lower case.
const DOCUMENTED: [(&str, Meaning); 18] = [
    ("invalid request type", Meaning::Delivery),
    ("invalid appid", Meaning::Credential),
    ("appid not present", Meaning::Credential),
    ("invalid appid / appid not present", Meaning::Credential),
    ("campaign name too short (must be >= 5 chars)", Meaning::Delivery),
    ("campaign name too short", Meaning::Delivery),
    ("campaign name missing", Meaning::Delivery),
    ("campaign name too short (must be >= 5 chars) / campaign name missing", Meaning::Delivery),
    ("campaign name not found", Meaning::Delivery),
    ("request limit exceeded", Meaning::Limit),
    ("signature missing or not verified", Meaning::Credential),
    ("signature missing", Meaning::Credential),
    ("signature not verified", Meaning::Credential),
    ("signature is not verified", Meaning::Credential),
    ("duplicate campaign name", Meaning::Duplicate),
    ("key not of type list", Meaning::Delivery),
    ("key not of type list or value not allowed", Meaning::Delivery),
    ("error parsing parameters", Meaning::Delivery),
];

fn documented(text: &str) -> Option<Meaning> {
    let text = head(text).trim().trim_end_matches('.').to_lowercase();
    DOCUMENTED.into_iter().find(|(reason, _)| *reason == text).map(|(_, meaning)| meaning)
}

/// The texts are published in part only, so they are matched loosely; whatever is not known is the
/// delivery's own fault. `text` is in lower case, and nothing in it comes from the payload.
fn loose_meaning(text: &str, limited: bool) -> Meaning {
    // First: a limit may be said to be the workspace's, which is no fault of its credential.
    if limited && speaks_of_rate_limit(text) {
        return Meaning::Limit;
    }
    // Before credentials: a name may be said to be taken in the workspace.
    if text.contains("duplicate") && ["campaign", "name"].iter().any(|what| text.contains(what)) {
        return Meaning::Duplicate;
    }
    let taken = text.contains("campaign") && text.contains("already");
    if !taken && CREDENTIAL.iter().any(|phrase| text.contains(phrase)) {
        return Meaning::Credential;
    }
    Meaning::Delivery
}

/// Phrases that speak of the account's credential.
const CREDENTIAL: [&str; 9] = [
    "signature",
    "appid",
    "app id",
    "app_id",
    "invalid workspace",
    "workspace id",
    "workspace_id",
    "workspace not",
    "workspace is",
];

/// As much of a text as is judged by.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_JUDGED)]
}

#[cfg(test)]
mod tests;
