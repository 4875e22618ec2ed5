//! `conversionGoals`: which events count as a campaign's success.
//!
//! The operator of an event's filter decides over the type that it compares and over the value.

use serde_json::{Value, json};

use super::rules::CAUTION;
use crate::job::Object;
use crate::providers::shape::{
    self, FILLED, Form, Member, Place, Report, Shape, Special, check_members, describe, object_schema,
    optional, required, schema, unknown_members,
};

/// The most goals that a campaign may have.
const MOST_GOALS: usize = 5;

/// The member's shape.
pub(super) const GOALS: Shape = Shape::List { min: 0, max: MOST_GOALS, item: &Shape::Members(GOAL) };

const GOAL: &[Member] = &[
    required("name", FILLED),
    required("eventName", FILLED),
    optional("attrs", Shape::Special(Special { check: check_filter, schema: filter_schema })),
];

/// What an event's attribute may be. A heading of the page also says "double"; no value does.
const TYPES: [&str; 2] = ["string", "numeric"];

const TEXT: &[&str] = &["string"];
const NUMERIC: &[&str] = &["numeric"];

const ONE_TEXT: Member = required("value", Shape::Text);
const TEXTS: Member = required("value", Shape::List { min: 0, max: usize::MAX, item: &Shape::Text });
const NUMBER: Member = required("value", shape::NUMBER);
const BOUNDS: Member = required("value", Shape::Form(RANGE));
const NOTHING: Member = optional(
    "value",
    Shape::Refused { found: "a value", allowed: "nothing: this filter compares with no value" },
);

/// The provider's file would also let one number pass; its samples, and the meaning, want both
/// bounds.
const RANGE: Form = Form {
    allowed: "two numbers in one text, joined by a comma, such as \"899,999\"",
    pattern: r"^[-+0-9.eE ]+,[-+0-9.eE ]+$",
    fits: is_range,
};

/// One way to compare an event's attribute.
struct Operator {
    filter: &'static str,
    types: &'static [&'static str],
    value: Member,
}

const fn operator(filter: &'static str, types: &'static [&'static str], value: Member) -> Operator {
    Operator { filter, types, value }
}

const OPERATORS: [Operator; 18] = [
    operator("is", TEXT, ONE_TEXT),
    operator("is not", TEXT, ONE_TEXT),
    operator("contains", TEXT, ONE_TEXT),
    operator("does not contain", TEXT, ONE_TEXT),
    operator("starts with", TEXT, ONE_TEXT),
    operator("does not start with", TEXT, ONE_TEXT),
    operator("ends with", TEXT, ONE_TEXT),
    operator("does not end with", TEXT, ONE_TEXT),
    operator("in the following", TEXT, TEXTS),
    operator("not in the following", TEXT, TEXTS),
    operator("is equal to", NUMERIC, NUMBER),
    operator("is not equal to", NUMERIC, NUMBER),
    operator("is greater than", NUMERIC, NUMBER),
    operator("is less than", NUMERIC, NUMBER),
    operator("is between", NUMERIC, BOUNDS),
    operator("is not between", NUMERIC, BOUNDS),
    operator("exists", &TYPES, NOTHING),
    operator("does not exist", &TYPES, NOTHING),
];

const FILTERS: [&str; OPERATORS.len()] = {
    let mut filters = [""; OPERATORS.len()];
    let mut index = 0;
    while index < OPERATORS.len() {
        filters[index] = OPERATORS[index].filter;
        index += 1;
    }
    filters
};

const FILTER: &[Member] = &[
    required("name", FILLED),
    required("filter", Shape::OneOf(&FILTERS)),
    required("type", Shape::OneOf(&TYPES)),
    // The value's own shape depends on the filter.
    optional("value", Shape::Any),
];

fn check_filter(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(attributes) = value.as_object() else {
        report.add(place, describe(value), "one object with name, filter, type and value");
        return;
    };
    check_members(FILTER, attributes, place, report);
    let text = |name: &str| attributes.get(name).and_then(Value::as_str);
    let filter = text("filter");
    let Some(operator) = OPERATORS.into_iter().find(|operator| filter == Some(operator.filter)) else {
        return;
    };
    // Only words of the closed lists are repeated.
    if let Some(kind) = TYPES.into_iter().find(|kind| text("type") == Some(kind))
        && !operator.types.contains(&kind)
    {
        let allowed = format!("{} for the filter \"{}\"", operator.types.join(", "), operator.filter);
        report.add(place.member("type"), kind, allowed);
    }
    check_members(&[operator.value], attributes, place, report);
}

fn is_range(text: &str) -> bool {
    bounds(text).is_some()
}

/// The two numbers of a text.
fn bounds(text: &str) -> Option<(f64, f64)> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b' ');
    let number = |text: &str| {
        let number: f64 = text.trim().parse().ok()?;
        (text.bytes().all(plain) && number.is_finite()).then_some(number)
    };
    let (first, second) = text.split_once(',')?;
    Some((number(first)?, number(second)?))
}

fn filter_schema() -> Value {
    let mut whole = object_schema(&[FILTER]);
    whole["oneOf"] = OPERATORS.iter().map(operator_schema).collect();
    whole
}

fn operator_schema(operator: &Operator) -> Value {
    let needed: &[&str] = if operator.value.required { &["value"] } else { &[] };
    json!({
        "properties": {
            "filter": {"const": operator.filter},
            "type": {"enum": operator.types},
            "value": schema(&operator.value.shape),
        },
        "required": needed,
    })
}

/// Warns of unknown members inside the goals' filters, and of bounds that may hold nothing.
pub(super) fn warn(goals: &Value, place: Place<'_>, report: &mut Report) {
    for (index, goal) in goals.as_array().into_iter().flatten().take(MOST_GOALS).enumerate() {
        if let Some(filter) = goal.get("attrs").and_then(Value::as_object) {
            let item = place.item(index);
            let at = item.member("attrs");
            unknown_members(&[FILTER], filter, at, report);
            warn_order(filter, at, report);
        }
    }
}

/// No document asks for the lower bound first; all samples have it there.
fn warn_order(filter: &Object, place: Place<'_>, report: &mut Report) {
    let compares = filter.get("filter").and_then(Value::as_str);
    if !matches!(compares, Some("is between" | "is not between")) {
        return;
    }
    let bounds = filter.get("value").and_then(Value::as_str).and_then(bounds);
    if bounds.is_some_and(|(first, second)| first > second) {
        report.add_from(CAUTION, place.member("value"), "the higher bound first", "the lower bound first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::shape::check;

    #[test]
    fn bounds_are_two_numbers() {
        for (text, expected) in [
            ("899,999", true),
            ("-5,0", true),
            ("0.5,1.25", true),
            ("7,7", true),
            ("10, 20", true),
            ("1e2,1e3", true),
            ("999,899", true),
            ("899", false),
            ("899,", false),
            (",999", false),
            ("1,2,3", false),
            ("a,b", false),
            ("0,inf", false),
            ("nan,1", false),
            ("0,1e999", false),
            ("899-999", false),
            ("", false),
        ] {
            assert_eq!(is_range(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_operator_is_named_once() {
        for filter in FILTERS {
            assert_eq!(FILTERS.iter().filter(|one| **one == filter).count(), 1, "{filter:?}");
        }
    }

    #[test]
    fn the_schema_takes_and_refuses_what_the_check_does() {
        let validator = jsonschema::validator_for(&filter_schema()).unwrap();
        let values = [
            json!("a"),
            json!(["a"]),
            json!(5),
            json!(1.5),
            json!("1,2"),
            json!(null),
            json!([1]),
            json!({}),
        ];
        let values: Vec<Option<Value>> = values.into_iter().map(Some).chain([None]).collect();
        for filter in FILTERS.into_iter().chain(["is like"]) {
            for kind in TYPES.into_iter().chain(["double"]) {
                for value in &values {
                    let mut attributes = json!({"name": "price", "filter": filter, "type": kind});
                    if let Some(value) = value {
                        attributes["value"] = value.clone();
                    }
                    let mut report = Report::new("test");
                    check(&GOAL[2].shape, &attributes, Place::Payload, &mut report);
                    assert_eq!(validator.is_valid(&attributes), report.is_empty(), "{attributes}");
                }
            }
        }
    }
}
