//! What a producer is told of a filter that can't be read.

use super::excerpt::excerpt;
use super::tree::BadText;

/// Where a filter can't be read and why. Holds no value of the filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: found {found}, expected {expected}")]
pub struct FilterError {
    /// The place in the text, in characters, from 1; one more than there are for its end.
    pub column: usize,
    /// What stands there, in words; of a value only its kind and length.
    pub found: String,
    /// What could stand there, in words.
    pub expected: String,
    excerpt: String,
}

impl FilterError {
    pub(super) fn new(text: &str, problem: Problem) -> Self {
        let before = text[..problem.at].chars().count();
        let excerpt = excerpt(text, before);
        Self { column: before + 1, found: problem.found, expected: problem.expected, excerpt }
    }

    /// Two lines: about 80 characters of the text around the place, line breaks and tabs as blanks
    /// and every character of a value as `·`, and a caret below the place.
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }
}

/// A problem while reading, its place in bytes: characters are counted only for the one that is
/// reported.
#[derive(Debug)]
pub(super) struct Problem {
    /// Where, on a character boundary.
    pub(super) at: usize,
    pub(super) found: String,
    pub(super) expected: String,
}

impl Problem {
    pub(super) fn new(at: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { at, found: found.into(), expected: expected.into() }
    }

    /// A quotation mark that is none here.
    pub(super) fn quote(at: usize, found: impl Into<String>) -> Self {
        Self::new(at, found, "a straight double quote (\")")
    }

    pub(super) fn bad_text(at: usize, bad: BadText) -> Self {
        let expected = match bad {
            BadText::Quote => "`,`, `)` or `]`: a text can't hold a double quote, there is no escape for one",
            BadText::Backslash => {
                "a text without a backslash before its closing quote: there is no escape for a quote"
            }
            BadText::Blank => "a name that is not blank",
        };
        Self::new(at, bad.to_string(), expected)
    }
}

/// Every word of the language.
pub(super) const KNOWN_WORDS: [&str; 13] =
    ["A", "G", "T", "AT", "EQ", "NOTEQ", "IN", "NOTIN", "GTE", "LTE", "BETWEEN", "NOTSET", "ANY"];

/// Whether a character looks like a quotation mark without being `"`.
pub(super) const fn is_quote_like(c: char) -> bool {
    matches!(
        c,
        '\'' | '`'
            | '´'
            | '“'
            | '”'
            | '„'
            | '‟'
            | '‘'
            | '’'
            | '‚'
            | '‛'
            | '«'
            | '»'
            | '″'
            | '′'
            | '＂'
    )
}

/// The word that was probably meant: the same in another case, or one letter off.
pub(super) fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    // No known word is longer, so no long value is ever compared.
    const LONGEST: usize = 15;
    let same = words.iter().find(|known| known.eq_ignore_ascii_case(word));
    let close = || {
        let upper = word.to_ascii_uppercase();
        let near = |known: &&&str| {
            known.len() > 2 && strsim::damerau_levenshtein(&known.to_ascii_uppercase(), &upper) == 1
        };
        (word.len() <= LONGEST).then(|| words.iter().find(near)).flatten()
    };
    same.or_else(close).copied()
}
