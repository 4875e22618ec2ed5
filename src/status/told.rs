//! Pauses in words, and the picture as JSON. Pure.

use serde_json::{Value, json as object};

use super::picture::{AccountPicture, Drain, Lane, LimitPicture, Picture};
use crate::numbers::short;
use crate::ports::{Pause, PauseCause};

/// A pause in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// How long it lasts.
    pub until: String,
    /// What lies behind it, and what to do.
    pub why: &'static str,
}

/// Until when an account is paused, why, and what to do.
pub fn advice(account: &str, pause: Pause) -> Advice {
    let until = match pause.cause {
        PauseCause::Operator => format!("until a person resumes it (paceline resume {account})"),
        PauseCause::Throttled => format!("for {} more", short(pause.wait)),
        PauseCause::Credentials | PauseCause::Circuit | PauseCause::Receipts if pause.wait.is_zero() => {
            "and one request at a time tries whether it works again".to_owned()
        }
        PauseCause::Credentials | PauseCause::Circuit | PauseCause::Receipts => {
            format!("for {}, then tried again", short(pause.wait))
        }
    };
    let why = match pause.cause {
        PauseCause::Operator => "nothing is lost, nothing of it is sent",
        PauseCause::Throttled => {
            "the provider asked for it. Does somebody else use this credential, or is the limit set too high?"
        }
        PauseCause::Credentials => {
            "the provider refuses the credential or the address. Mend them, and send the workers SIGHUP or restart them; nothing is lost"
        }
        PauseCause::Circuit => {
            "the provider answers with faults or not at all. Nothing is lost and it goes on by itself; see the provider's status page, and the way there"
        }
        PauseCause::Receipts => {
            "a queue bound to the receipts exchange is full. Consume it or unbind it; nothing is lost"
        }
    };
    Advice { until, why }
}

/// The same in one line.
pub fn pause_note(account: &str, limit: Option<&str>, pause: Pause) -> String {
    let whose = limit.map_or(account.to_owned(), |name| format!("{account} {name}"));
    let Advice { until, why } = advice(account, pause);
    format!("! {whose} is paused ({}) {until}: {why}", pause.cause.as_str())
}

/// The picture, for programs.
pub fn json(picture: &Picture) -> Value {
    let accounts: Vec<Value> = picture.accounts.iter().map(account_json).collect();
    object!({
        "at": picture.at.to_string(),
        "broker": picture.broker,
        "store": picture.store,
        "deadLetters": picture.dead,
        "delayed": picture.delayed,
        "accounts": accounts,
        "problems": picture.problems,
    })
}

fn account_json(account: &AccountPicture) -> Value {
    let limits: Vec<Value> = account.limits.iter().map(limit_json).collect();
    object!({"account": account.name, "provider": account.provider, "jobs": lane_json(&account.jobs), "limits": limits})
}

fn limit_json(limit: &LimitPicture) -> Value {
    let windows: Vec<Value> = limit
        .windows
        .iter()
        .map(|window| object!({"requests": window.requests, "seconds": window.length.as_secs_f64()}))
        .collect();
    let lanes: serde_json::Map<String, Value> =
        limit.lanes.iter().map(|lane| (lane_name(lane).to_owned(), lane_json(lane))).collect();
    object!({
        "limit": limit.name.as_deref().unwrap_or("main"),
        "windows": windows,
        "usedLast60s": limit.usage.map(|usage| usage.last_minute),
        "nextSlotSeconds": limit.usage.filter(|_| !limit.windows.is_empty()).map(|usage| usage.next_slot.as_secs_f64()),
        "lanes": lanes,
        "paused": limit.pause.map(pause_json),
        "drainSeconds": match limit.drain {
            Drain::Empty => Some(0.0),
            Drain::In(time) => Some(time.as_secs_f64()),
            Drain::Stopped | Drain::Unknown => None,
        },
    })
}

/// A pause, for programs. A person's has no end of its own.
pub fn pause_json(pause: Pause) -> Value {
    let seconds = (pause.cause != PauseCause::Operator).then_some(pause.wait.as_secs_f64());
    object!({"cause": pause.cause.as_str(), "seconds": seconds})
}

/// `high` for `high.campaigns`: the limit is named beside it.
fn lane_name(lane: &Lane) -> &str {
    lane.label.split('.').next().unwrap_or(&lane.label)
}

fn lane_json(lane: &Lane) -> Value {
    object!({"waiting": lane.waiting, "oldestAgeSeconds": lane.age.map(|age| age.as_secs_f64())})
}
