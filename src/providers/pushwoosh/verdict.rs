//! What Pushwoosh's answers mean: to `createMessage` here, to `createTargetedMessage` in `targeted`.

use serde::Serialize;
use serde_json::Value;

use super::fields::{NOTIFICATIONS, listed};
use super::{Account, request};
use crate::job::{Delivery, Object};
use crate::ports::WireAnswer;
use crate::providers::answer::{by_status, retry_after, unreadable};
use crate::verdict::{Acceptance, Json, Rest, Verdict};
use words::Words;

pub(super) mod targeted;
pub(super) mod words;

/// `status_code`: done.
pub(super) const DONE: u64 = 200;

/// `status_code`: argument error.
pub(super) const ARGUMENT_ERROR: u64 = 210;

/// The meaning of an answer by its HTTP status and, under success, by its `status_code`. What the
/// two documented codes mean is the operation's own; `words` hides what was sent from a text.
pub(super) fn judge(
    answer: &WireAnswer,
    words: &Words<'_>,
    done: impl FnOnce(&Reply) -> Verdict,
    argument_error: impl FnOnce(&Reply, &[(String, String)]) -> Verdict,
) -> Verdict {
    let (status, headers, body) = match answer {
        WireAnswer::NotSent(cause) => return Verdict::NotSent { cause: words.clean(cause) },
        WireAnswer::Lost(cause) => return Verdict::Unknown { cause: words.clean(cause), fault: false },
        WireAnswer::Response { status, headers, body } => (*status, headers, body),
    };
    let reply = Reply::read(body, words);
    let text = reply.as_ref().map(|reply| reply.shown.as_str()).unwrap_or_default();
    if let Some(verdict) = by_status(status, headers, text) {
        return verdict;
    }
    let Some(reply) = reply else {
        return unreadable();
    };
    match reply.code {
        DONE => done(&reply),
        ARGUMENT_ERROR => argument_error(&reply, headers),
        code => undocumented(code, &reply.shown, headers),
    }
}

/// A `status_code` that is not documented under HTTP 200: the nearest HTTP meaning is taken where
/// being wrong can't push twice.
fn undocumented(code: u64, text: &str, headers: &[(String, String)]) -> Verdict {
    let said = format!("status {code}: {text}");
    match code {
        401 | 403 => Verdict::Misconfigured { cause: said },
        429 => Verdict::Throttled { retry_after: retry_after(headers) },
        500..=599 => Verdict::Unknown { cause: said, fault: true },
        _ => Verdict::Unknown { cause: said, fault: false },
    }
}

/// The meaning of an answer to `createMessage`.
pub(super) fn create_message(
    account: &Account,
    deliveries: &[&Delivery],
    answer: &WireAnswer,
    after_unknown: bool,
) -> Verdict {
    let asked = Asked { account, deliveries, words: words_of(account, deliveries), after_unknown };
    judge(
        answer,
        &asked.words,
        |reply| Verdict::Accepted(asked.acceptances(reply)),
        |reply, headers| asked.argument_error(reply, headers),
    )
}

/// What was sent with these deliveries. All of them may stand in any text of the answer.
fn words_of<'a>(account: &'a Account, deliveries: &'a [&'a Delivery]) -> Words<'a> {
    Words::new(account.api_token.expose(), move |sent| {
        for delivery in deliveries {
            let (list, envelope): (Vec<_>, Vec<_>) =
                delivery.job.payload.iter().partition(|(name, _)| *name == NOTIFICATIONS.name);
            let messages = list.into_iter().filter_map(|(_, list)| list.get(0)?.as_object());
            messages.for_each(|message| sent.add_message(message));
            envelope.into_iter().for_each(|(_, value)| sent.add_names(value));
            sent.add_name(delivery.id.as_str());
        }
    })
}

/// What was asked, as far as an answer's meaning depends on it.
struct Asked<'a> {
    account: &'a Account,
    deliveries: &'a [&'a Delivery],
    words: Words<'a>,
    after_unknown: bool,
}

impl Asked<'_> {
    /// Notifications go out one by one: as many codes as there are, so many were taken.
    fn argument_error(&self, reply: &Reply, headers: &[(String, String)]) -> Verdict {
        let asked = self.deliveries.len();
        let taken = self.taken(reply);
        let reason = reply.shown.clone();
        if taken >= asked {
            return Verdict::Accepted(self.acceptances(reply));
        }
        if taken > 0 {
            let rest = self.rest(reply, reason, headers);
            return Verdict::Partial { accepted: self.acceptances(reply), rest };
        }
        if self.words.speak_of_rate_limit(&reply.message) {
            return Verdict::Throttled { retry_after: retry_after(headers) };
        }
        let judged = self.words.judged(&reply.message);
        if speaks_of_access(&judged) && self.is_own_application() {
            return Verdict::Misconfigured { cause: reason };
        }
        if asked == 1 && was_taken_before(&judged, self.after_unknown) {
            return Verdict::AcceptedBefore(self.acceptance(reply, None, Vec::new()));
        }
        Verdict::Refused { reason }
    }

    /// What stopped a request of which something was taken.
    fn rest(&self, reply: &Reply, reason: String, headers: &[(String, String)]) -> Rest {
        if self.words.speak_of_rate_limit(&reply.message) {
            return Rest::Throttled(retry_after(headers));
        }
        // The one that stopped it may have been taken before: alone it will be found out.
        if speaks_of_duplicate(&self.words.judged(&reply.message)) {
            return Rest::Unblamed(reason);
        }
        Rest::Faulty(reason)
    }

    fn is_own_application(&self) -> bool {
        let payload = self.deliveries.first().map(|delivery| &delivery.job.payload);
        payload.is_some_and(|payload| request::is_own_application(self.account, payload))
    }

    /// How many deliveries were taken. When the provider stopped, only a code says that one was; an
    /// entry that is none says nothing, nor does anything behind it.
    fn taken(&self, reply: &Reply) -> usize {
        let asked = self.deliveries.len();
        if reply.code == DONE {
            return asked;
        }
        reply.codes.iter().take_while(|code| code.is_some()).count().min(asked)
    }

    /// One acceptance for each delivery that was taken, in order.
    fn acceptances(&self, reply: &Reply) -> Vec<Acceptance> {
        let taken = self.taken(reply);
        // Fewer codes than taken, or more than asked for: which belongs to whom is anybody's guess.
        // None is given.
        let matched = (taken..=self.deliveries.len()).contains(&reply.codes.len());
        (0..taken)
            .map(|index| {
                let code = if matched { reply.codes[index].as_deref() } else { None };
                self.acceptance(reply, code, self.unknown_devices(reply, index, code))
            })
            .collect()
    }

    fn acceptance(&self, reply: &Reply, code: Option<&str>, unknown_devices: Vec<String>) -> Acceptance {
        let message_code = code.map(|code| self.words.code(code));
        let messages = message_code.as_deref().map(|code| Messages { messages: [code] });
        let response = Told { status_code: reply.code, status_message: &reply.shown, response: messages };
        Acceptance { response: Some(Json::of(&response)), message_code, unknown_devices }
    }

    /// The devices that the provider did not know, of the delivery at `index`.
    ///
    /// They come under the message's code. The code of unstored messages is the same text for all of
    /// them, so a shared code gives a delivery only what it has asked for itself.
    fn unknown_devices(&self, reply: &Reply, index: usize, code: Option<&str>) -> Vec<String> {
        let [_] = self.deliveries else {
            let shared = reply.codes.iter().filter(|other| other.as_deref() == code).count() > 1;
            let own = |device: &&String| !shared || self.has_device(index, device);
            let listed = reply.unknown.iter().filter(|(of, _)| Some(of.as_str()) == code);
            let own = listed.flat_map(|(_, devices)| devices).filter(own);
            return own.map(|device| self.words.device(device)).collect();
        };
        let all = reply.unknown.iter().flat_map(|(_, devices)| devices);
        all.map(|device| self.words.device(device)).collect()
    }

    fn has_device(&self, index: usize, device: &str) -> bool {
        let notification = self.deliveries.get(index).and_then(|delivery| sole_notification(delivery));
        notification.is_some_and(|object| listed(object, "devices").any(|own| own == device))
    }
}

fn sole_notification<'a>(delivery: &&'a Delivery) -> Option<&'a Object> {
    delivery.job.payload.get(NOTIFICATIONS.name)?.get(0)?.as_object()
}

/// Whether a refusal says that the provider has this message already. What it answers to a repeated
/// `transactionId` is not documented, so after an attempt of ours with an unknown end any talk of a
/// duplicate counts, else only one that names the transaction.
///
/// `judged` is in small letters and holds no word of the producer's, as in the two below.
fn was_taken_before(judged: &str, after_unknown: bool) -> bool {
    let names_transaction = judged.contains("transaction");
    speaks_of_duplicate(judged) && (after_unknown || names_transaction)
}

fn speaks_of_access(judged: &str) -> bool {
    judged.contains("access denied") || judged.contains("application not found")
}

fn speaks_of_duplicate(judged: &str) -> bool {
    judged.contains("duplicate") || judged.contains("already")
}

/// What a receipt tells of an answer.
#[derive(Serialize)]
pub(super) struct Told<'a, R> {
    pub(super) status_code: u64,
    pub(super) status_message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<R>,
}

#[derive(Serialize)]
struct Messages<'a> {
    #[serde(rename = "Messages")]
    messages: [&'a str; 1],
}

/// An answer's body, as far as it is used.
pub(super) struct Reply {
    pub(super) code: u64,
    pub(super) message: String,
    /// The message, fit for people. Kept, since every acceptance of a request repeats it.
    pub(super) shown: String,
    /// `response`, null where there is none.
    pub(super) response: Value,
    /// One for each notification that was taken; `None` for an entry that is no code.
    codes: Vec<Option<String>>,
    /// Unknown devices under the code of their message.
    unknown: Vec<(String, Vec<String>)>,
}

impl Reply {
    /// `None` when the body is not what the provider answers.
    fn read(body: &[u8], words: &Words<'_>) -> Option<Self> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let code = body.get("status_code")?.as_u64()?;
        let message = body.get("status_message").and_then(Value::as_str).unwrap_or_default().to_owned();
        // Absent, null or an empty list on errors.
        let response = body.get_mut("response").map(Value::take).unwrap_or_default();
        let codes = response.get("Messages").and_then(Value::as_array);
        let unknown = response.get("UnknownDevices").and_then(Value::as_object);
        let code_of = |code: &Value| code.as_str().filter(|code| !code.trim().is_empty()).map(str::to_owned);
        let codes = codes.into_iter().flatten().map(code_of).collect();
        let unknown =
            unknown.into_iter().flatten().map(|(code, list)| (code.clone(), text_list(list))).collect();
        let shown = words.clean(&message);
        Some(Self { code, message, shown, response, codes, unknown })
    }
}

fn text_list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
