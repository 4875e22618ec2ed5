//! Tag conditions: `[tag, operator, operand]`.
//!
//! A request does not say of which type a tag is, so only an operand that fits no type at all is
//! wrong here; the rest is the provider's to judge.

use serde_json::{Value, json};

use crate::job::{Object, type_name};
use crate::providers::shape::{Place, Report, Special, describe};

/// The rule for the member `conditions`.
pub(super) const RULE: Special = Special { check, schema };

/// What an operator looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    One,
    Many,
    Two,
    Ignored,
}

const OPERATORS: [(&str, Operand); 9] = [
    ("EQ", Operand::One),
    ("NOTEQ", Operand::One),
    ("GTE", Operand::One),
    ("LTE", Operand::One),
    ("IN", Operand::Many),
    ("NOTIN", Operand::Many),
    ("BETWEEN", Operand::Two),
    ("NOTSET", Operand::Ignored),
    ("ANY", Operand::Ignored),
];

/// The most findings for one list of conditions.
const MOST_FINDINGS: usize = 5;

fn operand_of(operator: &str) -> Option<Operand> {
    OPERATORS.into_iter().find(|(name, _)| *name == operator).map(|(_, operand)| operand)
}

fn operator_names() -> Vec<&'static str> {
    OPERATORS.into_iter().map(|(name, _)| name).collect()
}

fn check(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(conditions) = value.as_array().filter(|list| !list.is_empty()) else {
        // An empty list could be taken for no condition at all, which is everybody.
        report.add(place, describe(value), "a list of at least 1 condition");
        return;
    };
    let before = report.len();
    for (index, condition) in conditions.iter().enumerate() {
        check_condition(condition, place.item(index), report);
        if report.len() - before >= MOST_FINDINGS {
            return;
        }
    }
}

fn check_condition(condition: &Value, place: Place<'_>, report: &mut Report) {
    let Some([tag, operator, rest @ ..]) = condition.as_array().map(Vec::as_slice) else {
        report.add(place, describe(condition), "a list of tag, operator and operand");
        return;
    };
    if tag.as_str().is_none_or(|name| name.trim().is_empty()) {
        report.add(place.item(0), describe(tag), "the name of a tag");
    }
    match operator.as_str().and_then(operand_of) {
        Some(operand) => check_operand(operand, rest, place, report),
        None => report.add(place.item(1), describe(operator), operator_names().join(", ")),
    }
}

fn check_operand(operand: Operand, rest: &[Value], place: Place<'_>, report: &mut Report) {
    match (operand, rest) {
        (Operand::Ignored, [] | [_]) => {}
        (Operand::One, [value]) => {
            if !is_scalar(value) {
                report.add(place.item(2), describe(value), "one text, whole number or boolean");
            }
        }
        (Operand::Many, [value]) => {
            check_scalars(value, 1..=usize::MAX, "a list of at least 1 item", place, report)
        }
        (Operand::Two, [value]) => {
            check_scalars(value, 2..=2, "a list of exactly 2 items, low then high", place, report)
        }
        (Operand::One | Operand::Many | Operand::Two | Operand::Ignored, _) => report.add(
            place,
            format!("a condition of {} items", rest.len() + 2),
            "3 items: tag, operator and operand",
        ),
    }
}

fn check_scalars(
    value: &Value,
    count: std::ops::RangeInclusive<usize>,
    allowed: &str,
    place: Place<'_>,
    report: &mut Report,
) {
    let place = place.item(2);
    match value.as_array() {
        Some(list) if count.contains(&list.len()) => {
            if let Some((index, bad)) = list.iter().enumerate().find(|(_, item)| !is_scalar(item)) {
                report.add(place.item(index), type_name(bad), "a text or a whole number");
            }
        }
        Some(_) | None => report.add(place, describe(value), allowed),
    }
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Bool(_) => true,
        Value::Number(number) => !number.is_f64(),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn schema() -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "array",
            "minItems": 2,
            "maxItems": 3,
            "prefixItems": [{"type": "string", "pattern": "\\S"}, {"enum": operator_names()}],
        },
    })
}

/// Where a condition lacks its operand. Only operators that ignore it may.
pub(super) fn pairs(notification: &Object) -> impl Iterator<Item = usize> {
    let list = notification.get("conditions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().enumerate().filter(|(_, condition)| is_pair(condition)).map(|(index, _)| index)
}

fn is_pair(condition: &Value) -> bool {
    condition.as_array().is_some_and(|list| list.len() == 2)
}

/// Gives each condition its third member: all documented samples have one, even where nobody looks
/// at it.
pub(super) fn complete(notification: &mut Object) {
    let list = notification.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in list.into_iter().flatten().filter_map(Value::as_array_mut) {
        if condition.len() == 2 {
            condition.push(json!(""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(value: &Value) -> Vec<String> {
        let mut report = Report::new("test");
        check(value, Place::Payload, &mut report);
        report.into_findings().into_iter().map(|finding| finding.pointer).collect()
    }

    #[test]
    fn conditions_valid_and_invalid() {
        let cases = [
            (json!([["Age", "EQ", 30]]), None),
            (json!([["Name", "EQ", "x"], ["Paid", "EQ", true]]), None),
            (json!([["Level", "BETWEEN", [1, 5]]]), None),
            (json!([["Seen", "GTE", "90 days ago"]]), None),
            (json!([["Country", "IN", ["BR", "PT"]]]), None),
            (json!([["Name", "NOTSET", ""]]), None),
            (json!([["Name", "ANY", {"what": "ever"}]]), None),
            (json!([["Name", "NOTSET"]]), None),
            (json!([]), Some("/payload")),
            (json!({}), Some("/payload")),
            (json!("Age EQ 30"), Some("/payload")),
            (json!(["Age EQ 30"]), Some("/payload/0")),
            (json!([["Age"]]), Some("/payload/0")),
            (json!([["Age", "EQ"]]), Some("/payload/0")),
            (json!([["Age", "EQ", 1, 2]]), Some("/payload/0")),
            (json!([["Name", "ANY", "", ""]]), Some("/payload/0")),
            (json!([["", "EQ", 1]]), Some("/payload/0/0")),
            (json!([[5, "EQ", 1]]), Some("/payload/0/0")),
            (json!([["Age", "eq", 1]]), Some("/payload/0/1")),
            (json!([["Age", 1, 1]]), Some("/payload/0/1")),
            (json!([["Age", "EQ", [1]]]), Some("/payload/0/2")),
            (json!([["Age", "EQ", 1.5]]), Some("/payload/0/2")),
            (json!([["Age", "EQ", null]]), Some("/payload/0/2")),
            (json!([["Age", "IN", 1]]), Some("/payload/0/2")),
            (json!([["Age", "IN", []]]), Some("/payload/0/2")),
            (json!([["Age", "IN", [1, {}]]]), Some("/payload/0/2/1")),
            (json!([["Age", "BETWEEN", [1]]]), Some("/payload/0/2")),
            (json!([["Age", "BETWEEN", [1, 2, 3]]]), Some("/payload/0/2")),
        ];
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for (value, expected) in cases {
            let found = places(&value);
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{value}");
            assert!(expected.is_some() || validator.is_valid(&value), "{value}");
        }
    }

    #[test]
    fn pairs_become_triples() {
        let mut notification = Object::new();
        notification.insert("conditions".into(), json!([["a", "ANY"], ["b", "EQ", 1], ["c", "NOTSET"]]));
        assert_eq!(pairs(&notification).collect::<Vec<_>>(), [0, 2]);
        complete(&mut notification);
        assert_eq!(
            notification["conditions"],
            json!([["a", "ANY", ""], ["b", "EQ", 1], ["c", "NOTSET", ""]])
        );
        assert_eq!(pairs(&notification).count(), 0);
    }
}
