//! `conversionGoals`: the events that count as success, and what their attributes must be.

use serde_json::Value;

use super::part::{Part, has, is_filled, is_one_of, is_text, is_texts, needed, part};

const MAX_GOALS: usize = 5;

static GOAL: [Part; 3] = [
    needed("name", is_filled),
    needed("eventName", is_filled),
    part("attrs", |attrs| has(attrs, &ATTRIBUTES) && is_compared(attrs)),
];

static ATTRIBUTES: [Part; 3] = [
    needed("name", is_filled),
    needed("filter", is_text),
    needed("type", |kind| is_one_of(kind, &["string", "numeric"])),
];

/// What a filter compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Text,
    Texts,
    Number,
    Bounds,
    Nothing,
}

/// What is wrong with them, if anything.
pub(super) fn problem(goals: &Value) -> Option<String> {
    let Some(list) = goals.as_array().filter(|list| list.len() <= MAX_GOALS) else {
        return Some(format!("conversionGoals must be a list of at most {MAX_GOALS}"));
    };
    let wrong = list.iter().position(|goal| !has(goal, &GOAL))?;
    Some(format!("conversionGoals: number {} is not correct", wrong + 1))
}

fn is_compared(attributes: &Value) -> bool {
    let word = |name: &str| attributes[name].as_str().unwrap_or_default();
    operand(word("type"), word("filter")).is_some_and(|operand| operand.fits(attributes.get("value")))
}

/// `None` where the filter is unknown or is not for attributes of that type.
fn operand(kind: &str, filter: &str) -> Option<Operand> {
    match (kind, filter) {
        ("string", "is" | "is not" | "contains" | "does not contain") => Some(Operand::Text),
        ("string", "starts with" | "does not start with" | "ends with" | "does not end with") => {
            Some(Operand::Text)
        }
        ("string", "in the following" | "not in the following") => Some(Operand::Texts),
        ("numeric", "is equal to" | "is not equal to" | "is greater than" | "is less than") => {
            Some(Operand::Number)
        }
        ("numeric", "is between" | "is not between") => Some(Operand::Bounds),
        ("string" | "numeric", "exists" | "does not exist") => Some(Operand::Nothing),
        (_, _) => None,
    }
}

impl Operand {
    fn fits(self, value: Option<&Value>) -> bool {
        match self {
            Self::Text => value.is_some_and(is_text),
            Self::Texts => value.is_some_and(is_texts),
            Self::Number => value.is_some_and(Value::is_number),
            Self::Bounds => value.is_some_and(are_bounds),
            Self::Nothing => value.is_none(),
        }
    }
}

/// Two numbers in one text. Which of them comes first is not said.
fn are_bounds(value: &Value) -> bool {
    let number = |text: &str| text.trim().parse().is_ok_and(f64::is_finite);
    let bounds = value.as_str().and_then(|text| text.split_once(','));
    bounds.is_some_and(|(one, other)| number(one) && number(other))
}
