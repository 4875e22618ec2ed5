//! Dead letters, for people: read one after another, and taken out one by one.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Properties;

/// The longest time that a reading may stay open. A broker takes back what it gave out and nobody
/// settled for half an hour, and ends the reading with it.
pub const LONGEST_READING: Duration = Duration::from_secs(25 * 60);

/// Names a letter within one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterTag(pub u64);

/// A dead letter as it lies in its queue.
#[derive(Clone, PartialEq)]
pub struct Letter {
    /// Names it within its reading.
    pub tag: LetterTag,
    /// Its body.
    pub body: Bytes,
    /// Its properties.
    pub properties: Properties,
}

impl std::fmt::Debug for Letter {
    /// Bodies and headers stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter")
            .field("tag", &self.tag)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a reading is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Nothing is taken.
    Look,
    /// Letters may be taken out.
    Take,
}

/// Why dead letters can't be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LettersError {
    /// Another reading has the letters in hand; it can be tried again.
    #[error("another command is at work on the dead letters")]
    Busy,
    /// There is no such queue.
    #[error("there is no queue of dead letters: is queue.prefix right, and has a worker run with it?")]
    Missing,
    /// The broker or the file can't be used; whatever was not taken out is where it was.
    #[error("the dead letters can't be read: {0}")]
    Failed(String),
}

/// The way to the dead letters.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Begins to read, with the letters that are there now.
    ///
    /// # Errors
    /// [`LettersError::Busy`] while another reading would keep letters from this one, or could take
    /// the same.
    async fn open(&self, intent: Intent) -> Result<Box<dyn Reading>, LettersError>;
}

/// The letters, one after another, each once. Memory does not grow with their bodies.
///
/// Must not stay open for longer than [`LONGEST_READING`]. What was not taken out is where it was
/// when the reading ends, however it ends, though perhaps in another order, also as to what came
/// meanwhile.
#[async_trait]
pub trait Reading: Send {
    /// How many letters were there when the reading began; it gives out no more than these.
    fn total(&self) -> u64;
    /// The next letter; `None` at the end.
    async fn next(&mut self) -> Result<Option<Letter>, LettersError>;
    /// Takes letters out for good. One that was taken out, but of which that was lost (a crash), comes
    /// again in a later reading.
    async fn remove(&mut self, tags: &[LetterTag]) -> Result<(), LettersError>;
    /// Ends in good order: the next reading finds all letters that are left.
    async fn close(self: Box<Self>);
}
