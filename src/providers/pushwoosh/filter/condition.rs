//! Conditions on tags: an operator and its operand.
//!
//! A filter does not say of which type a tag is, so only an operand that fits no type at all is
//! wrong here; the rest is the provider's to judge.

use super::tree::Text;

/// What must hold for a tag.
///
/// Invariant: the operand fits at least one type of tag that knows the operator; of `NOTSET` and
/// `ANY` it is the empty text, as documented, because nobody looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    operator: Operator,
    operand: Operand,
}

impl Condition {
    /// A condition.
    ///
    /// # Errors
    /// If the operand fits no type of tag under this operator. The operand of `NOTSET` and `ANY` is
    /// not looked at, and becomes the empty text.
    pub fn new(operator: Operator, operand: Operand) -> Result<Self, Misfit> {
        let operand = match operator.takes() {
            Takes::Value => one(operand, any_value)?,
            Takes::Bound => one(operand, bound)?,
            Takes::Values => list(operand)?,
            Takes::Range => range(operand)?,
            Takes::Nothing => Operand::One(Scalar::empty()),
        };
        Ok(Self { operator, operand })
    }

    /// Its operator.
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// Its operand.
    pub const fn operand(&self) -> &Operand {
        &self.operand
    }
}

/// How a tag is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `EQ`: is the value.
    Eq,
    /// `NOTEQ`: is not the value.
    NotEq,
    /// `IN`: is one of the values.
    In,
    /// `NOTIN`: is none of the values.
    NotIn,
    /// `GTE`: is the value or above it.
    Gte,
    /// `LTE`: is the value or below it.
    Lte,
    /// `BETWEEN`: lies between two values, both included.
    Between,
    /// `NOTSET`: has no value.
    NotSet,
    /// `ANY`: has a value.
    Any,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 9] = [
        Self::Eq,
        Self::NotEq,
        Self::In,
        Self::NotIn,
        Self::Gte,
        Self::Lte,
        Self::Between,
        Self::NotSet,
        Self::Any,
    ];

    /// Its word in the text.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Eq => "EQ",
            Self::NotEq => "NOTEQ",
            Self::In => "IN",
            Self::NotIn => "NOTIN",
            Self::Gte => "GTE",
            Self::Lte => "LTE",
            Self::Between => "BETWEEN",
            Self::NotSet => "NOTSET",
            Self::Any => "ANY",
        }
    }

    /// The operator of a word, in capitals as documented.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.word() == word)
    }

    const fn takes(self) -> Takes {
        match self {
            Self::Eq | Self::NotEq => Takes::Value,
            Self::In | Self::NotIn => Takes::Values,
            Self::Gte | Self::Lte => Takes::Bound,
            Self::Between => Takes::Range,
            Self::NotSet | Self::Any => Takes::Nothing,
        }
    }
}

/// The form of an operator's operand.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Value,
    Values,
    Bound,
    Range,
    Nothing,
}

/// What a tag is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// One value.
    One(Scalar),
    /// A list of values.
    List(Vec<Scalar>),
}

impl Operand {
    /// Its values.
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::List(values) => values,
        }
    }
}

/// A single value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A text; a date is one too.
    Text(Text),
    /// A whole number; a date in Unix seconds is one too.
    Number(i64),
}

impl Scalar {
    fn empty() -> Self {
        Self::Text(Text::new("").expect("the empty text holds neither quote nor backslash")) // hence can't fail
    }

    pub(in crate::providers::pushwoosh) fn describe(&self) -> String {
        match self {
            Self::Text(text) => describe_text(text.as_str()),
            Self::Number(_) => "a number".to_owned(),
        }
    }
}

/// Size of a text, never the text.
pub(super) fn describe_text(text: &str) -> String {
    match text.chars().count() {
        0 => "an empty text".to_owned(),
        1 => "a text of 1 character".to_owned(),
        length => format!("a text of {length} characters"),
    }
}

/// An operand that fits no type of tag under its operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {expected}")]
pub struct Misfit {
    /// Which item of a list is wrong, from 0; `None` if it is the operand itself.
    pub item: Option<usize>,
    /// What was found; never a value.
    pub found: String,
    /// What could stand there.
    pub expected: &'static str,
}

const ONE: &str = "one text or whole number";
const LIST: &str = "a list of at least one value";
const PAIR: &str = "a list of two values, low then high";
const BOUND: &str =
    "a whole number or a date: \"YYYY-MM-DD\", \"YYYY-MM-DD HH:mm\", \"N days ago\", Unix seconds";

fn one(operand: Operand, fits: fn(&Scalar) -> bool) -> Result<Operand, Misfit> {
    match &operand {
        Operand::One(value) if fits(value) => Ok(operand),
        Operand::One(value) => Err(Misfit { item: None, found: value.describe(), expected: BOUND }),
        Operand::List(items) => Err(Misfit { item: None, found: describe_list(items), expected: ONE }),
    }
}

/// Items of both kinds may mix: string tags take numbers as texts, and the provider's own library
/// writes such lists.
fn list(operand: Operand) -> Result<Operand, Misfit> {
    match &operand {
        Operand::List(items) if !items.is_empty() => Ok(operand),
        Operand::List(items) => Err(Misfit { item: None, found: describe_list(items), expected: LIST }),
        Operand::One(value) => Err(Misfit { item: None, found: value.describe(), expected: LIST }),
    }
}

fn range(operand: Operand) -> Result<Operand, Misfit> {
    let items = match &operand {
        Operand::List(items) if items.len() == 2 => items,
        Operand::List(items) => {
            return Err(Misfit { item: None, found: describe_list(items), expected: PAIR });
        }
        Operand::One(value) => return Err(Misfit { item: None, found: value.describe(), expected: PAIR }),
    };
    match items.iter().position(|item| !bound(item)) {
        Some(index) => Err(Misfit { item: Some(index), found: items[index].describe(), expected: BOUND }),
        None if is_descending(items) => {
            Err(Misfit { item: None, found: "a high bound before the low one".to_owned(), expected: PAIR })
        }
        None => Ok(operand),
    }
}

/// Whether both bounds are of one form, and the first is the higher one.
fn is_descending(bounds: &[Scalar]) -> bool {
    let [low, high] = bounds else { return false };
    let number = |bound: &Scalar| match bound {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(text) => text.as_str().parse().ok(),
    };
    let text = |bound: &Scalar| match bound {
        Scalar::Number(_) => None,
        Scalar::Text(text) => Some(text.as_str().to_owned()),
    };
    if let (Some(low), Some(high)) = (number(low), number(high)) {
        return low > high;
    }
    let (Some(low), Some(high)) = (text(low), text(high)) else { return false };
    match (days_ago(&low), days_ago(&high)) {
        // The larger the number, the earlier the day.
        (Some(low), Some(high)) => low < high,
        (None, None) => date(&low).zip(date(&high)).is_some_and(|(low, high)| low > high),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn describe_list(items: &[Scalar]) -> String {
    match items.len() {
        0 => "an empty list".to_owned(),
        1 => "a list of 1 item".to_owned(),
        length => format!("a list of {length} items"),
    }
}

const fn any_value(_: &Scalar) -> bool {
    true
}

/// Only integers and dates have an order. A number between quotes may be either.
fn bound(value: &Scalar) -> bool {
    match value {
        Scalar::Number(_) => true,
        Scalar::Text(text) => is_bound(text.as_str()),
    }
}

fn is_bound(text: &str) -> bool {
    text.parse::<i64>().is_ok() || days_ago(text).is_some() || date(text).is_some()
}

/// The number in `N days ago`.
fn days_ago(text: &str) -> Option<u32> {
    let words: Vec<_> = text.split_ascii_whitespace().take(4).collect();
    let [count, days, ago] = words[..] else { return None };
    let named = ["day", "days"].iter().any(|unit| days.eq_ignore_ascii_case(unit))
        && ago.eq_ignore_ascii_case("ago")
        && count.bytes().all(|b| b.is_ascii_digit());
    if named { count.parse().ok() } else { None }
}

/// The documentation writes dates with a time in one place and without in another; the provider's
/// own library also writes seconds and a `T`.
fn date(text: &str) -> Option<jiff::civil::DateTime> {
    const LAYOUTS: [&str; 5] =
        ["dddd-dd-dd", "dddd-dd-dd dd:dd", "dddd-dd-ddTdd:dd", "dddd-dd-dd dd:dd:dd", "dddd-dd-ddTdd:dd:dd"];
    if LAYOUTS.iter().any(|layout| fits(text, layout)) { text.parse().ok() } else { None }
}

/// Whether every `d` of the layout is a digit and all else stands as it is.
fn fits(text: &str, layout: &str) -> bool {
    let same = |(c, l): (u8, u8)| if l == b'd' { c.is_ascii_digit() } else { c == l };
    text.len() == layout.len() && text.bytes().zip(layout.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_numbers_and_dates() {
        for (text, expected) in [
            ("2022-02-28", true),
            ("2022-02-28 00:00", true),
            ("2022-02-28 23:59", true),
            ("2014-12-05 22:22:22", true),
            ("2014-12-05T22:22", true),
            ("2014-12-05T22:22:22", true),
            ("1645999200", true),
            ("-5", true),
            ("90 days ago", true),
            ("1 day ago", true),
            ("0 Days Ago", true),
            ("2022-02-30", false),
            ("2022-13-01", false),
            ("2022-02-28 24:00", false),
            ("2022-02-28 10:60", false),
            ("2022-2-8", false),
            ("20220228", true), // a number
            ("2022-02-28Z", false),
            ("28.02.2022", false),
            ("days ago", false),
            ("x days ago", false),
            ("-1 days ago", false),
            ("+1 days ago", false),
            ("90 days", false),
            ("90 days ago now", false),
            ("99999999999 days ago", false),
            ("90 hours ago", false),
            ("today", false),
            ("1.5", false),
            ("", false),
        ] {
            assert_eq!(is_bound(text), expected, "{text:?}");
        }
    }
}
