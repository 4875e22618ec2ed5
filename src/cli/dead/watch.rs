//! How far a command has come, on standard error.

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::complain;
use crate::cli::progress::Progress;
use crate::letters::{Facts, Seen, Sight};
use crate::numbers::grouped;

/// How often it is brought up to date.
const TICK: Duration = Duration::from_millis(200);

/// So many letters that stay are named; the others are counted.
const MOST_NAMED: usize = 20;

pub(super) struct Watch {
    word: &'static str,
    progress: Option<Progress>,
    shown: Option<Instant>,
    named: Vec<String>,
    more: bool,
}

impl Watch {
    /// `word` says what is done with letters.
    pub(super) fn new(word: &'static str) -> Self {
        Self { word, progress: None, shown: None, named: Vec::new(), more: false }
    }

    pub(super) fn end(&self) {
        if let Some(progress) = &self.progress {
            progress.end();
        }
    }

    fn say(&self, text: &str) {
        match &self.progress {
            Some(progress) => progress.aside(|| complain(text)),
            None => complain(text),
        }
    }
}

impl Sight for Watch {
    fn seen(&mut self, seen: Seen) {
        if self.shown.is_some_and(|shown| shown.elapsed() < TICK) {
            return;
        }
        self.shown = Some(Instant::now());
        let progress = self.progress.get_or_insert_with(|| Progress::new(Some(seen.total)));
        let [examined, total, done] = [seen.examined, seen.total, seen.done].map(grouped);
        progress.show(seen.examined, || format!("{examined} of {total} looked at, {done} {}", self.word));
    }

    fn waiting(&mut self) {
        self.say("another command is at work on the dead letters; waiting for its end");
    }

    fn stays(&mut self, facts: &Facts, why: &str) {
        // Letters that stay come again in each round.
        if self.named.contains(&facts.dead_id) {
            return;
        }
        if self.named.len() < MOST_NAMED {
            self.named.push(facts.dead_id.clone());
            self.say(&format!("{} stays: {why}", facts.dead_id));
        } else if !std::mem::replace(&mut self.more, true) {
            self.say("more of them stay, which are only counted");
        }
    }
}
