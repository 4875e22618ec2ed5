//! Dead letters in the file: any process reads and takes them out, page by page, while a worker runs.

use std::collections::VecDeque;
use std::fs::File;

use async_trait::async_trait;
use rusqlite::params;

use super::Embedded;
use super::desk::key;
use super::engine::{Engine, Failure, Moment};
use super::file;
use super::queues::{name_of, read};
use crate::ports::{DeadLetters, Intent, Letter, LetterTag, LettersError, Place, Reading};

/// A page ends at the row that reaches one of these.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

#[async_trait]
impl DeadLetters for Embedded {
    /// Looking disturbs nobody; taking is for one at a time.
    async fn open(&self, intent: Intent) -> Result<Box<dyn Reading>, LettersError> {
        let lock = match intent {
            Intent::Look => None,
            Intent::Take => Some(
                file::lock_letters(&self.settings().file)
                    .map_err(|error| LettersError::Failed(error.to_string()))?
                    .ok_or(LettersError::Busy)?,
            ),
        };
        let bounds = self.look(bounds).await.map_err(failed)?.ok_or(LettersError::Missing)?;
        let Bounds { first, last, total } = bounds;
        Ok(Box::new(Pages {
            file: self.handle(),
            after: first,
            last,
            total,
            page: VecDeque::new(),
            _lock: lock,
        }))
    }
}

fn failed(failure: Failure) -> LettersError {
    LettersError::Failed(failure.to_string())
}

/// What lies there now.
struct Bounds {
    /// Below the first key.
    first: i64,
    /// Above the last key.
    last: i64,
    total: u64,
}

fn bounds(engine: &mut Engine, _: &Moment) -> rusqlite::Result<Option<Bounds>> {
    let Some(place) = engine.place_row(&name_of(&Place::Dead))? else { return Ok(None) };
    let first = key(place.id, 0);
    Ok(Some(Bounds {
        first,
        last: key(place.id, place.next),
        total: u64::try_from(place.depth).unwrap_or(0),
    }))
}

/// Letters from one key to another.
struct Pages {
    file: Embedded,
    after: i64,
    last: i64,
    total: u64,
    page: VecDeque<Letter>,
    /// Held by the one who may take letters out.
    _lock: Option<File>,
}

impl Pages {
    async fn turn(&mut self) -> Result<(), LettersError> {
        let (after, last) = (self.after, self.last);
        let page = self.file.look(move |engine, _| page_of(engine, after, last)).await.map_err(failed)?;
        self.page = page.into();
        Ok(())
    }
}

fn page_of(engine: &mut Engine, after: i64, last: i64) -> rusqlite::Result<Vec<Letter>> {
    let mut select = engine.db.prepare_cached(
        "SELECT key, properties, body FROM message WHERE key > ? AND key < ? ORDER BY key LIMIT ?",
    )?;
    let most = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
    let mut rows = select.query(params![after, last, most])?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let (key, properties, body): (i64, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        bytes += body.len() + properties.len();
        // Keys are above zero.
        let tag = LetterTag(u64::try_from(key).unwrap_or(0));
        page.push(Letter { tag, body: body.into(), properties: read(&properties) });
    }
    Ok(page)
}

#[async_trait]
impl Reading for Pages {
    fn total(&self) -> u64 {
        self.total
    }

    async fn next(&mut self) -> Result<Option<Letter>, LettersError> {
        if self.page.is_empty() {
            self.turn().await?;
        }
        let next = self.page.pop_front();
        if let Some(letter) = &next {
            self.after = i64::try_from(letter.tag.0).unwrap_or(i64::MAX);
        }
        Ok(next)
    }

    async fn remove(&mut self, tags: &[LetterTag]) -> Result<(), LettersError> {
        let keys: Vec<i64> = tags.iter().filter_map(|tag| i64::try_from(tag.0).ok()).collect();
        self.file.store(move |engine, _| engine.take_off(&keys)).await.map_err(failed)
    }

    async fn close(self: Box<Self>) {}
}
