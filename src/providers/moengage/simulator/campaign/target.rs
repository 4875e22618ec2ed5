//! `targetUserAttributes`: which users a campaign for single users is for.

use serde_json::Value;

use super::part::{Part, has, is_boolean, is_filled, is_list_of, is_one_of, needed, part};

const MAX_VALUES: usize = 50;

/// The attributes that every workspace has.
const STANDARD: [&str; 6] = [
    "USER_ATTRIBUTE_UNIQUE_ID",
    "USER_ATTRIBUTE_USER_EMAIL",
    "USER_ATTRIBUTE_USER_MOBILE",
    "MOE_GAID",
    "ADVERTISING_IDENTIFIER",
    "PUSH_ID",
];

static PARTS: [Part; 4] = [
    needed("attribute", is_filled),
    needed("comparisonParameter", |value| is_one_of(value, &["is", "in"])),
    needed("attributeValue", |value| is_filled(value) || is_short_list(value)),
    part("isCustom", is_boolean),
];

/// What is wrong with them, if anything.
pub(super) fn problem(attributes: Option<&Value>) -> Option<String> {
    let problem = match attributes {
        None => "targetUserAttributes is missing",
        Some(given) if !has(given, &PARTS) => "targetUserAttributes are not correct",
        Some(given) if !is_known(given) => "targetUserAttributes: attribute needs isCustom",
        Some(given) if !is_compared(given) => "targetUserAttributes: attributeValue is not correct",
        Some(_) => return None,
    };
    Some(problem.to_owned())
}

fn is_short_list(value: &Value) -> bool {
    let short = |list: &Vec<Value>| (1..=MAX_VALUES).contains(&list.len());
    value.as_array().is_some_and(short) && is_list_of(value, is_filled)
}

fn is_known(given: &Value) -> bool {
    is_one_of(&given["attribute"], &STANDARD) || given.get("isCustom") == Some(&Value::Bool(true))
}

/// `is` compares with one text, `in` with a list.
fn is_compared(given: &Value) -> bool {
    is_one_of(&given["comparisonParameter"], &["in"]) == given["attributeValue"].is_array()
}
