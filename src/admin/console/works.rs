//! Work on dead letters: one piece at a time, beside the requests that ask for it and ask how far it
//! is, since a million letters take longer than any request.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Desk;
use crate::letters::{self, Facts, Filter, Keep, Kept, Page, Replaying, Seen, Sight};

/// So many pieces of work are remembered with what came of them.
const MOST: usize = 8;

/// The largest body that is shown: what is shown stands in the worker's memory several times.
const MOST_SHOWN: usize = 256 * 1024;

/// So many letters that stay are named; the others are counted.
const MOST_NAMED: usize = 20;

/// The most letters of a page.
const MOST_PAGE: usize = 100;

/// How long the broker is tried for one letter.
const PATIENCE: Duration = Duration::from_secs(60);

/// Letters a second, unless a wish says otherwise.
const RATE: f64 = 100.0;

/// Which letters, as the page and programs say it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    ids: BTreeSet<String>,
    accounts: Vec<String>,
    operations: Vec<String>,
    reasons: Vec<String>,
    detail: Option<String>,
    older_than_seconds: Option<u64>,
    newer_than_seconds: Option<u64>,
    /// Before this moment: what was counted then, and nothing that died since.
    died_before: Option<Timestamp>,
}

impl Wanted {
    fn filter(self, now: Timestamp) -> Filter {
        // A time before all times is before every letter.
        let ago = |seconds: u64| now.checked_sub(Duration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
        Filter {
            ids: self.ids,
            accounts: self.accounts,
            operations: self.operations,
            reasons: self.reasons,
            before: [self.older_than_seconds.map(ago), self.died_before].into_iter().flatten().min(),
            after: self.newer_than_seconds.map(ago),
            detail: self.detail.filter(|text| !text.is_empty()),
        }
    }
}

/// What is wanted of the letters.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum Wish {
    /// A page of them, with counts of all that match.
    List {
        #[serde(default)]
        wanted: Wanted,
        #[serde(default)]
        limit: Option<usize>,
        #[serde(default)]
        after: Option<String>,
    },
    /// One, masked.
    Show { id: String },
    /// To publish them again.
    Replay {
        #[serde(default)]
        wanted: Wanted,
        /// All that match; else ids have to be named.
        #[serde(default)]
        all: bool,
        #[serde(default)]
        dry_run: bool,
        /// Letters a second.
        #[serde(default)]
        rate: Option<f64>,
    },
    /// To take them out, once they are kept.
    Drop {
        #[serde(default)]
        wanted: Wanted,
        /// All that match; else ids have to be named.
        #[serde(default)]
        all: bool,
    },
}

impl Wish {
    const fn word(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            Self::Show { .. } => "show",
            Self::Replay { .. } => "replay",
            Self::Drop { .. } => "drop",
        }
    }

    /// What keeps it from being begun.
    fn problem(&self, dropped: Option<&PathBuf>) -> Option<&'static str> {
        let unnamed = |wanted: &Wanted, all: bool| {
            (wanted.ids.is_empty() && !all).then_some("which dead letters? Name their ids, or say all")
        };
        match self {
            Self::List { limit, .. } if limit.is_some_and(|limit| limit > MOST_PAGE) => {
                Some("a page has at most 100 letters")
            }
            Self::List { after: Some(after), .. } if after.parse::<letters::Cursor>().is_err() => {
                Some("after is what the last page gave for the next")
            }
            Self::List { .. } | Self::Show { .. } => None,
            Self::Replay { rate: Some(rate), .. } if !(0.01..=100_000.0).contains(rate) => {
                Some("a rate is from 0.01 to 100000 letters a second")
            }
            Self::Replay { wanted, all, .. } => unnamed(wanted, *all),
            Self::Drop { .. } if dropped.is_none() => Some(
                "there is nowhere to keep what is dropped: set admin.console_dropped, or use paceline dead drop",
            ),
            Self::Drop { wanted, all } => unnamed(wanted, *all),
        }
    }
}

/// Why a piece of work is not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The wish can't be fulfilled.
    Wish(&'static str),
    /// This one is under way.
    Busy(Value),
}

/// A piece of work, and how far it is.
#[derive(Debug, Clone)]
struct Work {
    id: u64,
    word: &'static str,
    began: Timestamp,
    /// Whether another command is waited for.
    waiting: bool,
    seen: Seen,
    /// Letters that stay, and why.
    stays: Vec<(String, String)>,
    /// What came of it.
    ended: Option<Result<Value, String>>,
}

impl Work {
    fn told(&self) -> Value {
        let state = match (&self.ended, self.waiting) {
            (Some(Ok(_)), _) => "done",
            (Some(Err(_)), _) => "failed",
            (None, true) => "waiting",
            (None, false) => "running",
        };
        let Seen { total, examined, matched, done } = self.seen;
        let stays: Vec<Value> =
            self.stays.iter().map(|(id, why)| json!({ "deadId": id, "why": why })).collect();
        json!({
            "work": self.id, "what": self.word, "state": state, "began": self.began,
            "total": total, "examined": examined, "matched": matched, "done": done, "stays": stays,
            "result": self.ended.as_ref().and_then(|ended| ended.as_ref().ok()),
            "error": self.ended.as_ref().and_then(|ended| ended.as_ref().err()),
        })
    }
}

/// All that is remembered.
#[derive(Clone)]
pub(super) struct Works {
    state: Arc<Mutex<State>>,
    /// Raised with each end.
    ends: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    begun: u64,
    all: VecDeque<Work>,
    /// Of the one that is under way.
    stop: Option<(u64, CancellationToken)>,
}

impl State {
    /// What ends this one, while it is under way.
    fn running(&self, id: u64) -> Option<&CancellationToken> {
        self.stop.as_ref().filter(|(running, _)| *running == id).map(|(_, stop)| stop)
    }
}

impl Works {
    pub(super) fn new() -> Self {
        Self { state: Arc::default(), ends: watch::channel(0).0 }
    }

    /// Begins a piece of work, and gives its number.
    pub(super) fn begin(
        &self,
        desk: Arc<dyn Desk>,
        dropped: Option<PathBuf>,
        wish: Wish,
    ) -> Result<u64, Refused> {
        if let Some(problem) = wish.problem(dropped.as_ref()) {
            return Err(Refused::Wish(problem));
        }
        let (id, stop) = {
            let mut state = self.state();
            if let Some((id, _)) = &state.stop {
                return Err(Refused::Busy(told(&state, *id).unwrap_or_default()));
            }
            state.begun += 1;
            let (id, stop) = (state.begun, CancellationToken::new());
            state.stop = Some((id, stop.clone()));
            if state.all.len() >= MOST {
                state.all.pop_front();
            }
            state.all.push_back(Work {
                id,
                word: wish.word(),
                began: Timestamp::now(),
                waiting: false,
                seen: Seen::default(),
                stays: Vec::new(),
                ended: None,
            });
            (id, stop)
        };
        tracing::info!(work = id, what = wish.word(), "a person works on dead letters in the console");
        let mut watcher = Watcher { works: self.clone(), id };
        let works = self.clone();
        // A panic in it must not keep the next one from beginning.
        let work = tokio::spawn(async move { done(&*desk, dropped, wish, id, &mut watcher, &stop).await });
        tokio::spawn(async move {
            let ended = work.await.unwrap_or_else(|_| Err("it failed; see the worker's log".to_owned()));
            works.end(id, ended);
        });
        Ok(id)
    }

    fn end(&self, id: u64, ended: Result<Value, String>) {
        let mut state = self.state();
        state.stop = None;
        if let Some(work) = state.all.iter_mut().find(|work| work.id == id) {
            work.ended = Some(ended);
        }
        drop(state);
        self.ends.send_replace(id);
    }

    /// How far it is, once it has ended or this time is over; `None` for one that is not known.
    pub(super) async fn wait(&self, id: u64, patience: Duration) -> Option<(Value, bool)> {
        let mut ends = self.ends.subscribe();
        // In vain is fine: then it goes on.
        let _ = timeout(patience, ends.wait_for(|_| self.state().running(id).is_none())).await;
        let state = self.state();
        told(&state, id).map(|told| (told, state.running(id).is_none()))
    }

    /// Asks it to end; what it has done is done.
    pub(super) fn stop(&self, id: u64) -> bool {
        self.state().running(id).map(CancellationToken::cancel).is_some()
    }

    /// The one that is under way, during which the queue of dead letters looks shorter than it is.
    pub(super) fn under_way(&self) -> Option<Value> {
        let state = self.state();
        let (id, _) = state.stop.as_ref()?;
        told(&state, *id)
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Work)) {
        if let Some(work) = self.state().all.iter_mut().find(|work| work.id == id) {
            change(work);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; were it so, each of its parts would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(state: &State, id: u64) -> Option<Value> {
    state.all.iter().find(|work| work.id == id).map(Work::told)
}

async fn done(
    desk: &dyn Desk,
    dropped: Option<PathBuf>,
    wish: Wish,
    id: u64,
    watcher: &mut Watcher,
    stop: &CancellationToken,
) -> Result<Value, String> {
    let now = Timestamp::now();
    let shelf = desk.letters().map_err(|error| format!("{error:#}"))?;
    match wish {
        Wish::List { wanted, limit, after } => {
            let after = after.and_then(|text| text.parse().ok());
            let page = Page { limit: limit.unwrap_or(20), after };
            let listing = letters::list(&*shelf, &wanted.filter(now), &page, watcher, stop).await;
            listing.map(|listing| letters::list_json(&listing)).map_err(|error| error.to_string())
        }
        Wish::Show { id } => {
            let found =
                letters::find(&*shelf, &id, watcher, stop).await.map_err(|error| error.to_string())?;
            let absent =
                if stop.is_cancelled() { "stopped" } else { "there is no such dead letter any more" };
            let letter = found.ok_or(absent)?;
            if letter.body.len() > MOST_SHOWN {
                return Err(format!(
                    "its body has {} bytes: see it with paceline dead show {id}",
                    letter.body.len()
                ));
            }
            Ok(json!(letters::masked(&letter)))
        }
        Wish::Replay { wanted, all: _, dry_run, rate } => {
            let config = desk.config();
            let wish = Replaying {
                filter: &wanted.filter(now),
                changes: &[],
                config: &config,
                rate: rate.unwrap_or(RATE),
                patience: PATIENCE,
                dry_run,
            };
            let replayed = letters::replay(&*shelf, &desk.publisher(), &wish, watcher, stop).await;
            replayed.map(|done| letters::replay_json(&done, dry_run)).map_err(|error| error.to_string())
        }
        Wish::Drop { wanted, all: _ } => {
            let folder = dropped.ok_or("there is nowhere to keep what is dropped")?;
            let path = folder.join(format!("paceline-dead-{}-{id}.jsonl", now.strftime("%Y%m%dT%H%M%SZ")));
            let mut kept = Beside(Kept::at(&path));
            let dropped = letters::drop_letters(&*shelf, &wanted.filter(now), &mut kept, watcher, stop).await;
            dropped.map(|done| letters::drop_json(&done, &path)).map_err(|error| match path.exists() {
                true => format!("{error}; what was dropped until then is in {}", path.display()),
                false => error.to_string(),
            })
        }
    }
}

/// Waits for the disk beside the tasks that deliver.
struct Beside(Kept);

impl Keep for Beside {
    fn keep(&mut self, lines: &[String]) -> std::io::Result<()> {
        tokio::task::block_in_place(|| self.0.keep(lines))
    }
}

/// Takes down how far a piece of work is.
struct Watcher {
    works: Works,
    id: u64,
}

impl Sight for Watcher {
    fn seen(&mut self, seen: Seen) {
        self.works.change(self.id, |work| (work.seen, work.waiting) = (seen, false));
    }

    fn waiting(&mut self) {
        self.works.change(self.id, |work| work.waiting = true);
    }

    fn stays(&mut self, facts: &Facts, why: &str) {
        self.works.change(self.id, |work| {
            // Letters that stay come again in each round.
            let is_named = work.stays.iter().any(|(id, _)| *id == facts.dead_id);
            if !is_named && work.stays.len() < MOST_NAMED {
                work.stays.push((facts.dead_id.clone(), why.to_owned()));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(value: Value) -> Result<Wish, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_taken_that_was_not_named() {
        let folder = PathBuf::from("d");
        for (value, dropped, expected) in [
            (json!({"what": "list"}), None, None),
            (json!({"what": "list", "limit": 101}), None, Some("at most 100")),
            (json!({"what": "list", "after": "x"}), None, Some("what the last page gave")),
            (json!({"what": "replay"}), None, Some("Name their ids")),
            (json!({"what": "replay", "wanted": {"reasons": ["rejected"]}}), None, Some("Name their ids")),
            (json!({"what": "replay", "all": true, "rate": 0.0}), None, Some("a rate is")),
            (json!({"what": "replay", "wanted": {"ids": ["a"]}}), None, None),
            (json!({"what": "drop", "all": true}), None, Some("admin.console_dropped")),
            (json!({"what": "drop"}), Some(&folder), Some("Name their ids")),
            (json!({"what": "drop", "all": true}), Some(&folder), None),
        ] {
            let found = wish(value.clone()).unwrap().problem(dropped);
            assert_eq!(found.is_some(), expected.is_some(), "{value}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{value}: {found:?}");
        }
        for mistyped in [json!({"what": "burn"}), json!({"what": "drop", "al": true})] {
            assert!(wish(mistyped.clone()).is_err(), "{mistyped}");
        }
        let mistyped = json!({"what": "replay", "all": true, "wanted": {"reason": "rejected"}});
        assert!(wish(mistyped).is_err(), "a filter that is not understood must not mean all");
    }

    #[test]
    fn ages_are_counted_back_from_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let wanted =
            Wanted { older_than_seconds: Some(60), newer_than_seconds: Some(u64::MAX), ..Wanted::default() };
        let filter = wanted.filter(now);
        assert_eq!(filter.before.map(Timestamp::as_second), Some(999_940));
        assert_eq!(filter.after, Some(Timestamp::MIN));
    }
}
