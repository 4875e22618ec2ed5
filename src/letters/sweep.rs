//! The way through all letters, in rounds: a broker takes back what is held too long, and another
//! command gets its turn in between.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Facts;
use super::facts::died_at;
use crate::ports::{DeadLetters, Intent, LONGEST_READING, Letter, LetterTag, LettersError, Reading};

/// A round that has taken something out ends after this.
const ROUND: Duration = Duration::from_secs(120);

/// How long the letters are left to others between two rounds.
const PAUSE: Duration = Duration::from_secs(2);

/// How long another command that is at work is waited for, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How far a command has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Letters that were there at the beginning.
    pub total: u64,
    /// Of these, how many were looked at.
    pub examined: u64,
    /// How many of them were meant.
    pub matched: u64,
    /// How many were taken out, or would be.
    pub done: u64,
}

/// Whoever watches a command.
pub trait Sight: Send {
    /// It has come so far; called often.
    fn seen(&mut self, seen: Seen);
    /// Another command is at work, and is waited for.
    fn waiting(&mut self);
    /// A letter stays where it is, for this reason.
    fn stays(&mut self, facts: &Facts, why: &str);
}

/// A way through the letters that were there when it began, each of which comes at least once: those
/// that are left after a round come again in the next.
pub(super) struct Sweep<'a> {
    letters: &'a dyn DeadLetters,
    intent: Intent,
    reading: Box<dyn Reading>,
    /// When the whole way began, by the host's clock; `None` in its first round.
    renewed: Option<Timestamp>,
    start: Timestamp,
    began: Instant,
    total: u64,
    /// Of those that were there at the beginning, how many are left.
    left: u64,
    /// How many of these this round gives out.
    bound: u64,
    given: u64,
    removed: u64,
}

impl<'a> Sweep<'a> {
    pub(super) async fn begin(
        letters: &'a dyn DeadLetters,
        intent: Intent,
        sight: &mut dyn Sight,
        stop: &CancellationToken,
    ) -> Result<Self, LettersError> {
        let reading = open(letters, intent, sight, stop).await?;
        let total = reading.total();
        Ok(Self {
            letters,
            intent,
            reading,
            renewed: None,
            start: Timestamp::now(),
            began: Instant::now(),
            total,
            left: total,
            bound: total,
            given: 0,
            removed: 0,
        })
    }

    /// The next letter; `None` when the round is through. Those that came since the beginning are not
    /// given out: a letter that is replayed and dies again is not replayed again by the same command.
    /// The first round is as long as there were letters; in a later one, where new ones may lie among
    /// the others, these are told apart by when they died.
    pub(super) async fn next(&mut self) -> Result<Option<Letter>, LettersError> {
        while self.given < self.bound {
            let Some(letter) = self.reading.next().await? else { return Ok(None) };
            let is_new = self.renewed.is_some_and(|start| died_at(&letter).is_some_and(|at| at > start));
            if !is_new {
                self.given += 1;
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    pub(super) async fn remove(&mut self, tags: &[LetterTag]) -> Result<(), LettersError> {
        self.reading.remove(tags).await?;
        let count = tags.len() as u64;
        self.removed += count;
        self.left = self.left.saturating_sub(count);
        Ok(())
    }

    /// Whether the round should end although there is more. One that has taken nothing out goes on for
    /// as long as it may, so that each round comes further than the one before.
    pub(super) fn is_due(&self) -> bool {
        let length = self.began.elapsed();
        length >= ROUND && self.removed > 0 || length >= LONGEST_READING
    }

    /// Begins the next round.
    pub(super) async fn renew(
        self,
        sight: &mut dyn Sight,
        stop: &CancellationToken,
    ) -> Result<Self, LettersError> {
        let Self { letters, intent, reading, start, total, left, .. } = self;
        reading.close().await;
        sleep(PAUSE).await;
        let reading = open(letters, intent, sight, stop).await?;
        let bound = reading.total().min(left);
        let (renewed, began) = (Some(start), Instant::now());
        Ok(Self { letters, intent, reading, renewed, start, began, total, left, bound, given: 0, removed: 0 })
    }

    pub(super) async fn end(self) {
        self.reading.close().await;
    }

    /// How far it has come.
    pub(super) fn seen(&self, matched: u64, done: u64) -> Seen {
        let behind = self.total - self.left;
        let examined = (behind + self.given).saturating_sub(self.removed).min(self.total);
        Seen { total: self.total, examined, matched, done }
    }
}

/// Begins to read, once no other command is at work.
async fn open(
    letters: &dyn DeadLetters,
    intent: Intent,
    sight: &mut dyn Sight,
    stop: &CancellationToken,
) -> Result<Box<dyn Reading>, LettersError> {
    let began = Instant::now();
    let mut told = false;
    loop {
        match letters.open(intent).await {
            Err(LettersError::Busy) if began.elapsed() < PATIENCE && !stop.is_cancelled() => {
                if !std::mem::replace(&mut told, true) {
                    sight.waiting();
                }
                sleep(LOOK_AGAIN).await;
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use tokio::time::advance;

    use super::*;
    use crate::letters::filter::testing::letter;

    /// Letters in memory, new ones ahead of the others, as it may be after a round.
    #[derive(Default)]
    struct Shelf(Arc<Mutex<Vec<Letter>>>);

    struct Open {
        shelf: Arc<Mutex<Vec<Letter>>>,
        page: Vec<Letter>,
        total: u64,
    }

    #[async_trait]
    impl DeadLetters for Shelf {
        async fn open(&self, _: Intent) -> Result<Box<dyn Reading>, LettersError> {
            let mut page = self.0.lock().unwrap().clone();
            page.reverse();
            Ok(Box::new(Open { shelf: self.0.clone(), total: page.len() as u64, page }))
        }
    }

    #[async_trait]
    impl Reading for Open {
        fn total(&self) -> u64 {
            self.total
        }

        async fn next(&mut self) -> Result<Option<Letter>, LettersError> {
            Ok(self.page.pop())
        }

        async fn remove(&mut self, tags: &[LetterTag]) -> Result<(), LettersError> {
            self.shelf.lock().unwrap().retain(|letter| !tags.contains(&letter.tag));
            Ok(())
        }

        async fn close(self: Box<Self>) {}
    }

    struct Nobody;

    impl Sight for Nobody {
        fn seen(&mut self, _: Seen) {}
        fn waiting(&mut self) {}
        fn stays(&mut self, _: &Facts, _: &str) {}
    }

    fn at(tag: u64, died: &str) -> Letter {
        Letter { tag: LetterTag(tag), ..letter("{}", &[("paceline-dead-at", died)]) }
    }

    #[tokio::test(start_paused = true)]
    async fn later_rounds_go_on_with_what_was_there_at_first() {
        let shelf = Shelf::default();
        let old = |tag| at(tag, "2026-01-01T00:00:00Z");
        shelf.0.lock().unwrap().extend((1..=5).map(old));
        let stop = CancellationToken::new();
        let mut sweep = Sweep::begin(&shelf, Intent::Take, &mut Nobody, &stop).await.unwrap();
        for _ in 0..2 {
            let letter = sweep.next().await.unwrap().unwrap();
            sweep.remove(&[letter.tag]).await.unwrap();
        }
        assert!(!sweep.is_due());
        advance(ROUND).await;
        assert!(sweep.is_due(), "it took something out, and others want their turn");
        // One of those that were taken out dies again, and lies ahead of the others.
        shelf.0.lock().unwrap().insert(0, at(9, "9000-01-01T00:00:00Z"));
        let mut sweep = sweep.renew(&mut Nobody, &stop).await.unwrap();
        assert!(!sweep.is_due());
        let mut tags = Vec::new();
        while let Some(letter) = sweep.next().await.unwrap() {
            tags.push(letter.tag.0);
        }
        assert_eq!(tags, [3, 4, 5]);
        assert_eq!(sweep.seen(0, 2), Seen { total: 5, examined: 5, matched: 0, done: 2 });
        advance(ROUND).await;
        assert!(!sweep.is_due(), "a round that took nothing out comes no further by ending");
        advance(LONGEST_READING).await;
        assert!(sweep.is_due());
        sweep.end().await;
    }
}
