//! What was found and done, as text and as JSON. Pure.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::letters::{self, Dropped, Facts, Group, Listing, Replayed, Shown};
use crate::numbers::{aligned, grouped, short};

/// The longest detail of a row, in characters.
const DETAIL: usize = 60;

/// For a person.
pub(super) fn list_text(listing: &Listing, now: Timestamp) -> String {
    let Listing { total, matched, groups, letters, next, stopped } = listing;
    let mut text = format!("{} dead letters, {} match\n", grouped(*total), grouped(*matched));
    if *stopped {
        text.push_str("stopped before all were looked at\n");
    }
    if groups.is_empty() {
        return text;
    }
    text.push('\n');
    text.push_str(&groups_text(groups, now));
    if letters.is_empty() {
        return text;
    }
    let head = ["ID", "DIED", "ACCOUNT", "OPERATION", "REASON", "DELIVERY", "DETAIL"].map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(head).chain(letters.iter().map(|facts| row(facts, now))).collect();
    text.push('\n');
    text.push_str(&aligned(&rows));
    if let Some(next) = next {
        text.push_str(&format!("\nmore: --after {next}\n"));
    }
    text
}

fn row(facts: &Facts, now: Timestamp) -> [String; 7] {
    [
        facts.dead_id.clone(),
        age(facts.dead_at, now),
        or_none(&facts.account),
        facts.operation.clone(),
        or_none(&facts.reason),
        facts.transaction_id.clone().unwrap_or_else(|| "-".to_owned()),
        shortened(&facts.detail),
    ]
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= DETAIL {
        return text.to_owned();
    }
    text.chars().take(DETAIL - 1).chain(['…']).collect()
}

/// `5m ago`; `?` where that is not known.
fn age(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or("?".to_owned(), |at| {
        format!("{} ago", short(Duration::try_from(now.duration_since(at)).unwrap_or_default()))
    })
}

/// Counts by group.
pub(super) fn groups_text(groups: &[Group], now: Timestamp) -> String {
    let head = ["COUNT", "ACCOUNT", "OPERATION", "REASON", "OLDEST", "NEWEST"].map(str::to_owned);
    let row = |group: &Group| {
        [
            grouped(group.count),
            or_none(&group.account),
            or_none(&group.operation),
            or_none(&group.reason),
            age(group.oldest, now),
            age(group.newest, now),
        ]
    };
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(groups.iter().map(row)).collect();
    aligned(&rows)
}

/// For programs: one line.
pub(super) fn list_json(listing: &Listing) -> String {
    format!("{}\n", letters::list_json(listing))
}

/// For a person.
pub(super) fn show_text(shown: &Shown) -> anyhow::Result<String> {
    let Shown { facts, first_attempt_at, history, reply_to, traceparent, job } = shown;
    let time = |at: Option<Timestamp>| at.map_or("not known".to_owned(), |at| at.to_string());
    let attempts = facts.attempts.map_or("not known".to_owned(), |count| count.to_string());
    let mut rows = vec![
        ["dead letter".to_owned(), facts.dead_id.clone()],
        ["account".to_owned(), or_none(&facts.account)],
        ["operation".to_owned(), facts.operation.clone()],
        ["delivery".to_owned(), facts.transaction_id.clone().unwrap_or_else(|| "not known".to_owned())],
        ["reason".to_owned(), or_none(&facts.reason)],
        ["detail".to_owned(), or_none(&facts.detail)],
        ["published".to_owned(), time(facts.published_at)],
        ["attempts".to_owned(), attempts],
        ["first attempt".to_owned(), time(*first_attempt_at)],
        ["died".to_owned(), time(facts.dead_at)],
    ];
    rows.extend(history.iter().map(|tried| ["tried".to_owned(), format!("{} {}", tried.at, tried.result)]));
    let optional = [("reply to", reply_to), ("trace", traceparent)];
    rows.extend(optional.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value.clone()?])));
    let mut text = aligned(&rows);
    match job {
        Some(job) => write!(text, "\n{}\n", serde_json::to_string_pretty(job)?)?,
        None => writeln!(
            text,
            "\nthe body ({} bytes) is no JSON object; `dead drop` writes it to a file",
            facts.bytes
        )?,
    }
    Ok(text)
}

/// For programs: one line.
pub(super) fn show_json(shown: &Shown) -> anyhow::Result<String> {
    Ok(serde_json::to_string(shown)? + "\n")
}

/// For a person.
pub(super) fn replay_text(replayed: &Replayed, dry_run: bool) -> String {
    let Replayed { total, replayed: done, left, failed, groups, missing, stopped } = replayed;
    let mut text = String::new();
    if dry_run && !groups.is_empty() {
        let rows = groups.iter().map(|group| {
            [grouped(group.count), group.account.clone(), group.operation.clone(), or_none(&group.reason)]
        });
        let head = ["COUNT", "ACCOUNT", "OPERATION", "REASON"].map(str::to_owned);
        text.push_str(&aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        text.push('\n');
    }
    let word = if dry_run { "would be replayed" } else { "replayed" };
    let [total, done, left, failed] = [*total, *done, *left, *failed].map(grouped);
    text.push_str(&format!("{total} dead letters: {done} {word}, {left} stay, {failed} failed"));
    text.push_str(&ending(missing, *stopped));
    text
}

/// For programs: one line.
pub(super) fn replay_json(replayed: &Replayed, dry_run: bool) -> String {
    format!("{}\n", letters::replay_json(replayed, dry_run))
}

fn ending(missing: &[String], stopped: bool) -> String {
    let mut text = String::new();
    if !missing.is_empty() {
        text.push_str(&format!("; not found: {}", missing.join(", ")));
    }
    if stopped {
        text.push_str("; stopped before all were looked at, the same command goes on");
    }
    text + "\n"
}

/// For a person.
pub(super) fn drop_text(dropped: &Dropped, path: &Path) -> String {
    let Dropped { total, dropped: done, missing, stopped } = dropped;
    let kept = if *done > 0 { format!(", kept in {}", path.display()) } else { String::new() };
    format!("{} dead letters: {} dropped{kept}{}", grouped(*total), grouped(*done), ending(missing, *stopped))
}

/// For programs: one line.
pub(super) fn drop_json(dropped: &Dropped, path: &Path) -> String {
    format!("{}\n", letters::drop_json(dropped, path))
}
