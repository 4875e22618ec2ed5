//! What a filter is: sets of devices and what is made of them.
//!
//! A filter is kept flat, each operation behind its two sides, so that comparing, cloning, dropping
//! and printing need no recursion however deep it is.

use std::fmt;

use super::condition::Condition;

/// A filter of devices. Two are equal if they have the same sets and operations, grouped alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Invariant: read from the left, every operation finds two filters before it, and one filter
    /// is there at the end.
    steps: Vec<Step>,
}

/// One step in the making of a filter, as [`Filter::steps`] lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A set of devices.
    Set(Set),
    /// Makes one filter of the two before it.
    Combine(Operation),
}

impl Filter {
    /// The caller vouches for the invariant.
    pub(super) const fn of_steps(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// Makes one filter of two. Takes time in proportion to the size of `right`.
    #[must_use]
    pub fn combine(mut self, operation: Operation, right: Self) -> Self {
        self.steps.extend(right.steps);
        self.steps.push(Step::Combine(operation));
        self
    }

    /// The filter in postfix order: each operation stands behind its left and its right side.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Its sets, in the order of the text.
    pub fn sets(&self) -> impl Iterator<Item = &Set> {
        self.steps.iter().filter_map(|step| match step {
            Step::Set(set) => Some(set),
            Step::Combine(_) => None,
        })
    }
}

impl From<Set> for Filter {
    fn from(set: Set) -> Self {
        Self { steps: vec![Step::Set(set)] }
    }
}

/// What is made of two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `+`: what is in either.
    Union,
    /// `*`: what is in both.
    Intersection,
    /// `\`: what is in the left one but not in the right one.
    Difference,
}

impl Operation {
    /// The sign in the text.
    pub const fn sign(self) -> char {
        match self {
            Self::Union => '+',
            Self::Intersection => '*',
            Self::Difference => '\\',
        }
    }

    /// The higher one binds tighter; equal ones group from the left.
    pub(super) const fn priority(self) -> u8 {
        match self {
            Self::Union | Self::Intersection => 1,
            Self::Difference => 2,
        }
    }
}

/// A set of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// `A`: the subscribers of an application.
    Application {
        /// The application's code.
        code: Name,
        /// Their platforms; empty for all.
        platforms: Vec<Platform>,
    },
    /// `G`: the subscribers of any application of a group.
    Group {
        /// The group's code.
        code: Name,
        /// Their platforms; empty for all.
        platforms: Vec<Platform>,
    },
    /// `T`: devices with a tag that meets a condition.
    Tag {
        /// The tag's name.
        name: Name,
        /// What holds for it.
        condition: Condition,
    },
    /// `AT`: devices with a tag of one application that meets a condition.
    AppTag {
        /// The application's code.
        app: Name,
        /// The tag's name.
        name: Name,
        /// What holds for it.
        condition: Condition,
    },
}

/// A platform that an application or a group may be narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it all")]
pub enum Platform {
    Ios,
    Android,
    Blackberry,
    WindowsPhone,
    OsX,
    Windows,
    Amazon,
    Safari,
    Chrome,
    Firefox,
}

impl Platform {
    /// Every platform, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Ios,
        Self::Android,
        Self::Blackberry,
        Self::WindowsPhone,
        Self::OsX,
        Self::Windows,
        Self::Amazon,
        Self::Safari,
        Self::Chrome,
        Self::Firefox,
    ];

    /// The documented spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ios => "iOS",
            Self::Android => "Android",
            Self::Blackberry => "Blackberry",
            Self::WindowsPhone => "Windows_Phone",
            Self::OsX => "OsX",
            Self::Windows => "Windows",
            Self::Amazon => "Amazon",
            Self::Safari => "Safari",
            Self::Chrome => "Chrome",
            Self::Firefox => "Firefox",
        }
    }

    /// The platform of a name, in any case: the documentation and the provider's own library differ
    /// in it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.name().eq_ignore_ascii_case(name))
    }
}

/// A text between quotes.
///
/// It holds no double quote and does not end in a backslash: the language has no escape, so either
/// could end the text early and let a value rewrite the audience. `Debug` shows only its length: it
/// may be a user id.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Box<str>);

impl Text {
    /// A text from a value.
    ///
    /// # Errors
    /// [`BadText::Quote`] and [`BadText::Backslash`].
    pub fn new(value: &str) -> Result<Self, BadText> {
        if value.contains('"') {
            Err(BadText::Quote)
        } else if value.ends_with('\\') {
            Err(BadText::Backslash)
        } else {
            Ok(Self(value.into()))
        }
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.0.chars().count())
    }
}

/// A text that is not blank: the code of an application or a group, the name of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Text);

impl Name {
    /// A name from a value.
    ///
    /// # Errors
    /// As [`Text::new`], and [`BadText::Blank`].
    pub fn new(value: &str) -> Result<Self, BadText> {
        if value.trim().is_empty() { Err(BadText::Blank) } else { Text::new(value).map(Self) }
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Why a value can't stand between quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// It holds a double quote.
    #[error("a double quote inside a text")]
    Quote,
    /// Its last character is a backslash, which the provider may take for an escape of the quote.
    #[error("a backslash before a double quote")]
    Backslash,
    /// A name is blank.
    #[error("an empty text")]
    Blank,
}
