//! What an object may hold: the parts that it needs, and the form of each.

use serde_json::Value;

/// A documented part of an object.
pub(super) struct Part {
    name: &'static str,
    is_needed: bool,
    fits: fn(&Value) -> bool,
}

/// A part that must be there.
pub(super) const fn needed(name: &'static str, fits: fn(&Value) -> bool) -> Part {
    Part { name, is_needed: true, fits }
}

/// A part that may be absent.
pub(super) const fn part(name: &'static str, fits: fn(&Value) -> bool) -> Part {
    Part { name, is_needed: false, fits }
}

/// The name of the first part that is needed and absent, or that has a form that is not allowed.
pub(super) fn wrong(value: &Value, parts: &[Part]) -> Option<&'static str> {
    let wrong = |part: &&Part| value.get(part.name).map_or(part.is_needed, |given| !(part.fits)(given));
    parts.iter().find(wrong).map(|part| part.name)
}

/// Whether it is an object with all these parts.
pub(super) fn has(value: &Value, parts: &[Part]) -> bool {
    value.is_object() && wrong(value, parts).is_none()
}

/// Whether it is an object with any of these parts.
pub(super) fn has_some(value: &Value, parts: &[Part]) -> bool {
    let fits = |part: &Part| value.get(part.name).is_none_or(part.fits);
    value.is_object() && parts.iter().all(fits)
}

pub(super) fn is_text(value: &Value) -> bool {
    value.is_string()
}

/// A text that says something.
pub(super) fn is_filled(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

/// A list of texts.
pub(super) fn is_texts(value: &Value) -> bool {
    is_list_of(value, is_text)
}

pub(super) fn is_list_of(value: &Value, fits: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(fits))
}

pub(super) fn is_boolean(value: &Value) -> bool {
    value.is_boolean()
}

/// The reference writes flags as booleans and as the texts `true` and `false`.
pub(super) fn is_flag(value: &Value) -> bool {
    value.is_boolean() || is_one_of(value, &["true", "false"])
}

pub(super) fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|text| words.contains(&text))
}

/// A number without a fraction and not below this one.
pub(super) fn is_whole_from(value: &Value, least: f64) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0 && number >= least)
}
