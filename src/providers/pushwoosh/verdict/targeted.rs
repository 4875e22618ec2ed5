//! What the answers to `createTargetedMessage` mean.

use serde::Serialize;
use serde_json::Value;

use super::words::Words;
use super::{Reply, Told, judge, speaks_of_access, was_taken_before};
use crate::job::{Delivery, Object};
use crate::ports::WireAnswer;
use crate::providers::answer::{clean, retry_after};
use crate::providers::pushwoosh::filter::{self, Filter, Scalar};
use crate::providers::pushwoosh::{Account, targeted};
use crate::verdict::{Acceptance, Json, Verdict};

/// The most errors of one filter that are told.
const MOST_ERRORS: usize = 5;

/// The meaning of an answer to `createTargetedMessage`.
pub(in crate::providers::pushwoosh) fn create_targeted_message(
    account: &Account,
    delivery: &Delivery,
    answer: &WireAnswer,
    after_unknown: bool,
) -> Verdict {
    let payload = &delivery.job.payload;
    let sent = targeted::filter_of(payload);
    let asked = Asked { account, payload, words: words_of(account, delivery, sent.as_ref()), after_unknown };
    judge(
        answer,
        &asked.words,
        |reply| Verdict::Accepted(vec![asked.acceptance(reply)]),
        |reply, headers| asked.argument_error(reply, headers),
    )
}

/// What was sent. The filter's codes and names of tags are what an explanation has to name; what
/// tags are compared with is data.
fn words_of<'a>(account: &'a Account, delivery: &'a Delivery, filter: Option<&'a Filter>) -> Words<'a> {
    Words::new(account.api_token.expose(), move |sent| {
        sent.add_message(&delivery.job.payload);
        sent.add_name(delivery.id.as_str());
        let Some(filter) = filter else { return };
        filter::codes(filter).chain(filter::tags(filter)).for_each(|name| sent.add_name(name));
        for value in filter::values(filter) {
            match value {
                Scalar::Text(text) => sent.add_data_text(text.as_str()),
                Scalar::Number(number) => sent.add_data_number(*number),
            }
        }
    })
}

/// What was asked, as far as an answer's meaning depends on it.
struct Asked<'a> {
    account: &'a Account,
    payload: &'a Object,
    words: Words<'a>,
    after_unknown: bool,
}

impl Asked<'_> {
    fn argument_error(&self, reply: &Reply, headers: &[(String, String)]) -> Verdict {
        // A message that has a code exists, whatever else is said of it.
        if code(reply, "messageCode").is_some() {
            return Verdict::Accepted(vec![self.acceptance(reply)]);
        }
        let errors = self.errors_of_filter(reply);
        if !errors.is_empty() {
            let reason = format!("{}: {}", reply.shown, errors.join("; "));
            return Verdict::Refused { reason: clean(&reason, []) };
        }
        if self.words.speak_of_rate_limit(&reply.message) {
            return Verdict::Throttled { retry_after: retry_after(headers) };
        }
        let judged = self.words.judged(&reply.message);
        if speaks_of_access(&judged) && self.is_account_at_fault() {
            return Verdict::Misconfigured { cause: reply.shown.clone() };
        }
        if was_taken_before(&judged, self.after_unknown) {
            return Verdict::AcceptedBefore(self.acceptance(reply));
        }
        Verdict::Refused { reason: reply.shown.clone() }
    }

    /// "Access denied or application not found": an application that the filter names and that is
    /// not the account's own is the delivery's fault, since one slip in a filter must not stop
    /// everything else of the account. A filter without one leaves only the credential to blame.
    fn is_account_at_fault(&self) -> bool {
        !targeted::names_another_application(self.account, self.payload)
    }

    /// What the provider found wrong in the filter.
    fn errors_of_filter(&self, reply: &Reply) -> Vec<String> {
        let errors = reply.response.get("errors").and_then(Value::as_array);
        let texts = errors.into_iter().flatten().filter_map(|error| error.get("message")?.as_str());
        texts.take(MOST_ERRORS).map(|text| self.words.clean(text)).collect()
    }

    fn acceptance(&self, reply: &Reply) -> Acceptance {
        let shown = |name: &str| code(reply, name).map(|code| self.words.code(code));
        let (message_code, tracking_code) = (shown("messageCode"), shown("trackingCode"));
        let codes = Codes { message_code: message_code.as_deref(), tracking_code: tracking_code.as_deref() };
        let any = codes.message_code.is_some() || codes.tracking_code.is_some();
        let response =
            Told { status_code: reply.code, status_message: &reply.shown, response: any.then_some(codes) };
        Acceptance { response: Some(Json::of(&response)), message_code, unknown_devices: Vec::new() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Codes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_code: Option<&'a str>,
}

fn code<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.response.get(name).and_then(Value::as_str).filter(|code| !code.is_empty())
}

#[cfg(test)]
mod tests;
