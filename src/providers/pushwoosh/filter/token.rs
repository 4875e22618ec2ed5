//! Words, texts, numbers and signs of a filter.

use super::condition::describe_text;
use super::error::{KNOWN_WORDS, Problem, is_quote_like};
use super::tree::{BadText, Operation};

/// The smallest part of a filter that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenList,
    /// `]`
    CloseList,
    /// `,`
    Comma,
    /// `+`, `*`, `\`
    Operation(Operation),
    /// Letters, digits and underscores that do not begin with a digit.
    Word(&'a str),
    /// What stands between two double quotes.
    Text(&'a str),
    /// A whole number.
    Number(i64),
    /// What no filter holds outside of a text.
    Other(char),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// What was found, in words; never a value.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::OpenList => "`[`".to_owned(),
            Self::CloseList => "`]`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Operation(operation) => format!("`{}`", operation.sign()),
            Self::Word(word) => describe_word(word),
            Self::Text(text) => describe_text(text),
            Self::Number(_) => "a number".to_owned(),
            Self::Other(c) => describe_character(*c),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// A word that the language does not know may be a value whose quotes were forgotten.
fn describe_word(word: &str) -> String {
    if KNOWN_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)) {
        return format!("`{word}`");
    }
    match word.chars().count() {
        1 => "an unknown letter".to_owned(),
        length => format!("an unknown word of {length} characters"),
    }
}

fn describe_character(c: char) -> String {
    match c {
        '\'' => "a single quote".to_owned(),
        c if is_quote_like(c) => "a curly quote".to_owned(),
        c if c.is_ascii_graphic() => format!("`{c}`"),
        c => format!("the character U+{:04X}", u32::from(c)),
    }
}

/// A token and where it begins, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spanned<'a> {
    pub(super) at: usize,
    pub(super) token: Token<'a>,
}

/// The tokens of a text, each read once, from the left.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// Characters looked at so far: shows that the work is in proportion to the text.
    pub(super) looks: usize,
}

impl<'a> Tokens<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, looks: 0 }
    }

    /// The next token; [`Token::End`] for ever once the text is used up.
    pub(super) fn next(&mut self) -> Result<Spanned<'a>, Problem> {
        self.skip_while(is_blank);
        let at = self.at;
        let Some(c) = self.look() else { return Ok(Spanned { at, token: Token::End }) };
        let token = match c {
            '"' => self.text()?,
            '-' | '0'..='9' => self.number()?,
            c if is_word(c) => Token::Word(self.skip_while(is_word)),
            c => {
                self.at += c.len_utf8();
                sign(c)
            }
        };
        Ok(Spanned { at, token })
    }

    fn look(&mut self) -> Option<char> {
        self.looks += 1;
        self.text[self.at..].chars().next()
    }

    fn skip_while(&mut self, goes_on: fn(char) -> bool) -> &'a str {
        let from = self.at;
        while let Some(c) = self.look().filter(|c| goes_on(*c)) {
            self.at += c.len_utf8();
        }
        &self.text[from..self.at]
    }

    fn text(&mut self) -> Result<Token<'a>, Problem> {
        let open = self.at;
        let rest = &self.text[open + 1..];
        let length = rest.find('"');
        self.looks += length.unwrap_or(rest.len());
        let Some(length) = length else { return Err(unclosed(open, rest)) };
        let value = &rest[..length];
        self.at = open + 1 + length + 1;
        if value.ends_with('\\') || self.look().is_some_and(continues_text) {
            return Err(quote_inside(open + 1, value));
        }
        Ok(Token::Text(value))
    }

    fn number(&mut self) -> Result<Token<'a>, Problem> {
        let from = self.at;
        self.at += 1;
        let digits = self.skip_while(|c| c.is_ascii_digit());
        let whole = &self.text[from..self.at];
        if digits.is_empty() && whole == "-" {
            return Ok(Token::Other('-'));
        }
        if self.look().is_some_and(|c| is_word(c) || matches!(c, '.' | '-' | ':')) {
            return Err(Problem::new(
                from,
                "a number that is not whole, or a text without quotes",
                "a whole number, or a text in straight double quotes",
            ));
        }
        let problem = || {
            Problem::new(
                from,
                "a number too large",
                format!("a whole number from {} to {}", i64::MIN, i64::MAX),
            )
        };
        whole.parse().map(Token::Number).map_err(|_| problem())
    }
}

const fn sign(c: char) -> Token<'static> {
    match c {
        '(' => Token::Open,
        ')' => Token::Close,
        '[' => Token::OpenList,
        ']' => Token::CloseList,
        ',' => Token::Comma,
        '+' => Token::Operation(Operation::Union),
        '*' => Token::Operation(Operation::Intersection),
        '\\' => Token::Operation(Operation::Difference),
        other => Token::Other(other),
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(super) const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// Whether a character right behind a closing quote shows that the quote was meant as part of the
/// text.
fn continues_text(c: char) -> bool {
    !is_blank(c) && matches!(sign(c), Token::Other(_))
}

fn unclosed(open: usize, rest: &str) -> Problem {
    let meant = curly_end(rest).or_else(|| last_curly(rest));
    meant.map(|curly| curly_quote(open + 1, curly)).unwrap_or_else(|| {
        Problem::new(open, "a text without an end", "a double quote (\") at both ends of the text")
    })
}

/// A quote where the text should go on. A curly quote before it may tell where the text was meant to
/// end.
fn quote_inside(from: usize, value: &str) -> Problem {
    let bad = if value.ends_with('\\') { BadText::Backslash } else { BadText::Quote };
    let meant = curly_end(value).map(|curly| curly_quote(from, curly));
    meant.unwrap_or_else(|| Problem::bad_text(from + value.len(), bad))
}

/// A curly quote in the place of a closing one: right before a sign that can follow a text.
fn curly_end(text: &str) -> Option<(usize, char)> {
    let mut curly = None;
    for (at, c) in text.char_indices() {
        if curly.is_some() && matches!(c, ',' | ')' | ']') {
            return curly;
        }
        if !is_blank(c) {
            curly = is_quote_like(c).then_some((at, c));
        }
    }
    None
}

fn last_curly(text: &str) -> Option<(usize, char)> {
    let at = text.trim_end_matches(is_blank).char_indices().next_back();
    at.filter(|(_, c)| is_quote_like(*c))
}

fn curly_quote(from: usize, (at, c): (usize, char)) -> Problem {
    Problem::quote(from + at, describe_character(c))
}
