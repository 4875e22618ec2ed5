//! What is shown at a glance, and what it means. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::history::{History, Since};
use crate::numbers::{grouped, short};
use crate::ports::Pause;
use crate::status::{self, AccountPicture, Drain, LimitPicture, Picture, advice};

/// What waits for longer than this, or takes longer to send, is slow.
const SLOW: Duration = Duration::from_secs(5 * 60);

/// Deliveries of which no worker told for so long are waited for by none.
const UNSEEN: Duration = Duration::from_secs(30);

/// How an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    /// Its work goes on.
    Healthy,
    /// Deliveries wait for long.
    Slow,
    /// Something could not be asked.
    Unknown,
    /// Its work, or that of one of its limits, does not go on.
    Paused,
}

/// What a person should know of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    /// The limit, where it is not the main one.
    limit: Option<String>,
    /// What is so, in a word: the cause of a pause, `slow`, `unseen` or `unknown`.
    what: &'static str,
    /// What that means.
    text: String,
    /// What to do.
    remedy: String,
    since: Option<Timestamp>,
    /// Whether it may be so for longer.
    or_longer: bool,
}

/// Takes down what stands, so that it is known later since when.
pub(super) fn remember(history: &mut History, picture: &Picture) {
    let mut standing = BTreeSet::new();
    let mut mark = |holds: bool, what: String| {
        if holds {
            standing.insert(what);
        }
    };
    mark(!picture.broker, "broker".to_owned());
    mark(!picture.store, "store".to_owned());
    for account in &picture.accounts {
        mark(account.is_unseen(), named(account, None, "unseen"));
        mark(is_slow(account), named(account, None, "slow"));
        for limit in &account.limits {
            if let Some(pause) = limit.pause {
                mark(true, named(account, limit.name.as_deref(), pause.cause.as_str()));
            }
        }
    }
    history.stand(picture.at, &standing);
}

fn named(account: &AccountPicture, limit: Option<&str>, what: &str) -> String {
    format!("{} {} {what}", account.name, limit.unwrap_or("main"))
}

/// All of it, for the page and for programs: what `paceline status --json` says, and more.
pub(super) fn overview(picture: &Picture, history: &History, now: Instant) -> Value {
    let mut all = status::json(picture);
    all["since"] = json!({
        "broker": history.since("broker"),
        "store": history.since("store"),
    });
    for (index, account) in picture.accounts.iter().enumerate() {
        let notes = notes(account, history, picture.at);
        let told = &mut all["accounts"][index];
        told["health"] = json!(health(account, &notes));
        told["notes"] = json!(notes);
        let (ends, seconds) = history.ends(&account.name);
        told["ends"] = json!({ "byStatus": ends, "seconds": seconds });
        for (index, limit) in account.limits.iter().enumerate() {
            let [minute, hour] = history.series(&account.name, limit.name.as_deref().unwrap_or("main"), now);
            told["limits"][index]["series"] = json!({ "minute": minute, "hour": hour });
        }
    }
    all
}

fn health(account: &AccountPicture, notes: &[Note]) -> Health {
    let is_paused = account.limits.iter().any(|limit| limit.pause.is_some());
    if is_paused {
        Health::Paused
    } else if is_unknown(account) {
        Health::Unknown
    } else if notes.is_empty() {
        Health::Healthy
    } else {
        Health::Slow
    }
}

fn notes(account: &AccountPicture, history: &History, now: Timestamp) -> Vec<Note> {
    let mut notes: Vec<Note> = account
        .limits
        .iter()
        .filter_map(|limit| Some(of_pause(account, limit, limit.pause?, history)))
        .collect();
    if is_unknown(account) {
        let text = "its queues or its limits can't be asked".to_owned();
        let remedy = "see what is said of broker and store".to_owned();
        notes.push(noted("unknown", text, remedy, None));
        return notes;
    }
    if !notes.is_empty() {
        return notes;
    }
    let since = history.since(&named(account, None, "unseen"));
    if since.is_some_and(|since| elapsed(since, now) >= UNSEEN) {
        let waiting: u64 = account.lanes().filter_map(|lane| lane.waiting).sum();
        let text = format!("{} wait, and no worker tells of them", grouped(waiting));
        let remedy = "is a worker with this account running, and connected to the broker? (/readyz)";
        notes.push(noted("unseen", text, remedy.to_owned(), since));
    } else if is_slow(account) {
        let since = history.since(&named(account, None, "slow"));
        notes.push(of_slowness(account, since));
    }
    notes
}

fn of_pause(account: &AccountPicture, limit: &LimitPicture, pause: Pause, history: &History) -> Note {
    let told = advice(&account.name, pause);
    let cause = pause.cause.as_str();
    let since = history.since(&named(account, limit.name.as_deref(), cause));
    let text = format!("paused ({cause}) {}", told.until);
    Note { limit: limit.name.clone(), ..noted(cause, text, told.why.to_owned(), since) }
}

fn of_slowness(account: &AccountPicture, since: Option<Since>) -> Note {
    let oldest = account.lanes().filter_map(|lane| lane.age).max();
    let drain = account.limits.iter().filter_map(time_to_drain).max();
    let oldest = oldest.map(|age| format!("the oldest has waited for {}", short(age)));
    let drain = drain.map(|time| format!("what waits takes {} to send", short(time)));
    let text = [oldest, drain].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let remedy = "more comes than the limit lets through: where its use is near the limit, hold back bulk or \
                  raise the limit with the provider; where it is not, look for faults and missing workers";
    noted("slow", text, remedy.to_owned(), since)
}

fn noted(what: &'static str, text: String, remedy: String, since: Option<Since>) -> Note {
    let or_longer = since.is_some_and(|since| since.or_longer);
    Note { limit: None, what, text, remedy, since: since.map(|since| since.at), or_longer }
}

fn elapsed(since: Since, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since.at)).unwrap_or_default()
}

fn is_unknown(account: &AccountPicture) -> bool {
    account.lanes().any(|lane| lane.waiting.is_none()) || account.limits.iter().any(|l| l.usage.is_none())
}

fn is_slow(account: &AccountPicture) -> bool {
    account.lanes().filter_map(|lane| lane.age).any(|age| age > SLOW)
        || account.limits.iter().filter_map(time_to_drain).any(|time| time > SLOW)
}

fn time_to_drain(limit: &LimitPicture) -> Option<Duration> {
    match limit.drain {
        Drain::In(time) => Some(time),
        Drain::Empty | Drain::Stopped | Drain::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{PauseCause, Usage, Window};
    use crate::status::Lane;

    fn lane(waiting: Option<u64>, age: Option<u64>) -> Lane {
        Lane { label: "high".into(), waiting, age: age.map(Duration::from_secs) }
    }

    fn account(jobs: Lane, drain: Drain, pause: Option<PauseCause>) -> AccountPicture {
        let limit = LimitPicture {
            name: None,
            windows: vec![Window { requests: 600, length: Duration::from_secs(60) }],
            usage: Some(Usage::default()),
            lanes: vec![],
            pause: pause.map(|cause| Pause { cause, wait: Duration::from_secs(30) }),
            drain,
        };
        AccountPicture { name: "shop".into(), provider: "pushwoosh", jobs, limits: vec![limit] }
    }

    fn picture(account: AccountPicture, second: i64) -> Picture {
        Picture {
            at: Timestamp::from_second(second).unwrap(),
            broker: true,
            store: true,
            dead: Some(0),
            delayed: Some(0),
            accounts: vec![account],
            problems: vec![],
        }
    }

    #[test]
    fn each_state_has_its_word_its_reason_and_its_remedy() {
        let quiet = || lane(Some(0), None);
        let drain = |seconds| Drain::In(Duration::from_secs(seconds));
        let cases = [
            (account(quiet(), Drain::Empty, None), "healthy", "", ""),
            (account(lane(Some(3), Some(2)), drain(5), None), "healthy", "", ""),
            (
                account(lane(Some(3), Some(301)), drain(5), None),
                "slow",
                "oldest has waited for 5m1s",
                "limit",
            ),
            (account(lane(Some(3), Some(2)), drain(400), None), "slow", "takes 6m40s to send", "limit"),
            (account(lane(Some(7), None), Drain::Empty, None), "slow", "7 wait, and no worker", "running"),
            (account(lane(None, None), Drain::Unknown, None), "unknown", "can't be asked", "broker"),
            (
                account(quiet(), Drain::Empty, Some(PauseCause::Operator)),
                "paused",
                "paused (operator) until a person resumes it",
                "nothing is lost",
            ),
            (
                account(lane(Some(9), Some(999)), Drain::Stopped, Some(PauseCause::Credentials)),
                "paused",
                "paused (credentials) for 30s, then tried again",
                "Mend them",
            ),
        ];
        for (account, health, text, remedy) in cases {
            let mut history = History::default();
            for second in [100, 140] {
                remember(&mut history, &picture(account.clone(), second));
            }
            let all = overview(&picture(account, 140), &history, Instant::now());
            let told = &all["accounts"][0];
            assert_eq!(told["health"], health, "{told}");
            let note = &told["notes"][0];
            assert_eq!(note.is_null(), text.is_empty(), "{told}");
            let holds = |name: &str, part: &str| note[name].as_str().unwrap_or_default().contains(part);
            assert!(holds("text", text) && holds("remedy", remedy), "{note}");
            if !note.is_null() && health != "unknown" {
                assert_eq!(
                    (&note["since"], &note["orLonger"]),
                    (&json!("1970-01-01T00:01:40Z"), &json!(true))
                );
            }
        }
    }

    #[test]
    fn what_only_came_a_moment_ago_is_no_concern() {
        let mut history = History::default();
        let picture = picture(account(lane(Some(7), None), Drain::Empty, None), 100);
        remember(&mut history, &picture);
        assert_eq!(overview(&picture, &history, Instant::now())["accounts"][0]["health"], "healthy");
    }
}
