//! Filters as text, in the documented form and with no bracket more than they need.

use std::fmt::{self, Write as _};

use super::condition::{Condition, Operand, Scalar};
use super::tree::{Filter, Name, Operation, Platform, Set, Step};

/// What is still to be written; the last one first.
enum Item {
    /// The filter whose last step has this index.
    Part { root: usize, bracketed: bool },
    /// An operation between its sides.
    Sign(Operation),
    /// A closing bracket.
    Close,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps();
        let starts = starts(steps);
        let mut items = vec![Item::Part { root: steps.len() - 1, bracketed: false }];
        while let Some(item) = items.pop() {
            match item {
                Item::Close => f.write_char(')')?,
                Item::Sign(operation) => write!(f, " {} ", operation.sign())?,
                Item::Part { root, bracketed } => match &steps[root] {
                    Step::Set(set) => write!(f, "{set}")?,
                    Step::Combine(operation) => {
                        if bracketed {
                            f.write_char('(')?;
                            items.push(Item::Close);
                        }
                        items.extend(sides(steps, &starts, root, *operation));
                    }
                },
            }
        }
        Ok(())
    }
}

/// Where the filter that ends with each step begins.
fn starts(steps: &[Step]) -> Vec<usize> {
    let mut starts = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        starts.push(match step {
            Step::Set(_) => index,
            Step::Combine(_) => starts[starts[index - 1] - 1],
        });
    }
    starts
}

/// An operation's right side, sign and left side.
fn sides(steps: &[Step], starts: &[usize], root: usize, operation: Operation) -> [Item; 3] {
    let right = root - 1;
    let left = starts[right] - 1;
    // Equal priorities group from the left, so only the right side needs brackets then.
    let within = |side: usize, least: u8| match &steps[side] {
        Step::Set(_) => false,
        Step::Combine(inner) => inner.priority() < least,
    };
    let priority = operation.priority();
    [
        Item::Part { root: right, bracketed: within(right, priority + 1) },
        Item::Sign(operation),
        Item::Part { root: left, bracketed: within(left, priority) },
    ]
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { code, platforms } => audience(f, "A", code, platforms),
            Self::Group { code, platforms } => audience(f, "G", code, platforms),
            Self::Tag { name, condition } => write!(f, "T({name}, {condition})"),
            Self::AppTag { app, name, condition } => write!(f, "AT({app}, {name}, {condition})"),
        }
    }
}

fn audience(f: &mut fmt::Formatter<'_>, letter: &str, code: &Name, platforms: &[Platform]) -> fmt::Result {
    write!(f, "{letter}({code}")?;
    if !platforms.is_empty() {
        f.write_str(", ")?;
        list(f, platforms.iter().map(|platform| format!("\"{}\"", platform.name())))?;
    }
    f.write_char(')')
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    f.write_char('[')?;
    for (index, item) in items.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    f.write_char(']')
}

/// Writes `OPERATOR, operand`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.operator().word())?;
        match self.operand() {
            Operand::One(value) => write!(f, "{value}"),
            Operand::List(items) => list(f, items.iter()),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{}\"", text.as_str()),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_str())
    }
}
