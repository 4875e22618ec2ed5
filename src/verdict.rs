//! What an answer of a provider means, and what follows from it.
//!
//! A provider turns its answer into a [`Verdict`] about the *request*; [`Verdict::apportion`] says
//! what it means for each *delivery* in it. From there on no code knows a provider's codes.
//! No `match` here has a wildcard arm: a new case must be thought about everywhere.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// What the provider gave back for a delivery that it took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The provider's code for the message, where it gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_code: Option<String>,
    /// Devices that the provider did not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_devices: Vec<String>,
    /// What the provider answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Json>,
}

/// JSON as it is written: kept in a claim and copied into receipts, and never looked into again.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

/// By way of a tree, which can be read from wherever it stands: the raw text of what is flattened into
/// something else (a record of the embedded store) is not kept.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self::of(&value))
    }
}

impl Json {
    /// The text of what is made of texts, numbers and JSON values.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        // As in `json_of`: only what is none of these has no JSON text.
        Self(to_raw_value(value).expect("texts, numbers and JSON values always have a JSON text"))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// The meaning of one answer, for the whole request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Every delivery was taken; one acceptance for each, in order.
    Accepted(Vec<Acceptance>),
    /// The provider knew the (single) delivery already, from an earlier attempt of ours.
    AcceptedBefore(Acceptance),
    /// Will never be accepted.
    Refused {
        /// The provider's words, shortened.
        reason: String,
    },
    /// The first ones were taken, then the provider stopped.
    Partial {
        /// What it gave back for those it took, in order.
        accepted: Vec<Acceptance>,
        /// Why it stopped.
        rest: Rest,
    },
    /// The provider's limit; the wait it asked for, if it did.
    Throttled {
        /// How long to wait, if the provider says.
        retry_after: Option<Duration>,
    },
    /// The request can't have been processed.
    NotSent {
        /// What went wrong.
        cause: String,
    },
    /// Documented as not processed; the provider is in trouble.
    Failed {
        /// What went wrong.
        cause: String,
        /// How long to wait, if the provider says.
        retry_after: Option<Duration>,
    },
    /// It may have been processed. `fault` when the provider itself is in trouble (5xx).
    Unknown {
        /// What went wrong.
        cause: String,
        /// Whether the provider itself is in trouble.
        fault: bool,
    },
    /// The credential or the account is wrong, not the delivery.
    Misconfigured {
        /// What to mend, in the provider's words, shortened.
        cause: String,
    },
}

/// What stopped a partly accepted request.
#[derive(Debug, Clone, PartialEq)]
pub enum Rest {
    /// The first delivery that was not accepted is at fault; those behind it were not looked at.
    Faulty(String),
    /// One of the deliveries may be at fault and the answer does not say which.
    Unblamed(String),
    /// The provider's limit.
    Throttled(Option<Duration>),
}

/// The meaning of one answer, for one delivery of the request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Taken now.
    Accepted(Acceptance),
    /// Taken by an earlier attempt.
    AcceptedBefore(Acceptance),
    /// Will never be accepted.
    Refused {
        /// The provider's words, shortened.
        reason: String,
    },
    /// The provider stopped before it; it goes back without using up a retry.
    NotReached,
    /// It shared a request that was refused without naming the culprit; goes alone next time.
    Unblamed,
    /// The provider's limit.
    Throttled {
        /// How long to wait, if the provider says.
        retry_after: Option<Duration>,
    },
    /// Can't have been processed.
    NotSent {
        /// What went wrong.
        cause: String,
    },
    /// Documented as not processed.
    Failed {
        /// What went wrong.
        cause: String,
        /// How long to wait, if the provider says.
        retry_after: Option<Duration>,
    },
    /// May have been processed.
    Unknown {
        /// What went wrong.
        cause: String,
    },
    /// The account is at fault.
    Misconfigured {
        /// What to mend, in the provider's words, shortened.
        cause: String,
    },
}

/// What an answer says of the provider's health, for the circuit that all workers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The provider works.
    Healthy,
    /// The provider is in trouble.
    Faulty,
    /// The answer says nothing about it.
    Neutral,
}

impl Verdict {
    /// A stable word for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::AcceptedBefore(_) => "accepted_before",
            Self::Refused { .. } => "refused",
            Self::Partial { .. } => "partial",
            Self::Throttled { .. } => "throttled",
            Self::NotSent { .. } => "not_sent",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
            Self::Misconfigured { .. } => "misconfigured",
        }
    }

    /// What the answer says of the provider's health.
    ///
    /// A refusal is a working provider's answer. A request that never reached it (`NotSent`) is
    /// as much trouble as a 5xx: without the circuit every delivery would burn its retries on a
    /// provider that is down.
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Accepted(_) | Self::AcceptedBefore(_) | Self::Refused { .. } | Self::Partial { .. } => {
                Signal::Healthy
            }
            Self::NotSent { .. } | Self::Failed { .. } | Self::Unknown { fault: true, .. } => Signal::Faulty,
            Self::Throttled { .. } | Self::Unknown { fault: false, .. } | Self::Misconfigured { .. } => {
                Signal::Neutral
            }
        }
    }

    /// What the limit asks of all workers: `Some(wait)` when the request was throttled.
    pub const fn throttled(&self) -> Option<Option<Duration>> {
        match self {
            Self::Throttled { retry_after } => Some(*retry_after),
            Self::Partial { rest: Rest::Throttled(retry_after), .. } => Some(*retry_after),
            Self::Accepted(_)
            | Self::AcceptedBefore(_)
            | Self::Refused { .. }
            | Self::Partial { rest: Rest::Faulty(_) | Rest::Unblamed(_), .. }
            | Self::NotSent { .. }
            | Self::Failed { .. }
            | Self::Unknown { .. }
            | Self::Misconfigured { .. } => None,
        }
    }

    /// Splits the verdict over the `n` deliveries of the request, in their order.
    ///
    /// A refusal of a shared request blames nobody: each goes alone next time.
    pub fn apportion(self, n: usize) -> Vec<Fate> {
        match self {
            Self::Accepted(list) => {
                let mut given = list.into_iter();
                (0..n).map(|_| Fate::Accepted(given.next().unwrap_or_default())).collect()
            }
            Self::AcceptedBefore(acceptance) => vec![Fate::AcceptedBefore(acceptance); n],
            Self::Refused { reason } if n == 1 => vec![Fate::Refused { reason }],
            Self::Refused { reason: _ } => vec![Fate::Unblamed; n],
            Self::Partial { accepted, rest } => apportion_partial(accepted, &rest, n),
            Self::Throttled { retry_after } => vec![Fate::Throttled { retry_after }; n],
            Self::NotSent { cause } => vec![Fate::NotSent { cause }; n],
            Self::Failed { cause, retry_after } => vec![Fate::Failed { cause, retry_after }; n],
            Self::Unknown { cause, fault: _ } => vec![Fate::Unknown { cause }; n],
            Self::Misconfigured { cause } => vec![Fate::Misconfigured { cause }; n],
        }
    }
}

fn apportion_partial(accepted: Vec<Acceptance>, rest: &Rest, n: usize) -> Vec<Fate> {
    let mut fates: Vec<Fate> = accepted.into_iter().take(n).map(Fate::Accepted).collect();
    let stopped_at = fates.len();
    for index in stopped_at..n {
        fates.push(match rest {
            Rest::Faulty(reason) if index == stopped_at => Fate::Refused { reason: reason.clone() },
            Rest::Faulty(_) => Fate::NotReached,
            Rest::Unblamed(_) => Fate::Unblamed,
            Rest::Throttled(retry_after) => Fate::Throttled { retry_after: *retry_after },
        });
    }
    fates
}

/// Why a delivery will not be sent without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadReason {
    /// It breaks the job format or the provider's documented rules; no request was made.
    Invalid,
    /// The provider refused it for good.
    Rejected,
    /// Retries ran out.
    Exhausted,
    /// A request may have been accepted and sending it again could push twice.
    Uncertain,
    /// The message brought a worker down again and again.
    Poison,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Invalid, Self::Rejected, Self::Exhausted, Self::Uncertain, Self::Poison];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Uncertain => "uncertain",
            Self::Poison => "poison",
        }
    }
}

/// The four states in which a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The provider took it.
    Delivered,
    /// Another message delivered the same id.
    Duplicate,
    /// Its time had passed.
    Expired,
    /// It waits for a person among the dead letters.
    Dead,
}

impl Status {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

/// How a delivery ended: what its claim keeps, so that its effects can be done again after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// One of the four ends.
    #[serde(rename = "s")]
    pub status: Status,
    /// Why, when it is dead.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// What a person needs to know; never a device token, a message text or a credential.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Requests made for it.
    #[serde(rename = "n")]
    pub attempts: u32,
    /// What the provider gave back.
    #[serde(rename = "a", default)]
    pub acceptance: Acceptance,
    /// When it ended, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub settled_at_ms: i64,
}

impl Outcome {
    /// Whether this end keeps another message of the same id from being sent.
    ///
    /// After the other ends the id may be sent again, so that a producer can mend a job and
    /// publish it anew.
    pub const fn blocks(&self) -> bool {
        match (self.status, self.reason) {
            (Status::Delivered, _) | (Status::Dead, Some(DeadReason::Uncertain)) => true,
            (Status::Duplicate | Status::Expired, _)
            | (
                Status::Dead,
                None
                | Some(DeadReason::Invalid | DeadReason::Rejected | DeadReason::Exhausted | DeadReason::Poison),
            ) => false,
        }
    }
}
