//! The picture as text for one screen, and as JSON. Pure.

use std::time::Duration;

use crate::numbers::{aligned, grouped, short};
use crate::ports::Window;
use crate::status::{self, AccountPicture, Drain, Lane, LimitPicture, Picture, pause_note};

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
    if picture.accounts.iter().any(AccountPicture::is_unseen) && picture.store {
        notes.push("? no worker told of what waits there: are workers running?".to_owned());
    }
    if let Some(dead) = picture.dead.filter(|dead| *dead > 0) {
        notes.push(format!(
            "! {} dead letters wait for a person: paceline dead list tells whose and why",
            grouped(dead)
        ));
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

/// For programs: one line.
pub(super) fn json(picture: &Picture) -> String {
    format!("{}\n", status::json(picture))
}

#[cfg(test)]
mod tests;
