//! Rules of a payload as tables: which members an object has and what shape each takes.
//!
//! One table serves both the check of a job and the JSON Schema that producers see, so the two
//! can't drift apart. Findings name places, types, counts and lengths, never values: a value may be
//! a device token, a user or a message.

use std::fmt;

use serde_json::{Value, json};

use crate::job::{Finding, Object, type_name};
use crate::pipeline::decode::is_credential;

/// The most findings for the items of one list or map. A list of a hundred thousand bad items needs
/// no hundred thousand findings to be mended.
pub(super) const MOST_ITEM_FINDINGS: usize = 5;

/// The most warnings for unknown members of one object.
const MOST_UNKNOWN: usize = 20;

/// The longest member name that a finding repeats. Longer ones may be data that ended up as a name.
const LONGEST_NAME: usize = 40;

/// Where in the job something stands; prints as a JSON pointer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// The payload itself.
    Payload,
    /// A member of an object; the name needs no escaping (see [`shown_name`]).
    Member(&'a Self, &'a str),
    /// An item of a list.
    Item(&'a Self, usize),
}

impl<'a> Place<'a> {
    pub(super) const fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    pub(super) const fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload => f.write_str("/payload"),
            Self::Member(parent, name) => write!(f, "{parent}/{name}"),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Findings as they gather, under the document that sets the rules.
#[derive(Debug)]
pub(super) struct Report {
    source: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) const fn new(source: &'static str) -> Self {
        Self { source, findings: Vec::new() }
    }

    pub(super) fn add(&mut self, place: Place<'_>, found: impl Into<String>, allowed: impl Into<String>) {
        self.add_from(self.source, place, found, allowed);
    }

    pub(super) fn add_from(
        &mut self,
        source: &'static str,
        place: Place<'_>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.push(Finding::new(place.to_string(), found, allowed, source));
    }

    pub(super) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds to what the last finding found.
    pub(super) fn add_to_last(&mut self, text: &str) {
        if let Some(last) = self.findings.last_mut() {
            last.found.push_str(text);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.findings.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

pub(super) const fn required(name: &'static str, shape: Shape) -> Member {
    Member { name, required: true, shape }
}

pub(super) const fn optional(name: &'static str, shape: Shape) -> Member {
    Member { name, required: false, shape }
}

/// A text with a form that the schema's pattern alone can't tell, such as a date that exists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) allowed: &'static str,
    /// Regular expression for the schema; accepts at least what `fits` accepts.
    pub(super) pattern: &'static str,
    pub(super) fits: fn(&str) -> bool,
}

/// A check that no table can express, with its own part of the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Special {
    pub(super) check: fn(&Value, Place<'_>, &mut Report),
    pub(super) schema: fn() -> Value,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Anything: the provider judges.
    Any,
    /// Nothing may stand here; says what was found and why it can't stay.
    Refused { found: &'static str, allowed: &'static str },
    /// A text, maybe empty.
    Text,
    /// A text with at least this many characters, not all of them blank.
    Filled { least: usize },
    /// A text of a certain form.
    Form(Form),
    /// One of these texts, exact case.
    OneOf(&'static [&'static str]),
    /// True or false.
    Boolean,
    /// A whole number within bounds, both included.
    Integer { min: i64, max: i64 },
    /// A number, whole or not, within bounds, both included.
    Number { min: f64, max: f64 },
    /// One of these whole numbers.
    OneOfNumbers(&'static [i64]),
    /// Any object.
    Object,
    /// A text, or an object that maps languages to texts.
    Localized,
    /// An object that maps names to texts.
    Texts,
    /// Whatever fits one of these; says in one phrase what that is.
    AnyOf { shapes: &'static [Self], allowed: &'static str },
    /// A list with a number of items within bounds, both included, each of a shape.
    List { min: usize, max: usize, item: &'static Self },
    /// An object with these members; others pass through.
    Members(&'static [Member]),
    /// See [`Special`].
    Special(Special),
    /// Another shape, with words of its own for what is allowed where nothing stands.
    Phrased { shape: &'static Self, allowed: &'static str },
}

/// Any number, whole or not.
pub(super) const NUMBER: Shape = Shape::Number { min: f64::MIN, max: f64::MAX };

/// A text that is not blank.
pub(super) const FILLED: Shape = Shape::Filled { least: 1 };

/// Checks the members of an object against their table.
pub(super) fn check_members(table: &[Member], object: &Object, place: Place<'_>, report: &mut Report) {
    for member in table {
        let at = place.member(member.name);
        match find(object, member.name) {
            Some(value) => check(&member.shape, value, at, report),
            None if member.required => report.add(at, "nothing", allowed(&member.shape)),
            None => {}
        }
    }
}

/// A member of an object. A table has dozens of names and most objects a few members: to look at each of
/// them costs less than to hash each name.
fn find<'o>(object: &'o Object, name: &str) -> Option<&'o Value> {
    const FEW: usize = 16;
    if object.len() > FEW {
        return object.get(name);
    }
    object.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// Checks a value against a shape.
pub(super) fn check(shape: &Shape, value: &Value, place: Place<'_>, report: &mut Report) {
    match (shape, value) {
        (Shape::List { min, max, item }, Value::Array(list)) => {
            check_list((*min, *max), item, list, place, report);
        }
        (Shape::Members(table), Value::Object(object)) => check_members(table, object, place, report),
        (Shape::Localized, Value::Object(languages)) => check_languages(languages, place, report),
        (Shape::Special(special), value) => (special.check)(value, place, report),
        (Shape::Phrased { shape, .. }, value) => check(shape, value, place, report),
        (shape, value) => {
            if let Some(found) = mismatch(shape, value) {
                report.add(place, found, allowed(shape));
            }
        }
    }
}

fn check_list(
    (min, max): (usize, usize),
    item: &Shape,
    list: &[Value],
    place: Place<'_>,
    report: &mut Report,
) {
    if !(min..=max).contains(&list.len()) {
        report.add(place, count(list.len(), "item"), list_bounds(min, max));
        return;
    }
    let before = report.len();
    for (index, value) in list.iter().enumerate() {
        check(item, value, place.item(index), report);
        if report.len() - before >= MOST_ITEM_FINDINGS {
            if index + 1 < list.len() {
                report.add_to_last("; the items after it were not looked at");
            }
            return;
        }
    }
}

fn check_languages(languages: &Object, place: Place<'_>, report: &mut Report) {
    if languages.is_empty() {
        report.add(place, "an object without members", allowed(&Shape::Localized));
    }
    let bad = languages.iter().filter(|(_, text)| !text.is_string());
    for (language, text) in bad.take(MOST_ITEM_FINDINGS) {
        let at = if is_language(language) { place.member(language) } else { place };
        report.add(at, describe(text), "a text for the language");
    }
}

fn is_language(name: &str) -> bool {
    (2..=10).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_'))
}

/// What was found, if the value does not fit the shape itself (its parts are checked elsewhere).
fn mismatch(shape: &Shape, value: &Value) -> Option<String> {
    let fitting = match shape {
        Shape::Any | Shape::Special(_) => true,
        Shape::Refused { found, .. } => return Some((*found).to_owned()),
        Shape::Text => value.is_string(),
        Shape::Filled { least } => value.as_str().is_some_and(|text| filled(text, *least)),
        Shape::Form(form) => value.as_str().is_some_and(form.fits),
        Shape::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
        Shape::Boolean => value.is_boolean(),
        Shape::Integer { min, max } => return bad_integer(value, *min, *max),
        Shape::Number { min, max } => value.as_f64().is_some_and(|number| (*min..=*max).contains(&number)),
        Shape::OneOfNumbers(numbers) => value.as_i64().is_some_and(|number| numbers.contains(&number)),
        Shape::Object | Shape::Members(_) => value.is_object(),
        Shape::Localized => value.is_string() || value.is_object(),
        Shape::List { .. } => value.is_array(),
        Shape::Texts => value.as_object().is_some_and(|object| object.values().all(Value::is_string)),
        Shape::AnyOf { shapes, .. } => shapes.iter().any(|shape| fits(shape, value)),
        Shape::Phrased { shape, .. } => return mismatch(shape, value),
    };
    (!fitting).then(|| describe(value))
}

/// Whether a value fits a shape, its parts included.
fn fits(shape: &Shape, value: &Value) -> bool {
    let mut report = Report::new("");
    check(shape, value, Place::Payload, &mut report);
    report.is_empty()
}

/// Whether there is nothing to read in a text. A byte order mark counts as blank, because to the
/// pattern `\S` of a schema it is: what is said to fit must not be refused.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == '\u{feff}')
}

fn filled(text: &str, least: usize) -> bool {
    !is_blank(text) && text.chars().count() >= least
}

fn bad_integer(value: &Value, min: i64, max: i64) -> Option<String> {
    let Value::Number(number) = value else { return Some(describe(value)) };
    match number.as_i64() {
        Some(whole) if whole < min => Some(format!("a number below {min}")),
        Some(whole) if whole > max => Some(format!("a number above {max}")),
        Some(_) => None,
        None if number.is_f64() => Some("a number that is not whole".to_owned()),
        None => Some(format!("a number above {max}")),
    }
}

/// Type and size of a value, never the value.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) if is_blank(text) => "an empty text".to_owned(),
        Value::String(text) => format!("a text of {}", count(text.chars().count(), "character")),
        Value::Array(list) => format!("a list of {}", count(list.len(), "item")),
        Value::Object(object) => format!("an object of {}", count(object.len(), "member")),
        Value::Null | Value::Bool(_) | Value::Number(_) => type_name(value).to_owned(),
    }
}

pub(super) fn count(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

fn list_bounds(min: usize, max: usize) -> String {
    match (min, max) {
        (min, max) if min == max => format!("a list of exactly {}", count(max, "item")),
        (0, usize::MAX) => "a list".to_owned(),
        (min, usize::MAX) => format!("a list of at least {}", count(min, "item")),
        (0, max) => format!("a list of at most {}", count(max, "item")),
        (min, max) => format!("a list of {min} to {}", count(max, "item")),
    }
}

/// What a shape allows, in words.
pub(super) fn allowed(shape: &Shape) -> String {
    match shape {
        Shape::Any => "any value".to_owned(),
        Shape::Refused { allowed, .. } => (*allowed).to_owned(),
        Shape::Text => "a text".to_owned(),
        Shape::Filled { least: 0 | 1 } => "a text that is not empty".to_owned(),
        Shape::Filled { least } => format!("a text of at least {}", count(*least, "character")),
        Shape::Form(form) => form.allowed.to_owned(),
        Shape::OneOf(words) => words.join(", "),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Integer { min, max: i64::MAX } => format!("a whole number of at least {min}"),
        Shape::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Shape::Number { min: f64::MIN, max: f64::MAX } => "a number".to_owned(),
        Shape::Number { min, max: f64::MAX } => format!("a number of at least {min}"),
        Shape::Number { min, max } => format!("a number from {min} to {max}"),
        Shape::OneOfNumbers(numbers) => numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
        Shape::Object | Shape::Members(_) => "an object".to_owned(),
        Shape::Localized => "a text, or an object of languages with a text for each".to_owned(),
        Shape::Texts => "an object of texts".to_owned(),
        Shape::AnyOf { allowed, .. } | Shape::Phrased { allowed, .. } => (*allowed).to_owned(),
        Shape::List { min, max, .. } => list_bounds(*min, *max),
        Shape::Special(_) => "a value of the documented form".to_owned(),
    }
}

/// Members that no table knows, a finding for each of the first few, as warnings: they pass through.
pub(super) fn unknown_members(tables: &[&[Member]], object: &Object, place: Place<'_>, report: &mut Report) {
    // A credential is refused elsewhere, however its name is written.
    let known = |name: &str| {
        is_credential(name) || tables.iter().any(|table| table.iter().any(|member| member.name == name))
    };
    let unknown = || object.keys().filter(|name| !known(name));
    for name in unknown().take(MOST_UNKNOWN) {
        let (at, found) = if shown_name(name) {
            (place.member(name), "an unknown member".to_owned())
        } else {
            (place, format!("an unknown member with a name of {}", count(name.chars().count(), "character")))
        };
        report.add(at, found, instead_of(name, tables));
    }
    let more = unknown().count().saturating_sub(MOST_UNKNOWN);
    if more > 0 {
        report.add_to_last(&format!(", and {more} more of this object"));
    }
}

/// What to write instead of an unknown name. A slip in its capitals is the commonest one.
fn instead_of(name: &str, tables: &[&[Member]]) -> String {
    let mut members = tables.iter().flat_map(|table| table.iter());
    match members.find(|member| member.name.eq_ignore_ascii_case(name)) {
        Some(member) => format!("{}, with these capitals; this one is passed on as it is", member.name),
        None => "a documented member; this one is passed on as it is".to_owned(),
    }
}

/// [`unknown_members`] of an object and of all that its tables reach; what a [`Special`] checks is
/// left to it.
pub(super) fn unknown_within(tables: &[&[Member]], object: &Object, place: Place<'_>, report: &mut Report) {
    unknown_members(tables, object, place, report);
    for member in tables.iter().flat_map(|table| table.iter()) {
        if let Some(value) = object.get(member.name) {
            unknown_inside(&member.shape, value, place.member(member.name), report);
        }
    }
}

fn unknown_inside(shape: &Shape, value: &Value, place: Place<'_>, report: &mut Report) {
    match (shape, value) {
        (Shape::Members(table), Value::Object(object)) => unknown_within(&[table], object, place, report),
        (Shape::List { item, .. }, Value::Array(list)) => {
            let before = report.len();
            for (index, value) in list.iter().enumerate() {
                if report.len() - before >= MOST_UNKNOWN {
                    return;
                }
                unknown_inside(item, value, place.item(index), report);
            }
        }
        (Shape::Phrased { shape, .. }, value) => unknown_inside(shape, value, place, report),
        (_, _) => {}
    }
}

/// Whether a name that a producer chose may stand in a finding as it is.
pub(super) fn shown_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// The JSON Schema (2020-12) of an object with these members; others are allowed.
pub(super) fn object_schema(tables: &[&[Member]]) -> Value {
    let members = || tables.iter().flat_map(|table| table.iter());
    let properties: Object =
        members().map(|member| (member.name.to_owned(), schema(&member.shape))).collect();
    let required: Vec<&str> = members().filter(|member| member.required).map(|member| member.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": true,
    })
}

/// The JSON Schema (2020-12) of a shape. It accepts at least what [`check`] accepts.
pub(super) fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Any => json!(true),
        Shape::Refused { .. } => json!(false),
        Shape::Text => json!({"type": "string"}),
        Shape::Filled { least } => json!({"type": "string", "minLength": least, "pattern": "\\S"}),
        Shape::Form(form) => {
            json!({"type": "string", "pattern": form.pattern, "description": form.allowed})
        }
        Shape::OneOf(words) => json!({"enum": words}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Integer { min, max: i64::MAX } => json!({"type": "integer", "minimum": min}),
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Number { min: f64::MIN, max: f64::MAX } => json!({"type": "number"}),
        Shape::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Shape::OneOfNumbers(numbers) => json!({"enum": numbers}),
        Shape::Object => json!({"type": "object"}),
        Shape::Localized => json!({
            "type": ["string", "object"],
            "minProperties": 1,
            "additionalProperties": {"type": "string"},
        }),
        Shape::List { min, max: usize::MAX, item } => {
            json!({"type": "array", "minItems": min, "items": schema(item)})
        }
        Shape::List { min, max, item } => {
            json!({"type": "array", "minItems": min, "maxItems": max, "items": schema(item)})
        }
        Shape::Texts => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::AnyOf { shapes, .. } => {
            json!({"anyOf": shapes.iter().map(schema).collect::<Vec<_>>()})
        }
        Shape::Members(table) => object_schema(&[table]),
        Shape::Special(special) => (special.schema)(),
        Shape::Phrased { shape, .. } => schema(shape),
    }
}

#[cfg(test)]
mod tests;
