//! The language of `devices_filter`: who gets a message of `createTargetedMessage`.
//!
//! [`parse`] reads it, `Display` of a [`Filter`] writes it. Reading order: `tree` (what a filter
//! is), `condition` (tags, operators and operands), `token`, `parse`, `print`, `error` (what a
//! producer is told), `excerpt` (the place in the text, its values masked).
//!
//! ```text
//! filter  = diff , { ( "+" | "*" ) , diff } ;       equal priority, grouped from the left
//! diff    = primary , { "\" , primary } ;           binds tighter, grouped from the left
//! primary = "(" , filter , ")" | set ;
//! set     = ( "A" | "G" ) , "(" , string , [ "," , "[" , platform , { "," , platform } , "]" ] , ")"
//!         | "T"  , "(" , string , "," , operator , "," , operand , ")"
//!         | "AT" , "(" , string , "," , string , "," , operator , "," , operand , ")" ;
//! operand = scalar | "[" , scalar , { "," , scalar } , "]" ;
//! scalar  = '"' , { any character but '"' } , '"' | [ "-" ] , digit , { digit } ;
//! ```
//!
//! Blanks are free between all of these. Nothing here recurses, so no depth of brackets exhausts
//! the stack, and all of it takes time in proportion to the length of the text.

use serde_json::{Value, json};

use super::conditions::Code;
use super::rules::SOURCE;
use crate::job::Finding;
use crate::providers::shape::{MOST_ITEM_FINDINGS, Place, Report, Special, describe};

mod condition;
mod error;
mod excerpt;
mod parse;
mod print;
mod token;
mod tree;

pub use condition::{Condition, Misfit, Operand, Operator, Scalar};
pub use error::FilterError;
pub use tree::{BadText, Filter, Name, Operation, Platform, Set, Step, Text};

/// The rule for the member `devices_filter`.
pub(super) const RULE: Special = Special { check, schema };

/// Reads a filter.
///
/// # Errors
/// Says where the text first departs from the language, or where an operand fits no type of tag.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    parse::parse(text).0.map_err(|problem| FilterError::new(text, problem))
}

/// Whether a message to a filter may reach devices of every application of the account: nothing in
/// it narrows the whole to some of them.
pub fn reaches_every_application(filter: &Filter) -> bool {
    let every = |set: &Set| match set {
        Set::Application { .. } | Set::Group { .. } | Set::AppTag { .. } => false,
        Set::Tag { .. } => true,
    };
    decide(filter, every, |operation, left, right| match operation {
        Operation::Union => left || right,
        Operation::Intersection => left && right,
        Operation::Difference => left,
    })
}

/// Whether a message to a filter can reach no other platform than this one.
pub(super) fn reaches_only(filter: &Filter, platform: Platform) -> bool {
    let only = |set: &Set| match set {
        Set::Application { platforms, .. } | Set::Group { platforms, .. } => {
            !platforms.is_empty() && platforms.iter().all(|one| *one == platform)
        }
        Set::Tag { .. } | Set::AppTag { .. } => false,
    };
    decide(filter, only, |operation, left, right| match operation {
        Operation::Union => left && right,
        Operation::Intersection => left || right,
        Operation::Difference => left,
    })
}

/// Answers a question about a filter from the answers for its sets.
fn decide(
    filter: &Filter,
    of_set: impl Fn(&Set) -> bool,
    of_both: impl Fn(Operation, bool, bool) -> bool,
) -> bool {
    let mut parts: Vec<bool> = Vec::new();
    for step in filter.steps() {
        let part = match step {
            Step::Set(set) => of_set(set),
            Step::Combine(operation) => {
                // Two are there: see the invariant of `Filter`.
                let right = parts.pop().unwrap_or_default();
                let left = parts.pop().unwrap_or_default();
                of_both(*operation, left, right)
            }
        };
        parts.push(part);
    }
    parts.pop().unwrap_or_default()
}

/// The codes of the applications and groups that a filter names.
pub(super) fn codes(filter: &Filter) -> impl Iterator<Item = &str> {
    filter.sets().filter_map(|set| match set {
        Set::Application { code, .. } | Set::Group { code, .. } | Set::AppTag { app: code, .. } => {
            Some(code.as_str())
        }
        Set::Tag { .. } => None,
    })
}

/// The names of the tags of a filter.
pub(super) fn tags(filter: &Filter) -> impl Iterator<Item = &str> {
    conditions(filter).map(|(name, _)| name.as_str())
}

/// What tags are compared with: the producer's data, where codes and names of tags are what an
/// explanation has to name.
pub(super) fn values(filter: &Filter) -> impl Iterator<Item = &Scalar> {
    conditions(filter).flat_map(|(_, condition)| condition.operand().scalars())
}

/// The tags that a filter looks at, each with what must hold for it.
fn conditions(filter: &Filter) -> impl Iterator<Item = (&Name, &Condition)> {
    filter.sets().filter_map(|set| match set {
        Set::Tag { name, condition } | Set::AppTag { name, condition, .. } => Some((name, condition)),
        Set::Application { .. } | Set::Group { .. } => None,
    })
}

fn check(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(text) = value.as_str() else {
        report.add(place, describe(value), "a text: a filter of devices");
        return;
    };
    match parse(text) {
        Ok(filter) => check_codes(&filter, place, report),
        Err(error) => {
            let found = format!("{} at column {}", error.found, error.column);
            let finding = Finding::new(place.to_string(), found, error.expected.clone(), SOURCE);
            report.push(finding.with_excerpt(error.excerpt()));
        }
    }
}

/// The tags whose values are codes, as in `conditions`: with any other value a condition would match
/// nobody, or, negated, everybody.
fn check_codes(filter: &Filter, place: Place<'_>, report: &mut Report) {
    let known =
        conditions(filter).filter_map(|(name, condition)| Some((Code::of(name.as_str())?, condition)));
    let wrong = known.filter_map(|(code, condition)| misfit(code, condition));
    for (found, allowed) in wrong.take(MOST_ITEM_FINDINGS) {
        report.add(place, found, allowed);
    }
}

/// What is wrong with a condition on such a tag, and what is allowed.
fn misfit(code: Code, condition: &Condition) -> Option<(String, &'static str)> {
    match condition.operator() {
        Operator::NotSet | Operator::Any => None,
        operator @ (Operator::Gte | Operator::Lte | Operator::Between) => {
            Some((format!("the operator {} for the tag {}", operator.word(), code.tag()), Code::OPERATORS))
        }
        Operator::Eq | Operator::NotEq | Operator::In | Operator::NotIn => {
            let fits = |value: &&Scalar| match value {
                Scalar::Text(text) => code.fits(text.as_str()),
                Scalar::Number(_) => false,
            };
            let bad = condition.operand().scalars().iter().find(|value| !fits(value))?;
            Some((format!("{} for the tag {}", bad.describe(), code.tag()), code.allowed()))
        }
    }
}

fn schema() -> Value {
    json!({
        "type": "string",
        // A schema can't count brackets: only the first and the last character are sure.
        "pattern": r"^\s*[(AGT][\s\S]*\)\s*$",
        "description": "a filter of devices, such as A(\"XXXXX-XXXXX\") * T(\"Language\", EQ, \"en\")",
    })
}

#[cfg(test)]
mod tests;
