//! What the campaign API's answers mean.

use serde_json::Value;

use super::request::user_and_password;
use crate::job::{Delivery, Object};
use crate::ports::{MOST_ANSWER_BYTES, WireAnswer};
use crate::providers::answer::{by_status, clean, mask, retry_after, texts, too_large, unreadable};
use crate::providers::moengage::Account;
use crate::verdict::{Acceptance, Json, Verdict};

/// The most sentences of an error that are put together.
const MOST_SENTENCES: usize = 5;

/// The most parts of an error that are looked at for them.
const MOST_PARTS: usize = 500;

/// How much of a sentence is compared with the others, in bytes.
const MOST_COMPARED: usize = 1_200;

/// The meaning of an answer to `updateCampaign`.
pub(in crate::providers::moengage) fn update(
    account: &Account,
    delivery: &Delivery,
    answer: &WireAnswer,
) -> Verdict {
    // One document promises a message, another shows a list, the status promises nothing at all. The
    // producer is told which campaign it was.
    let campaign = delivery.job.payload.get("campaign_id").and_then(Value::as_str).map(str::to_owned);
    let accepted = || Acceptance { message_code: campaign, ..Acceptance::default() };
    let asked = Asked::new(account, delivery, true);
    asked.judge(answer, |_, _| Verdict::Accepted(vec![accepted()]))
}

/// The meaning of an answer to `searchCampaigns`.
pub(in crate::providers::moengage) fn search(
    account: &Account,
    delivery: &Delivery,
    answer: &WireAnswer,
) -> Verdict {
    let asked = Asked::new(account, delivery, false);
    asked.judge(answer, |headers, body| asked.found(headers, body))
}

/// What was asked, as far as an answer's meaning depends on it.
struct Asked<'a> {
    account: &'a Account,
    payload: &'a Object,
    /// What the Basic header held.
    basic: Option<String>,
    /// Whether the call was about a campaign, which there may not be.
    names_campaign: bool,
}

impl<'a> Asked<'a> {
    fn new(account: &'a Account, delivery: &'a Delivery, names_campaign: bool) -> Self {
        let key = account.campaign_api_key.as_ref();
        let basic = key.map(|key| user_and_password(&account.workspace_id, key));
        Self { account, payload: &delivery.job.payload, basic, names_campaign }
    }

    fn judge(
        &self,
        answer: &WireAnswer,
        success: impl FnOnce(&[(String, String)], &[u8]) -> Verdict,
    ) -> Verdict {
        match answer {
            WireAnswer::NotSent(cause) => Verdict::NotSent { cause: self.clean(cause) },
            WireAnswer::Lost(cause) => Verdict::Unknown { cause: self.clean(cause), fault: false },
            WireAnswer::Response { status: 200..=299, headers, body } => success(headers, body),
            WireAnswer::Response { status, headers, body } => self.failure(*status, headers, body),
        }
    }

    /// The meaning of a status that is no success.
    fn failure(&self, status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
        let error: Option<Value> = serde_json::from_slice(body).ok();
        let text = error.as_ref().map(|error| self.explanation(status, error)).unwrap_or_default();
        let of_the_service = error.as_ref().and_then(error_object).is_some();
        match by_status(status, headers, &text) {
            // The campaign API itself says that there is no such campaign, so the address and the
            // credential are right and only this delivery is at fault. Any other 404 speaks of the
            // address: a wrong data center, or a `base_url` that leads elsewhere.
            Some(_) if status == 404 && of_the_service && self.names_campaign => {
                Verdict::Refused { reason: format!("HTTP 404: {text}") }
            }
            Some(verdict) => verdict,
            None => unreadable(),
        }
    }

    /// A search's answer, whole. A list in one document, an object in others.
    fn found(&self, headers: &[(String, String)], body: &[u8]) -> Verdict {
        match serde_json::from_slice(body) {
            Ok(found) if error_object(&found).is_some() => self.error_under_success(headers, &found),
            Ok(found @ (Value::Array(_) | Value::Object(_))) => {
                let response = Some(Json::of(&mask(found, &self.secrets().collect::<Vec<_>>())));
                Verdict::Accepted(vec![Acceptance { response, ..Acceptance::default() }])
            }
            Err(_) if body.len() >= MOST_ANSWER_BYTES => too_large("ask for less of it by a smaller limit"),
            Ok(_) | Err(_) => unreadable(),
        }
    }

    /// An error is no result, whatever status it comes under; its code begins with the one it is of.
    fn error_under_success(&self, headers: &[(String, String)], body: &Value) -> Verdict {
        let status = error_object(body).and_then(|error| status_of(error.get("code")?));
        let text = self.explanation(status.unwrap_or_default(), body);
        let said = match status {
            Some(status) => format!("an error {status} under HTTP success: {text}"),
            None => format!("an error under HTTP success: {text}"),
        };
        match status {
            Some(429) => Verdict::Throttled { retry_after: retry_after(headers) },
            Some(401 | 403) => Verdict::Misconfigured { cause: said },
            Some(400..=499) => Verdict::Refused { reason: said },
            Some(status) => Verdict::Unknown { cause: said, fault: (500..=599).contains(&status) },
            None => Verdict::Unknown { cause: said, fault: false },
        }
    }

    /// An error's sentences in one line, each clean before it is cut.
    fn explanation(&self, status: u16, body: &Value) -> String {
        clean(&explanation(status, body, |text| self.clean(text)), [])
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        let key = self.account.campaign_api_key.as_ref().map(|key| key.expose());
        key.into_iter().chain(self.basic.as_deref())
    }

    /// A text of the provider without our credentials and without what we sent.
    fn clean(&self, text: &str) -> String {
        let mut hidden: Vec<&str> = self.secrets().collect();
        hidden.push(&self.account.workspace_id);
        self.payload.values().for_each(|value| texts(value, &mut hidden));
        clean(text, hidden)
    }
}

/// The error object of the campaign API, if that is what a body holds.
fn error_object(body: &Value) -> Option<&Object> {
    body.get("error").and_then(Value::as_object)
}

/// The HTTP status that an error's code is or begins with, such as `429 conflict`.
fn status_of(code: &Value) -> Option<u16> {
    match code {
        Value::Number(code) => u16::try_from(code.as_u64()?).ok(),
        Value::String(code) => {
            let digits = code.len() - code.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 3 { code[..digits].parse().ok() } else { None }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An error's sentences in one line, each through `clean`.
fn explanation(status: u16, body: &Value, clean: impl Fn(&str) -> String) -> String {
    let Some(error) = error_object(body) else {
        // What stands before the service answers in forms of its own.
        let said = ["error", "reason", "message"].iter().find_map(|name| body.get(name)?.as_str());
        return clean(said.unwrap_or_default());
    };
    let mut gathered = Gathered::default();
    for name in ["message", "details"] {
        gathered.add(error.get(name), "");
    }
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    // Most codes begin with the HTTP status, which is named anyway.
    let code = (!code.is_empty() && !code.starts_with(&status.to_string())).then(|| clean(code));
    let sentences = gathered.sentences.into_iter().map(|(target, text)| match target {
        "" => clean(text),
        target => format!("{}: {}", clean(target), clean(text)),
    });
    code.into_iter().chain(sentences).collect::<Vec<_>>().join("; ")
}

/// Sentences of an error, each with the member that it is about, as far as they are gathered.
#[derive(Default)]
struct Gathered<'a> {
    sentences: Vec<(&'a str, &'a str)>,
    parts: usize,
}

impl<'a> Gathered<'a> {
    /// Adds a part of an error: a text, or a list of parts, or an object whose `message` is a part
    /// again.
    fn add(&mut self, part: Option<&'a Value>, target: &'a str) {
        self.parts += 1;
        if self.is_full() {
            return;
        }
        match part {
            Some(Value::String(text)) => self.add_text(target, text),
            Some(Value::Array(parts)) => {
                for part in parts {
                    if self.is_full() {
                        return;
                    }
                    self.add(Some(part), target);
                }
            }
            Some(Value::Object(part)) => {
                let own = part.get("target").and_then(Value::as_str).filter(|own| !own.is_empty());
                self.add(part.get("message"), own.unwrap_or(target));
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {}
        }
    }

    fn is_full(&self) -> bool {
        self.sentences.len() >= MOST_SENTENCES || self.parts > MOST_PARTS
    }

    /// Adds what is not said yet.
    fn add_text(&mut self, target: &'a str, text: &'a str) {
        let head = |text: &'a str| &text[..text.floor_char_boundary(MOST_COMPARED)];
        let said = || self.sentences.iter().any(|(_, sentence)| head(sentence).contains(head(text)));
        if !text.is_empty() && !said() {
            self.sentences.push((target, text));
        }
    }
}

#[cfg(test)]
mod tests;
