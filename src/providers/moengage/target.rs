//! `targetUserAttributes`: which users a push to `User` is for.

use serde_json::{Value, json};

use crate::job::Object;
use crate::providers::shape::{
    self, FILLED, Member, Place, Report, Shape, Special, check_members, describe, optional, required,
    unknown_members,
};

/// The member's shape, where the audience is `User`.
pub(super) const TARGET: Shape = Shape::Phrased {
    shape: &Shape::Special(Special { check, schema }),
    allowed: "an object with attribute, comparisonParameter and attributeValue: the audience is User",
};

/// Attributes that need no `isCustom`.
const STANDARD: [&str; 6] = [
    "USER_ATTRIBUTE_UNIQUE_ID",
    "USER_ATTRIBUTE_USER_EMAIL",
    "USER_ATTRIBUTE_USER_MOBILE",
    "MOE_GAID",
    "ADVERTISING_IDENTIFIER",
    "PUSH_ID",
];

/// The values of a comparison with `in`.
const MANY: Shape = Shape::List { min: 1, max: 50, item: &FILLED };

/// The ways to compare, each with what it compares to.
const COMPARISONS: [(&str, Shape); 2] = [("is", FILLED), ("in", MANY)];

const MEMBERS: &[Member] = &[
    required("attribute", FILLED),
    required("comparisonParameter", Shape::OneOf(&[COMPARISONS[0].0, COMPARISONS[1].0])),
    // The value's own shape depends on the comparison.
    required(
        "attributeValue",
        Shape::Phrased { shape: &Shape::Any, allowed: "a text for is, a list of 1 to 50 texts for in" },
    ),
    optional("isCustom", Shape::Boolean),
];

/// Checks the members, then what they must be together.
fn check(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(target) = value.as_object() else {
        report.add(place, describe(value), "an object");
        return;
    };
    check_members(MEMBERS, target, place, report);
    check_attribute(target, place, report);
    check_value(target, place, report);
}

fn check_attribute(target: &Object, place: Place<'_>, report: &mut Report) {
    let Some(attribute) = target.get("attribute").and_then(Value::as_str) else { return };
    let custom = target.get("isCustom").and_then(Value::as_bool) == Some(true);
    if !custom && !attribute.trim().is_empty() && !STANDARD.contains(&attribute) {
        let allowed = format!("{}, or another name with isCustom true", STANDARD.join(", "));
        report.add(place.member("attribute"), "another name", allowed);
    }
}

fn check_value(target: &Object, place: Place<'_>, report: &mut Report) {
    let Some(value) = target.get("attributeValue") else { return };
    let comparison = target.get("comparisonParameter").and_then(Value::as_str);
    if let Some((_, shape)) = COMPARISONS.iter().find(|(name, _)| comparison == Some(name)) {
        shape::check(shape, value, place.member("attributeValue"), report);
    }
}

fn schema() -> Value {
    let mut schema = shape::object_schema(&[MEMBERS]);
    let compared = COMPARISONS.map(|(name, shape)| {
        json!({"properties": {
            "comparisonParameter": {"const": name},
            "attributeValue": shape::schema(&shape),
        }})
    });
    let named = [
        json!({"properties": {"attribute": {"enum": STANDARD}}}),
        json!({"properties": {"isCustom": {"const": true}}, "required": ["isCustom"]}),
    ];
    schema["allOf"] = json!([{"anyOf": compared}, {"anyOf": named}]);
    schema
}

/// Warns of unknown members.
pub(super) fn warn(target: &Object, place: Place<'_>, report: &mut Report) {
    unknown_members(&[MEMBERS], target, place, report);
}
