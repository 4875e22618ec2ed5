//! The attempts behind a delivery, for people: when each was claimed and what came of it.
//!
//! It travels in a header and decides nothing.

/// The most attempts that are kept: the first one and the last ones.
const MOST: usize = 16;

/// The longest word of a result that is believed.
const LONGEST_RESULT: usize = 24;

/// One attempt that was followed by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// When it was claimed, in milliseconds since 1970 by the store's clock.
    pub at_ms: i64,
    /// A word for what came of it.
    pub result: String,
}

/// Attempts, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail(Vec<Tried>);

impl Trail {
    /// With one more attempt.
    pub fn with(&self, at_ms: i64, result: &str) -> Self {
        let mut tried = self.0.clone();
        tried.push(Tried { at_ms, result: result.to_owned() });
        if tried.len() > MOST {
            tried.remove(1);
        }
        Self(tried)
    }

    /// Reads a header's text: `<ms>:<result>`, separated by commas. What can't be read is left out.
    pub fn read(text: &str) -> Self {
        let one = |part: &str| {
            let (at_ms, result) = part.split_once(':')?;
            let sound = result.len() <= LONGEST_RESULT
                && result.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
            Some(Tried { at_ms: at_ms.parse().ok()?, result: result.to_owned() }).filter(|_| sound)
        };
        Self(text.split(',').filter_map(one).take(MOST).collect())
    }

    /// Its text; `None` where there is nothing to tell.
    pub fn written(&self) -> Option<String> {
        let parts: Vec<String> =
            self.0.iter().map(|Tried { at_ms, result }| format!("{at_ms}:{result}")).collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }

    /// The attempts, oldest first.
    pub fn into_tried(self) -> Vec<Tried> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_stays_short() {
        let mut trail = Trail::default();
        assert_eq!((trail.written(), Trail::read("")), (None, Trail::default()));
        for n in 0..100 {
            trail = trail.with(1_800_000_000_000 + n, "misconfigured");
        }
        let text = trail.written().unwrap();
        assert!(text.len() < 512, "{}", text.len());
        assert_eq!(Trail::read(&text), trail);
        let times: Vec<i64> =
            trail.into_tried().iter().map(|tried| tried.at_ms - 1_800_000_000_000).collect();
        assert_eq!((times.len(), times[0], times[1], times[15]), (MOST, 0, 85, 99));
    }

    #[test]
    fn nonsense_is_left_out() {
        let read = |text: &str| Trail::read(text).written();
        assert_eq!(read("5:failed,x:failed,7,8:\u{1b}[2J,9:unknown"), Some("5:failed,9:unknown".into()));
        assert_eq!(read(&format!("5:{}", "a".repeat(99))), None);
        assert_eq!(Trail::read(&"1:a,".repeat(500)).into_tried().len(), MOST);
    }
}
