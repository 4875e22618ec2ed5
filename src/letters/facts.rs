//! What a dead letter says of itself.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::job::{DeliveryId, TransactionId};
use crate::ports::Letter;
use crate::providers;

/// The operation of a letter whose body names none that there is.
pub const UNKNOWN_OPERATION: &str = "unknown";

/// The length of a dead id that a worker wrote.
const ID_CHARS: usize = 32;

/// What a letter says of itself beside its job. Texts hold no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The dead id; made from the letter where no worker wrote it.
    pub dead_id: String,
    /// The account in whose queue it was.
    pub account: String,
    /// The operation, or [`UNKNOWN_OPERATION`].
    pub operation: String,
    /// The delivery's id, where the body tells it.
    pub transaction_id: Option<String>,
    /// The reason's word; empty where the broker buried it.
    pub reason: String,
    /// What a person needs to know.
    pub detail: String,
    /// Requests made for it, where that is known.
    pub attempts: Option<u32>,
    /// When it died.
    pub dead_at: Option<Timestamp>,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Bytes of its body.
    pub bytes: usize,
}

impl Facts {
    /// Reads a letter. Whatever can't be read is left open: it may be of anybody.
    pub fn of(letter: &Letter) -> Self {
        let header = |name: &str| letter.properties.header(name);
        let text = |name: &str| header(name).map(plain).unwrap_or_default();
        let head = Head::read(&letter.body);
        Self {
            dead_id: dead_id(letter),
            account: text("paceline-account"),
            operation: known_operation(head.operation.as_deref()).to_owned(),
            transaction_id: head.id(),
            reason: text("paceline-reason"),
            detail: text("paceline-detail"),
            attempts: header("paceline-attempts").and_then(|text| text.parse().ok()),
            dead_at: died_at(letter),
            published_at: letter.properties.timestamp,
            bytes: letter.body.len(),
        }
    }
}

/// When it died, as the worker said that buried it.
pub(super) fn died_at(letter: &Letter) -> Option<Timestamp> {
    letter.properties.header("paceline-dead-at").and_then(|text| text.parse().ok())
}

/// The id that a worker gave it, else one that the same letter always gets.
fn dead_id(letter: &Letter) -> String {
    let given = letter.properties.header("paceline-dead-id").filter(|id| is_dead_id(id));
    given.map(str::to_owned).unwrap_or_else(|| {
        let mut hash = Sha256::new();
        hash.update(letter.properties.message_id.as_deref().unwrap_or_default());
        hash.update([0]);
        hash.update(&letter.body);
        hex::encode(&hash.finalize()[..ID_CHARS / 2])
    })
}

fn is_dead_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn known_operation(named: Option<&str>) -> &'static str {
    let all = providers::ALL.iter().flat_map(|provider| provider.operations());
    all.copied().find(|known| Some(*known) == named).unwrap_or(UNKNOWN_OPERATION)
}

/// A text without control characters, which would play with a terminal.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible(character) {
            // Writing into a text can't fail.
            let _ = write!(plain, "{}", character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Marks that change the direction of what stands around them.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The few members of a job that name it, read without the rest of it.
#[derive(Default)]
struct Head<'a> {
    operation: Option<Cow<'a, str>>,
    job: Option<Cow<'a, str>>,
    /// Of a single notification.
    own: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Members<'a> {
    #[serde(borrow)]
    operation: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction_id: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    notifications: Option<&'a RawValue>,
}

impl<'a> Head<'a> {
    fn read(body: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else { return Self::default() };
        let members = members(text);
        let payload = members.payload.map(|payload| self::members(payload.get())).unwrap_or_default();
        let notifications =
            payload.notifications.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let only = notifications.filter(|list| list.len() == 1).and_then(|list| list.first().copied());
        let own = only.or(members.payload).and_then(|object| self::members(object.get()).transaction_id);
        Self {
            operation: members.operation.and_then(text_of),
            job: members.transaction_id.and_then(text_of),
            own: own.and_then(text_of),
        }
    }

    fn id(&self) -> Option<String> {
        let job = TransactionId::new(self.job.as_deref()?).ok()?;
        let own = self.own.as_deref().and_then(|own| DeliveryId::own(&job, own, None).ok());
        Some(own.map_or_else(|| job.as_str().to_owned(), |own| own.as_str().to_owned()))
    }
}

/// Of a text that is no object, or has a member twice, none.
fn members(text: &str) -> Members<'_> {
    serde_json::from_str(text).unwrap_or_default()
}

fn text_of<'a>(raw: &'a RawValue) -> Option<Cow<'a, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'a>>(raw.get()).ok().map(|text| text.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::filter::testing::letter;

    #[test]
    fn a_letter_of_a_worker_tells_all() {
        let body = r#"{"transactionId":"t","account":"shop","operation":"createMessage","payload":{"notifications":[{"transactionId":"t#3"}]}}"#;
        let facts =
            Facts::of(&letter(body, &[("paceline-attempts", "4"), ("paceline-detail", "no\u{1b}[2J")]));
        assert_eq!(facts.dead_id, "0123456789abcdef0123456789abcdef");
        assert_eq!((facts.account.as_str(), facts.operation.as_str()), ("shop", "createMessage"));
        assert_eq!((facts.transaction_id.as_deref(), facts.attempts), (Some("t#3"), Some(4)));
        assert_eq!((facts.reason.as_str(), facts.detail.as_str()), ("rejected", "no\\u{1b}[2J"));
        assert_eq!(facts.dead_at.unwrap().to_string(), "2026-11-28T06:00:00Z");
    }

    #[test]
    fn names_are_read_from_whatever_can_be_read() {
        let named = |operation: &'static str, id: Option<&str>| (operation, id.map(str::to_owned));
        let cases = [
            (r#"{"transactionId":"t","operation":"sendPush","payload":{}}"#, named("sendPush", Some("t"))),
            (r#"{"transactionId":7,"operation":"sendPush"}"#, named("sendPush", None)),
            (r#"{"transactionId":"t","operation":["x"],"payload":7}"#, named("unknown", Some("t"))),
            (r#"{"transactionId":"t","operation":"rm -rf","payload":null}"#, named("unknown", Some("t"))),
            (
                r#"{"transactionId":"t","operation":"createTargetedMessage","payload":{"transactionId":"own"}}"#,
                named("createTargetedMessage", Some("own")),
            ),
            (
                r#"{"transactionId":"t","payload":{"notifications":[{"transactionId":"a"},{"transactionId":"b"}]}}"#,
                named("unknown", Some("t")),
            ),
            (r#"{"transactionId":"t u"}"#, named("unknown", None)),
            ("{broken", named("unknown", None)),
            ("", named("unknown", None)),
        ];
        for (body, (operation, id)) in cases {
            let facts = Facts::of(&letter(body, &[]));
            assert_eq!((facts.operation.as_str(), facts.transaction_id), (operation, id), "{body}");
        }
    }

    #[test]
    fn a_letter_without_an_id_gets_the_same_one_each_time() {
        let of = |body: &str, id: &str| Facts::of(&letter(body, &[("paceline-dead-id", id)])).dead_id;
        let made = of("x", "../../etc");
        assert_eq!(made, of("x", ""));
        assert_ne!(made, of("y", ""));
        assert!(is_dead_id(&made), "{made}");
    }
}
