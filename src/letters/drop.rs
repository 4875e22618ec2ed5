//! Taking letters out for good, once they are kept elsewhere.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::listing::missing;
use super::sweep::Sweep;
use super::{Facts, Filter, Sight};
use crate::ports::{DeadLetters, Intent, Letter, LetterTag, LettersError};

/// Letters that are kept and taken out together.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where letters go before they are taken out.
pub trait Keep: Send {
    /// Returns when the lines are safe: on the disk.
    ///
    /// # Errors
    /// When they are not known to be.
    fn keep(&mut self, lines: &[String]) -> std::io::Result<()>;
}

/// Why letters could not be dropped to the end. What was dropped until then is kept.
#[derive(Debug, thiserror::Error)]
pub enum Dropping {
    /// The letters can't be read any further.
    #[error(transparent)]
    Letters(#[from] LettersError),
    /// They can't be kept.
    #[error("what is dropped can't be kept: {0}")]
    Keep(#[from] std::io::Error),
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Letters that were there.
    pub total: u64,
    /// Kept and taken out.
    pub dropped: u64,
    /// Ids that were asked for and not found.
    pub missing: Vec<String>,
    /// Whether it was stopped before all were looked at.
    pub stopped: bool,
}

/// Keeps the letters that are meant, and takes them out.
///
/// # Errors
/// See [`Dropping`].
pub async fn drop_letters(
    letters: &dyn DeadLetters,
    filter: &Filter,
    keep: &mut dyn Keep,
    sight: &mut dyn Sight,
    stop: &CancellationToken,
) -> Result<Dropped, Dropping> {
    let mut sweep = Sweep::begin(letters, Intent::Take, sight, stop).await?;
    let mut work = Work::default();
    loop {
        let over = work.round(&mut sweep, filter, keep, sight, stop).await?;
        if over {
            break;
        }
        sweep = sweep.renew(sight, stop).await?;
    }
    let total = sweep.seen(0, 0).total;
    sweep.end().await;
    let missing = missing(filter, &work.found);
    Ok(Dropped { total, dropped: work.dropped, stopped: stop.is_cancelled(), missing })
}

#[derive(Default)]
struct Work {
    lines: Vec<String>,
    tags: Vec<LetterTag>,
    bytes: usize,
    found: BTreeSet<String>,
    dropped: u64,
}

impl Work {
    async fn round(
        &mut self,
        sweep: &mut Sweep<'_>,
        filter: &Filter,
        keep: &mut dyn Keep,
        sight: &mut dyn Sight,
        stop: &CancellationToken,
    ) -> Result<bool, Dropping> {
        let mut over = false;
        while !over && !sweep.is_due() {
            let has_all = !filter.ids.is_empty() && self.found.len() == filter.ids.len();
            let letter = if stop.is_cancelled() || has_all { None } else { sweep.next().await? };
            match letter {
                Some(letter) => self.take(&letter, filter),
                None => over = true,
            }
            if over || self.tags.len() >= BATCH || self.bytes >= BATCH_BYTES {
                self.flush(sweep, keep).await?;
            }
            sight.seen(sweep.seen(self.dropped + self.tags.len() as u64, self.dropped));
        }
        self.flush(sweep, keep).await?;
        Ok(over)
    }

    fn take(&mut self, letter: &Letter, filter: &Filter) {
        let facts = Facts::of(letter);
        if !filter.means(&facts) {
            return;
        }
        if !filter.ids.is_empty() {
            self.found.insert(facts.dead_id.clone());
        }
        let line = written(letter, &facts, Timestamp::now());
        self.bytes += line.len();
        self.lines.push(line);
        self.tags.push(letter.tag);
    }

    /// Kept first: killed in between, a letter is in the file and in its queue, and never in neither.
    async fn flush(&mut self, sweep: &mut Sweep<'_>, keep: &mut dyn Keep) -> Result<(), Dropping> {
        if self.tags.is_empty() {
            return Ok(());
        }
        keep.keep(&self.lines)?;
        sweep.remove(&self.tags).await?;
        self.dropped += self.tags.len() as u64;
        self.lines.clear();
        self.tags.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// A letter as one line of JSON, with all that is needed to publish it again: its body as `job` where
/// it is JSON, else as `bodyHex`.
pub fn written(letter: &Letter, facts: &Facts, now: Timestamp) -> String {
    let properties = &letter.properties;
    let headers: Map<String, Value> =
        properties.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let (name, body) = body_of(&letter.body);
    let about = json!({
        "deadId": facts.dead_id,
        "droppedAt": now.to_string(),
        "messageId": properties.message_id,
        "replyTo": properties.reply_to,
        "correlationId": properties.correlation_id,
        "timestamp": properties.timestamp.map(|at| at.to_string()),
        "headers": headers,
    });
    let mut line = about.to_string();
    line.pop();
    line.push_str(&format!(",\"{name}\":{body}}}"));
    line
}

/// The body byte for byte where it fits into a line.
fn body_of(body: &[u8]) -> (&'static str, String) {
    let text = std::str::from_utf8(body).ok();
    let json = text.and_then(|text| serde_json::from_str::<&RawValue>(text).ok()).map(RawValue::get);
    match json {
        Some(json) if !json.contains(['\n', '\r']) => ("job", json.to_owned()),
        Some(json) => match serde_json::from_str::<Value>(json) {
            Ok(value) => ("job", value.to_string()),
            Err(_) => ("bodyHex", format!("\"{}\"", hex::encode(body))),
        },
        None => ("bodyHex", format!("\"{}\"", hex::encode(body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::filter::testing::letter;

    #[test]
    fn a_line_holds_all_of_a_letter() {
        let now: Timestamp = "2026-11-28T07:00:00Z".parse().unwrap();
        let line = |body: &str| {
            let letter = letter(body, &[("traceparent", "00-1")]);
            let line = written(&letter, &Facts::of(&letter), now);
            assert!(!line.contains('\n'), "{line}");
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["headers"]["traceparent"], "00-1");
            assert_eq!(
                (&read["messageId"], &read["droppedAt"]),
                (&json!("m"), &json!("2026-11-28T07:00:00Z"))
            );
            (line, read)
        };
        let (text, _) = line(r#" {"a":1.0,  "a":"twice"} "#);
        assert!(text.ends_with(r#","job":{"a":1.0,  "a":"twice"}}"#), "{text}");
        let (_, read) = line("{\"a\":\n[1]}");
        assert_eq!(read["job"], json!({"a": [1]}));
        let (_, read) = line("{no");
        assert_eq!((&read["bodyHex"], read.get("job")), (&json!("7b6e6f"), None));
    }
}
