//! The picture as text for one screen, and as JSON. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ports::{Pause, PauseCause, Window};

use super::picture::{AccountPicture, Drain, Lane, LimitPicture, Picture};
use crate::cli::numbers::{aligned, grouped, short};

const HEADINGS: [&str; 10] =
    ["ACCOUNT", "LIMIT", "USED 60s", "NEXT", "JOBS", "RETRY", "HIGH", "NORMAL", "LOW", "DRAINED IN"];

/// For a person.
pub(super) fn text(picture: &Picture) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    let mut notes = Vec::new();
    for account in &picture.accounts {
        let limits = account.limits.iter().filter(|limit| limit.matters());
        rows.extend(limits.clone().map(|limit| row(account, limit)));
        let note =
            |limit: &LimitPicture| Some(pause_note(&account.name, limit.name.as_deref(), limit.pause?));
        notes.extend(limits.filter_map(note));
    }
    let unknown = picture.accounts.iter().any(|account| lanes(account).any(is_unseen));
    if unknown && picture.store {
        notes.push("? no worker told of what waits there: are workers running?".to_owned());
    }
    notes.extend(picture.problems.iter().map(|problem| format!("! {problem}")));
    let mut text = head(picture);
    text.push_str("\n\n");
    text.push_str(&aligned(&rows));
    for note in notes {
        text.push_str(&note);
        text.push('\n');
    }
    text
}

fn head(picture: &Picture) -> String {
    let up = |up| if up { "up" } else { "DOWN" };
    let count = |count: Option<u64>| count.map_or("?".to_owned(), grouped);
    format!(
        "{}   broker {}   store {}   dead letters {}   delayed {}",
        picture.at.strftime("%F %TZ"),
        up(picture.broker),
        up(picture.store),
        count(picture.dead),
        count(picture.delayed)
    )
}

fn row(account: &AccountPicture, limit: &LimitPicture) -> [String; 10] {
    let main = limit.name.is_none();
    let [retry, high, normal, low] =
        [0, 1, 2, 3].map(|lane| limit.lanes.get(lane).map_or(String::new(), cell));
    [
        if main { account.name.clone() } else { String::new() },
        limit_cell(limit),
        used_cell(limit),
        next_cell(limit),
        if main { cell(&account.jobs) } else { String::new() },
        retry,
        high,
        normal,
        low,
        match limit.drain {
            Drain::Empty => "-".to_owned(),
            Drain::In(time) => short(time),
            Drain::Stopped => "paused".to_owned(),
            Drain::Unknown => "?".to_owned(),
        },
    ]
}

fn limit_cell(limit: &LimitPicture) -> String {
    let name = limit.name.as_ref().map(|name| format!("{name} "));
    let windows: Vec<String> = limit.windows.iter().map(window).collect();
    let windows = if windows.is_empty() { "unlimited".to_owned() } else { windows.join(" ") };
    format!("{}{windows}", name.unwrap_or_default())
}

fn window(window: &Window) -> String {
    let length = match window.length.as_secs() {
        1 => "s".to_owned(),
        60 => "min".to_owned(),
        3_600 => "h".to_owned(),
        seconds => format!("{seconds}s"),
    };
    format!("{}/{length}", window.requests)
}

/// The limit of a minute, which is what is counted.
fn of_a_minute(limit: &LimitPicture) -> Option<u32> {
    limit.windows.iter().find(|window| window.length == Duration::from_secs(60)).map(|window| window.requests)
}

fn used_cell(limit: &LimitPicture) -> String {
    match (limit.usage, of_a_minute(limit)) {
        (Some(usage), Some(most)) => {
            let percent = u64::from(usage.last_minute) * 100 / u64::from(most.max(1));
            format!("{} ({percent}%)", usage.last_minute)
        }
        (Some(usage), None) => usage.last_minute.to_string(),
        (None, _) => "?".to_owned(),
    }
}

fn next_cell(limit: &LimitPicture) -> String {
    match limit.usage {
        Some(_) if limit.windows.is_empty() => "-".to_owned(),
        Some(usage) if usage.next_slot.is_zero() => "now".to_owned(),
        Some(usage) => short(usage.next_slot),
        None => "?".to_owned(),
    }
}

fn cell(lane: &Lane) -> String {
    match (lane.waiting, lane.age) {
        (None, _) => "?".to_owned(),
        (Some(0), _) => "-".to_owned(),
        (Some(waiting), Some(age)) => format!("{} {}", grouped(waiting), short(age)),
        (Some(waiting), None) => format!("{} ?", grouped(waiting)),
    }
}

fn lanes(account: &AccountPicture) -> impl Iterator<Item = &Lane> {
    std::iter::once(&account.jobs).chain(account.limits.iter().flat_map(|limit| &limit.lanes))
}

fn is_unseen(lane: &Lane) -> bool {
    lane.waiting.is_some_and(|waiting| waiting > 0) && lane.age.is_none()
}

/// What is paused, until when, why, and what to do.
pub(in crate::cli) fn pause_note(account: &str, limit: Option<&str>, pause: Pause) -> String {
    let whose = limit.map_or(account.to_owned(), |name| format!("{account} {name}"));
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
        PauseCause::Circuit => "the provider answers with faults or not at all",
        PauseCause::Receipts => {
            "a queue bound to the receipts exchange is full. Consume it or unbind it; nothing is lost"
        }
    };
    format!("! {whose} is paused ({}) {until}: {why}", pause.cause.as_str())
}

/// For programs: one line.
pub(super) fn json(picture: &Picture) -> String {
    let accounts: Vec<Value> = picture.accounts.iter().map(account_json).collect();
    let value = json!({
        "at": picture.at.to_string(),
        "broker": picture.broker,
        "store": picture.store,
        "deadLetters": picture.dead,
        "delayed": picture.delayed,
        "accounts": accounts,
        "problems": picture.problems,
    });
    format!("{value}\n")
}

fn account_json(account: &AccountPicture) -> Value {
    let limits: Vec<Value> = account.limits.iter().map(limit_json).collect();
    json!({"account": account.name, "provider": account.provider, "jobs": lane_json(&account.jobs), "limits": limits})
}

fn limit_json(limit: &LimitPicture) -> Value {
    let windows: Vec<Value> = limit
        .windows
        .iter()
        .map(|window| json!({"requests": window.requests, "seconds": window.length.as_secs_f64()}))
        .collect();
    let lanes: serde_json::Map<String, Value> =
        limit.lanes.iter().map(|lane| (lane_name(lane).to_owned(), lane_json(lane))).collect();
    json!({
        "limit": limit.name.as_deref().unwrap_or("main"),
        "windows": windows,
        "usedLast60s": limit.usage.map(|usage| usage.last_minute),
        "nextSlotSeconds": limit.usage.filter(|_| !limit.windows.is_empty()).map(|usage| usage.next_slot.as_secs_f64()),
        "lanes": lanes,
        "paused": limit.pause.map(|pause| json!({
            "cause": pause.cause.as_str(),
            "seconds": seconds_of(pause),
        })),
        "drainSeconds": match limit.drain {
            Drain::Empty => Some(0.0),
            Drain::In(time) => Some(time.as_secs_f64()),
            Drain::Stopped | Drain::Unknown => None,
        },
    })
}

/// How long a pause lasts; a person's has no end of its own.
pub(in crate::cli) fn seconds_of(pause: Pause) -> Option<f64> {
    (pause.cause != PauseCause::Operator).then_some(pause.wait.as_secs_f64())
}

/// `high` for `high.campaigns`: the limit is named beside it.
fn lane_name(lane: &Lane) -> &str {
    lane.label.split('.').next().unwrap_or(&lane.label)
}

fn lane_json(lane: &Lane) -> Value {
    json!({"waiting": lane.waiting, "oldestAgeSeconds": lane.age.map(|age| age.as_secs_f64())})
}

#[cfg(test)]
mod tests;
