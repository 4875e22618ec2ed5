//! What Pushwoosh's answers mean.

use serde_json::{Value, json};

use super::fields::{NOTIFICATIONS, listed};
use super::{Account, request};
use crate::job::{Delivery, Object};
use crate::ports::WireAnswer;
use crate::providers::answer::{by_status, clean, retry_after, speaks_of_rate_limit, texts};
use crate::verdict::{Acceptance, Rest, Verdict};

/// `status_code`: done.
const DONE: u64 = 200;

/// `status_code`: argument error.
const ARGUMENT_ERROR: u64 = 210;

/// The meaning of an answer to `createMessage`.
pub(super) fn create_message(
    account: &Account,
    deliveries: &[&Delivery],
    answer: &WireAnswer,
    after_unknown: bool,
) -> Verdict {
    let asked = Asked { account, deliveries, after_unknown };
    match answer {
        WireAnswer::NotSent(cause) => Verdict::NotSent { cause: asked.clean(cause) },
        WireAnswer::Lost(cause) => Verdict::Unknown { cause: asked.clean(cause), fault: false },
        WireAnswer::Response { status, headers, body } => {
            let reply = Reply::read(body);
            let text = reply.as_ref().map(|reply| asked.clean(&reply.message)).unwrap_or_default();
            by_status(*status, headers, &text).unwrap_or_else(|| asked.by_body(reply, headers))
        }
    }
}

/// What was asked, as far as an answer's meaning depends on it.
struct Asked<'a> {
    account: &'a Account,
    deliveries: &'a [&'a Delivery],
    after_unknown: bool,
}

impl Asked<'_> {
    /// The meaning of a body under a successful HTTP status.
    fn by_body(&self, reply: Option<Reply>, headers: &[(String, String)]) -> Verdict {
        let Some(reply) = reply else {
            let cause = "the answer can't be read although its HTTP status is success".to_owned();
            return Verdict::Unknown { cause, fault: false };
        };
        let said = || format!("status {}: {}", reply.code, self.clean(&reply.message));
        match reply.code {
            DONE => Verdict::Accepted(self.acceptances(&reply)),
            ARGUMENT_ERROR => self.argument_error(&reply, headers),
            // The rest is not documented under HTTP 200; the nearest HTTP meaning is taken where
            // being wrong can't push twice.
            401 | 403 => Verdict::Misconfigured { cause: said() },
            429 => Verdict::Throttled { retry_after: retry_after(headers) },
            500..=599 => Verdict::Unknown { cause: said(), fault: true },
            _ => Verdict::Unknown { cause: said(), fault: false },
        }
    }

    /// Notifications go out one by one: as many codes as there are, so many were taken.
    fn argument_error(&self, reply: &Reply, headers: &[(String, String)]) -> Verdict {
        let asked = self.deliveries.len();
        let taken = reply.codes.len();
        let reason = self.clean(&reply.message);
        if taken >= asked {
            return Verdict::Accepted(self.acceptances(reply));
        }
        if taken > 0 {
            let rest = self.rest(reply, reason, headers);
            return Verdict::Partial { accepted: self.acceptances(reply), rest };
        }
        if speaks_of_rate_limit(&reply.message) {
            return Verdict::Throttled { retry_after: retry_after(headers) };
        }
        if speaks_of_access(&reply.message) && self.is_own_application() {
            return Verdict::Misconfigured { cause: reason };
        }
        if asked == 1 && self.was_taken_before(&reply.message) {
            return Verdict::AcceptedBefore(self.acceptance(reply, None, Vec::new()));
        }
        Verdict::Refused { reason }
    }

    /// What stopped a request of which something was taken.
    fn rest(&self, reply: &Reply, reason: String, headers: &[(String, String)]) -> Rest {
        if speaks_of_rate_limit(&reply.message) {
            return Rest::Throttled(retry_after(headers));
        }
        // The one that stopped it may have been taken before: alone it will be found out.
        if speaks_of_duplicate(&reply.message) {
            return Rest::Unblamed(reason);
        }
        Rest::Faulty(reason)
    }

    /// Whether the refusal says that the provider has this notification already. What it answers to
    /// a repeated `transactionId` is not documented, so after an attempt of ours with an unknown end
    /// any talk of a duplicate counts, else only one that names the transaction.
    fn was_taken_before(&self, message: &str) -> bool {
        let names_transaction = message.to_lowercase().contains("transaction");
        speaks_of_duplicate(message) && (self.after_unknown || names_transaction)
    }

    fn is_own_application(&self) -> bool {
        let payload = self.deliveries.first().map(|delivery| &delivery.job.payload);
        payload.is_some_and(|payload| request::is_own_application(self.account, payload))
    }

    /// One acceptance for each delivery that was taken, in order.
    fn acceptances(&self, reply: &Reply) -> Vec<Acceptance> {
        let asked = self.deliveries.len();
        let taken = if reply.code == DONE { asked } else { reply.codes.len().min(asked) };
        // Fewer or more codes than taken: which belongs to whom is anybody's guess. None is given.
        let matched = reply.codes.len() == taken;
        (0..taken)
            .map(|index| {
                let code = if matched { reply.codes[index].as_deref() } else { None };
                self.acceptance(reply, code, self.unknown_devices(reply, index, code))
            })
            .collect()
    }

    fn acceptance(&self, reply: &Reply, code: Option<&str>, unknown_devices: Vec<String>) -> Acceptance {
        let message_code = code.map(|code| self.clean(code));
        let mut response = json!({"status_code": reply.code, "status_message": self.clean(&reply.message)});
        if let Some(code) = &message_code {
            response["response"] = json!({"Messages": [code]});
        }
        Acceptance { message_code, unknown_devices, response: Some(response) }
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
            return listed.flat_map(|(_, devices)| devices).filter(own).cloned().collect();
        };
        reply.unknown.iter().flat_map(|(_, devices)| devices).cloned().collect()
    }

    fn has_device(&self, index: usize, device: &str) -> bool {
        let notification = self.deliveries.get(index).and_then(|delivery| sole_notification(delivery));
        notification.is_some_and(|object| listed(object, "devices").any(|own| own == device))
    }

    /// A text of the provider without our token and without anything that we sent in notifications.
    fn clean(&self, text: &str) -> String {
        let mut hidden = vec![self.account.api_token.expose()];
        let notifications = self.deliveries.iter().filter_map(|delivery| sole_notification(delivery));
        for (name, value) in notifications.flatten() {
            // The identity is meant to be seen.
            if name != "transactionId" && name != "send_date" {
                texts(value, &mut hidden);
            }
        }
        clean(text, hidden)
    }
}

fn sole_notification<'a>(delivery: &&'a Delivery) -> Option<&'a Object> {
    delivery.job.payload.get(NOTIFICATIONS.name)?.get(0)?.as_object()
}

fn speaks_of_access(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("access denied") || text.contains("application not found")
}

fn speaks_of_duplicate(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("duplicate") || text.contains("already")
}

/// An answer's body, as far as it is used.
struct Reply {
    code: u64,
    message: String,
    /// One for each notification that was taken; `None` for an entry that is no text.
    codes: Vec<Option<String>>,
    /// Unknown devices under the code of their message.
    unknown: Vec<(String, Vec<String>)>,
}

impl Reply {
    /// `None` when the body is not what the provider answers.
    fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let code = body.get("status_code")?.as_u64()?;
        let message = body.get("status_message").and_then(Value::as_str).unwrap_or_default().to_owned();
        // Absent, null or an empty list on errors.
        let response = body.get("response");
        let codes = response.and_then(|response| response.get("Messages")).and_then(Value::as_array);
        let unknown = response.and_then(|response| response.get("UnknownDevices")).and_then(Value::as_object);
        Some(Self {
            code,
            message,
            codes: codes.into_iter().flatten().map(|code| code.as_str().map(str::to_owned)).collect(),
            unknown: unknown
                .into_iter()
                .flatten()
                .map(|(code, list)| (code.clone(), text_list(list)))
                .collect(),
        })
    }
}

fn text_list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
