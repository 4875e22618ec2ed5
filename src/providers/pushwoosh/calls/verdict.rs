//! What the answers to these calls mean.

use serde_json::Value;

use super::{Call, rules};
use crate::job::{Delivery, Object};
use crate::ports::{MOST_ANSWER_BYTES, WireAnswer};
use crate::providers::answer::{by_status, clean, mask, retry_after, too_large, unreadable};
use crate::providers::pushwoosh::Account;
use crate::providers::pushwoosh::verdict::{ARGUMENT_ERROR, DONE, Told, words::Words};
use crate::verdict::{Acceptance, Json, Verdict};

/// The meaning of an answer.
pub(super) fn judge(
    call: Call,
    account: &Account,
    delivery: &Delivery,
    answer: &WireAnswer,
    after_unknown: bool,
) -> Verdict {
    let token = account.api_token.expose();
    let payload = &delivery.job.payload;
    let asked = Asked { call, token, payload, words: words_of(call, token, payload), after_unknown };
    match answer {
        WireAnswer::NotSent(cause) => Verdict::NotSent { cause: asked.words.clean(cause) },
        WireAnswer::Lost(cause) => Verdict::Unknown { cause: asked.words.clean(cause), fault: false },
        WireAnswer::Response { status, headers, body } => {
            let reply = Reply::read(body);
            let text = reply.as_ref().map(|reply| asked.words.clean(reply.message())).unwrap_or_default();
            by_status(*status, headers, &text).unwrap_or_else(|| match reply {
                Some(reply) => asked.by_body(reply, headers),
                None => asked.unreadable(body.len()),
            })
        }
    }
}

/// What was sent. The message's code is meant to be seen; what a producer may have put in freely is
/// not.
fn words_of<'a>(call: Call, token: &'a str, payload: &'a Object) -> Words<'a> {
    Words::new(token, move |sent| {
        for (name, value) in payload {
            if rules::is_documented(call, name) && name != "value" {
                sent.add_names(value);
            } else {
                sent.add_data(value);
            }
        }
    })
}

/// What was asked, as far as an answer's meaning depends on it.
struct Asked<'a> {
    call: Call,
    token: &'a str,
    payload: &'a Object,
    words: Words<'a>,
    after_unknown: bool,
}

impl Asked<'_> {
    /// The meaning of a body under a successful HTTP status.
    fn by_body(&self, reply: Reply, headers: &[(String, String)]) -> Verdict {
        let said = |reply: &Reply| format!("status {}: {}", reply.code, self.words.clean(reply.message()));
        match reply.code {
            DONE => Verdict::Accepted(vec![self.acceptance(reply)]),
            ARGUMENT_ERROR => self.argument_error(reply, headers),
            // The rest is not documented under HTTP 200; the nearest HTTP meaning is taken.
            401 | 403 => Verdict::Misconfigured { cause: said(&reply) },
            429 => Verdict::Throttled { retry_after: retry_after(headers) },
            500..=599 => Verdict::Unknown { cause: said(&reply), fault: true },
            _ => Verdict::Unknown { cause: said(&reply), fault: false },
        }
    }

    /// A success whose body says nothing. One that was cut off would be cut off again.
    fn unreadable(&self, length: usize) -> Verdict {
        if self.call.reads() && length >= MOST_ANSWER_BYTES {
            return too_large("ask for fewer messages at once");
        }
        unreadable()
    }

    /// Never `Misconfigured`, although a wrong token is told by the same words as a message that
    /// the token may not see ("Access denied or application not found"). These calls name no
    /// application of the account, only something of the producer's choice: as with an application
    /// named in a payload, the delivery is the one to blame first. The other reading would let one
    /// mistaken look-up pause the account, and every push of it, until the probe. Taking a wrong
    /// token for a mistaken look-up costs less: the first message of the account's own application
    /// that meets it pauses the account, and a rejected look-up may be sent again.
    fn argument_error(&self, reply: Reply, headers: &[(String, String)]) -> Verdict {
        let said = reply.message().to_owned();
        // The member has a word of limits in its name.
        if self.words.speak_of_rate_limit(&said.to_lowercase().replace("limitmessages", "")) {
            return Verdict::Throttled { retry_after: retry_after(headers) };
        }
        let reason = self.words.clean(reply.message());
        let reason = if reason.is_empty() { "argument error without a reason".to_owned() } else { reason };
        match withdrawn(self.call).filter(|_| self.after_unknown) {
            Some(_) if self.says_it_is_gone(&said) => Verdict::AcceptedBefore(self.acceptance(reply)),
            // The refusal may be that attempt's own doing.
            Some(done) => Verdict::Refused {
                reason: format!("{reason} (an earlier attempt may have {done} it: getMessageDetails tells)"),
            },
            None => Verdict::Refused { reason },
        }
    }

    fn acceptance(&self, reply: Reply) -> Acceptance {
        if self.call.reads() {
            let response = Some(Json::of(&mask(reply.body, &[self.token])));
            return Acceptance { message_code: None, unknown_devices: Vec::new(), response };
        }
        let code = self.payload.get(rules::MESSAGE).and_then(Value::as_str);
        Acceptance {
            message_code: code.map(|code| clean(code, [self.token])),
            unknown_devices: Vec::new(),
            response: Some(Json::of(&Told {
                status_code: reply.code,
                status_message: &self.words.clean(reply.message()),
                response: None::<()>,
            })),
        }
    }

    /// Whether the provider's own words say so. The text as it came must say so as well: some words
    /// speak against it, and a producer's text may be one.
    fn says_it_is_gone(&self, text: &str) -> bool {
        says_it_is_gone(text) && says_it_is_gone(&self.words.judged(text))
    }
}

/// What a call that withdraws a message has done to it; `None` for those that read.
const fn withdrawn(call: Call) -> Option<&'static str> {
    match call {
        Call::DeleteMessage => Some("deleted"),
        Call::CancelMessage => Some("cancelled"),
        Call::GetMessageDetails | Call::GetPushHistory => None,
    }
}

/// Words by which a message has gone out, or may be on its way: "not in status waiting" is said of
/// one that was sent as well as of one that is gone.
const OUT: [&str; 16] = [
    "sent",
    "sending",
    "delivered",
    "delivering",
    "done",
    "completed",
    "finished",
    "processed",
    "pushed",
    "pending",
    "waiting",
    "processing",
    "scheduled",
    "status",
    "state",
    "pushing",
];

/// Words of something other than the message.
const OTHER: [&str; 7] = ["access", "application", "app", "token", "auth", "account", "method"];

/// Phrases by which there is no such message any more.
const ABSENT: [&str; 4] = ["not found", "not exist", "doesn't exist", "no such"];

/// Words by which a message was withdrawn.
const WITHDRAWN: [&str; 4] = ["deleted", "removed", "cancelled", "canceled"];

/// Words that turn those round.
const DENIALS: [&str; 12] = [
    "not",
    "cannot",
    "unable",
    "only",
    "must",
    "never",
    "failed",
    "impossible",
    "error",
    "invalid",
    "should",
    "no",
];

/// Whether a refusal to withdraw a message says that it is withdrawn or gone already.
///
/// The texts are not published, so this matches loosely, but it must not take "can't be deleted" or
/// "was sent" for success: the push would go out, or has, while the producer believes it stopped. A
/// text that is not understood is left to a person.
fn says_it_is_gone(text: &str) -> bool {
    let text = text.to_lowercase().replace('\u{2019}', "'");
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
    let words: Vec<&str> = words.filter(|word| *word != "been").collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    if has(&OUT) || has(&OTHER) {
        return false;
    }
    let denied = has(&DENIALS) || words.iter().any(|word| word.ends_with("n't"));
    let already = words.windows(2).any(|pair| pair[0] == "already" && WITHDRAWN.contains(&pair[1]));
    already || ABSENT.iter().any(|phrase| text.contains(phrase)) || (has(&WITHDRAWN) && !denied)
}

/// An answer's body.
struct Reply {
    code: u64,
    body: Value,
}

impl Reply {
    /// `None` when the body is not what the provider answers. Nothing is asked of `response`: its
    /// members come as maps, empty lists, empty texts or null, and go to the producer as they are.
    fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let code = body.get("status_code")?.as_u64()?;
        Some(Self { code, body })
    }

    fn message(&self) -> &str {
        self.body.get("status_message").and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
