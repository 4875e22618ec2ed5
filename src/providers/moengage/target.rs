//! `targetUserAttributes`: which users a push to `User` is for.

use serde_json::{Value, json};

use crate::job::Object;
use crate::providers::shape::{
    self, FILLED, Member, Place, Report, Shape, check_members, describe, optional, required,
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

const MEMBERS: &[Member] = &[
    required("attribute", FILLED),
    required("comparisonParameter", Shape::OneOf(&["is", "in"])),
    // The value's own shape depends on the comparison.
    required("attributeValue", Shape::Any),
    optional("isCustom", Shape::Boolean),
];

/// Checks the members, then what they must be together.
pub(super) fn check(value: &Value, place: Place<'_>, report: &mut Report) {
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
    let at = place.member("attributeValue");
    match target.get("comparisonParameter").and_then(Value::as_str) {
        Some("is") => shape::check(&FILLED, value, at, report),
        Some("in") => shape::check(&MANY, value, at, report),
        Some(_) | None => {}
    }
}

/// The JSON Schema.
pub(super) fn schema() -> Value {
    let mut schema = shape::object_schema(&[MEMBERS]);
    schema["properties"]["attributeValue"] = json!({"type": ["string", "array"]});
    schema
}
