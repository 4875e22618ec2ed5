//! The words of the public interface as types: a [`Job`] as a producer publishes it, and the
//! [`Delivery`] that is sent, retried and settled.
//!
//! Identifiers can only be made by their checked constructors, so whatever holds one may put it
//! into a Redis key, a queue name or a log line without looking at it again.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest body of a job, in bytes: 1 MiB.
pub const MAX_JOB_BYTES: usize = 1024 * 1024;

/// The longest `transactionId`, in characters (all of them ASCII).
pub const MAX_ID_CHARS: usize = 128;

/// A JSON object whose members keep the order in which they were written.
pub type Object = Map<String, Value>;

/// The JSON text of what is made of texts, numbers and JSON values.
pub(crate) fn json_of(value: &impl Serialize) -> Vec<u8> {
    // Only maps with keys that are no texts, and writers that fail, have none; neither is here.
    serde_json::to_vec(value).expect("texts, numbers and JSON values always have a JSON text")
}

/// Why a text can't be an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty or too long; holds the number of characters found.
    #[error("has {0} characters, allowed are 1 to {MAX_ID_CHARS}")]
    Length(usize),
    /// The text has a character that is not allowed; holds its position from 0.
    #[error("has a character that is not allowed at position {0}, allowed are A-Z a-z 0-9 . _ : -")]
    Character(usize),
}

fn check_id(text: &str) -> Result<(), IdError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if let Some(position) = text.chars().position(|c| !allowed(c)) {
        return Err(IdError::Character(position));
    }
    if text.is_empty() || text.len() > MAX_ID_CHARS {
        return Err(IdError::Length(text.len()));
    }
    Ok(())
}

/// The identity of a job within its account: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TransactionId(Arc<str>);

impl TransactionId {
    /// Checks the text against the pattern of the contract.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_id(text).map(|()| Self(text.into()))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What deduplication, receipts and dead letters go by, within an account.
///
/// Either a [`TransactionId`], or `<job>#<index>` for a notification of a job with several that
/// brought no identity of its own. `#` is paceline's: a producer may use it only in exactly the
/// form that paceline itself would have given, which is what a dead letter that is published
/// again does.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct DeliveryId(Arc<str>);

impl DeliveryId {
    /// The identity of notification `index` (from 0) of a job with several.
    pub fn nth(job: &TransactionId, index: usize) -> Self {
        Self(format!("{}#{index}", job.0).into())
    }

    /// A notification's own `transactionId`, as its job may state it. `position` is its place in a
    /// job with several, where it may state no other one's identity; `None` for an only one, which
    /// may have been split from a larger job.
    pub fn own(job: &TransactionId, text: &str, position: Option<usize>) -> Result<Self, IdError> {
        let Some((head, index)) = text.split_once('#') else {
            return check_id(text).map(|()| Self(text.into()));
        };
        let given = index.parse::<usize>().ok().filter(|given| given.to_string() == index);
        let fits = given.is_some_and(|given| position.is_none_or(|position| position == given));
        let ours = head == job.as_str() && index.len() <= 4 && fits;
        if ours { Ok(Self(text.into())) } else { Err(IdError::Character(head.chars().count())) }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&TransactionId> for DeliveryId {
    fn from(id: &TransactionId) -> Self {
        Self(id.0.clone())
    }
}

/// The name of an account in the configuration: 1 to 64 of `A-Z a-z 0-9 _ -`.
///
/// It stands in queue names and routing keys, so a dot is not allowed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// Checks the text; `None` when it can't name an account.
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }

    /// The text itself, to be shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells one publishing of a delivery from another: the same through every hop, redelivery and
/// retry, different for a second publishing of the same id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Instance(Arc<str>);

impl Instance {
    /// The instance of delivery `index` of the message `message_id`.
    pub fn of(message_id: &str, index: usize) -> Self {
        Self(format!("{message_id}/{index}").into())
    }

    /// An instance read back from a header of paceline's own.
    pub fn from_header(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}
text_type!(TransactionId, DeliveryId, AccountName, Instance);

/// The lane in which a counted delivery waits for its permit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// Bulk: gets what the others leave, and never starves.
    Low,
}

impl Priority {
    /// Every lane, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The word of the contract, also the end of the lane's queue name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// What a producer publishes: one call of a provider operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Identity of the job within its account.
    pub transaction_id: TransactionId,
    /// The account that sends it.
    pub account: AccountName,
    /// The provider's operation; which ones exist is the provider's knowledge.
    pub operation: String,
    /// The provider's documented request, without credentials; shared by whoever holds the job or a
    /// copy of it.
    pub payload: Arc<Object>,
    /// The lane, when the delivery counts against the limit.
    pub priority: Priority,
    /// Not sent earlier.
    pub not_before: Option<Timestamp>,
    /// Not sent later.
    pub expires_at: Option<Timestamp>,
    /// Echoed in receipts, never sent.
    pub meta: Option<Object>,
}

/// One thing wrong with a job: where, what was found, what is allowed, and who says so.
///
/// Findings travel in dead letters, receipts and logs, so `found` never holds a device token, a
/// user id, a message text or a credential: types, counts and lengths instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// JSON pointer (RFC 6901) into the job; empty for the job itself.
    pub pointer: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
    /// The document that sets the rule.
    pub source: &'static str,
    /// Two lines that point at the place inside a longer text: the text, its values masked, and a
    /// caret below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

impl Finding {
    /// A finding at `pointer`.
    pub fn new(
        pointer: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
        source: &'static str,
    ) -> Self {
        Self { pointer: pointer.into(), found: found.into(), allowed: allowed.into(), source, excerpt: None }
    }

    /// The same, pointing into a text.
    #[must_use]
    pub fn with_excerpt(self, excerpt: impl Into<String>) -> Self {
        Self { excerpt: Some(excerpt.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the job" } else { &self.pointer };
        write!(f, "{place}: found {}, allowed: {} ({})", self.found, self.allowed, self.source)
    }
}

/// Names the JSON type of a value, for findings.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What kind of use a request makes of the provider's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Needs a permit from the named pool of its account; a pool without windows always has one.
    Counted(Pool),
    /// Uses up no limit: sent at once.
    Exempt,
}

/// A limit that some of an account's operations share; the name is the provider's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pool {
    name: &'static str,
    beside: bool,
}

impl Pool {
    /// The limit of an account's main work. Each provider has exactly one.
    pub const fn main(name: &'static str) -> Self {
        Self { name, beside: false }
    }

    /// A further limit, with waiting queues of its own.
    pub const fn beside(name: &'static str) -> Self {
        Self { name, beside: true }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The queues in which its deliveries wait.
    pub fn line(self) -> Line {
        if self.beside { Line(Some(self.name.into())) } else { Line::MAIN }
    }
}

/// Which waiting queues of an account. Work for one limit must not stand in the way of work for
/// another: where an account has several limits, each has queues of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line(Option<Arc<str>>);

impl Line {
    /// The queues of the account's main limit.
    pub const MAIN: Self = Self(None);

    /// The end of the names of its queues: a dot and the limit's name; nothing for the main limit.
    pub fn suffix(&self) -> String {
        self.name().map(|name| format!(".{name}")).unwrap_or_default()
    }

    /// The limit's name; `None` for the main one.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The line whose [`Line::suffix`] this is.
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        match suffix.strip_prefix('.') {
            Some(name) if !name.is_empty() && !name.contains('.') => Some(Self(Some(name.into()))),
            None if suffix.is_empty() => Some(Self::MAIN),
            Some(_) | None => None,
        }
    }
}

/// The unit that is sent, retried and settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Identity within the account.
    pub id: DeliveryId,
    /// The job with this one delivery in it: what lanes, delay queues and dead letters carry.
    pub job: Arc<Job>,
    /// Whether it uses up the provider's limit.
    pub class: Class,
    /// Deliveries of one account with the same key may share a request; `None` goes alone.
    pub batch: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_ids_follow_the_contract() {
        let longest = "a".repeat(MAX_ID_CHARS);
        let too_long = "a".repeat(MAX_ID_CHARS + 1);
        let cases: [(&str, Result<(), IdError>); 7] = [
            ("a", Ok(())),
            ("A-Z.a_z:09", Ok(())),
            (&longest, Ok(())),
            ("", Err(IdError::Length(0))),
            (&too_long, Err(IdError::Length(129))),
            ("a b", Err(IdError::Character(1))),
            ("ab#0", Err(IdError::Character(2))),
        ];
        for (text, expected) in cases {
            assert_eq!(TransactionId::new(text).map(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_hash_sign_is_accepted_only_in_the_form_that_paceline_gives() {
        let job = TransactionId::new("order-7").unwrap();
        let cases = [
            ("otp-1", true),
            ("order-7#0", true),
            ("order-7#999", true),
            ("order-7#", false),
            ("order-7#x", false),
            ("order-8#0", false),
            ("order-7#0#1", false),
            ("order-7#+1", false),
            ("order-7#01", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(DeliveryId::own(&job, text, None).is_ok(), expected, "{text:?}");
        }
        assert_eq!(DeliveryId::nth(&job, 3).as_str(), "order-7#3");
        for (text, expected) in [("order-7#3", true), ("order-7#2", false), ("otp-1", true)] {
            assert_eq!(DeliveryId::own(&job, text, Some(3)).is_ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn account_names_fit_queue_names_and_routing_keys() {
        for (text, expected) in
            [("shop", true), ("Shop_2-b", true), ("a.b", false), ("", false), ("a*", false)]
        {
            assert_eq!(AccountName::new(text).is_some(), expected, "{text:?}");
        }
    }
}
