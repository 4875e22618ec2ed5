//! Tag conditions: `[tag, operator, operand]`.
//!
//! A request does not say of which type a tag is, so only an operand that fits no type at all is
//! wrong here; the rest is the provider's to judge. Two tags are known: `Country` and `Language`
//! are texts of a documented form.

use serde_json::{Value, json};

use super::fields::dates::{is_day, is_minute, is_second};
use crate::job::Object;
use crate::providers::shape::{MOST_ITEM_FINDINGS, Place, Report, Special, describe, is_blank};

/// The rule for the member `conditions`.
pub(super) const RULE: Special = Special { check, schema };

/// How a tag's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    NotEq,
    In,
    NotIn,
    Gte,
    Lte,
    Between,
    NotSet,
    Any,
}

/// What the operand of an operator looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arity {
    One,
    Many,
    Two,
    Ignored,
}

impl Operator {
    const ALL: [Self; 9] = [
        Self::Eq,
        Self::NotEq,
        Self::Gte,
        Self::Lte,
        Self::In,
        Self::NotIn,
        Self::Between,
        Self::NotSet,
        Self::Any,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Eq => "EQ",
            Self::NotEq => "NOTEQ",
            Self::In => "IN",
            Self::NotIn => "NOTIN",
            Self::Gte => "GTE",
            Self::Lte => "LTE",
            Self::Between => "BETWEEN",
            Self::NotSet => "NOTSET",
            Self::Any => "ANY",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.name() == name)
    }

    const fn arity(self) -> Arity {
        match self {
            Self::Eq | Self::NotEq | Self::Gte | Self::Lte => Arity::One,
            Self::In | Self::NotIn => Arity::Many,
            Self::Between => Arity::Two,
            Self::NotSet | Self::Any => Arity::Ignored,
        }
    }

    /// What its operand may be, in words.
    const fn allowed(self) -> &'static str {
        match self {
            Self::Eq => "a text, a whole number, a date, or a boolean",
            Self::NotEq => "a text, a whole number or a date",
            Self::In | Self::NotIn => {
                "a list of at least 1 item, all of them texts, whole numbers or dates, of one kind"
            }
            Self::Gte | Self::Lte => {
                "a whole number, or a date: YYYY-MM-DD 00:00, Unix seconds or N days ago"
            }
            Self::Between => "a list of exactly 2 whole numbers or 2 dates, low then high",
            Self::NotSet | Self::Any => "anything",
        }
    }
}

/// The types of tags. A list's items are looked at like texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Date,
    Boolean,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Text, Self::Integer, Self::Date, Self::Boolean];

    /// Whether tags of this type know the operator. Texts stand for lists, too, which know none
    /// that texts don't.
    const fn knows(self, operator: Operator) -> bool {
        match operator {
            Operator::Eq | Operator::NotSet | Operator::Any => true,
            Operator::NotEq | Operator::In | Operator::NotIn => match self {
                Self::Text | Self::Integer | Self::Date => true,
                Self::Boolean => false,
            },
            Operator::Gte | Operator::Lte | Operator::Between => match self {
                Self::Integer | Self::Date => true,
                Self::Text | Self::Boolean => false,
            },
        }
    }

    /// Whether one value can be compared with a tag of this type.
    fn fits(self, operator: Operator, value: &Value) -> bool {
        self.knows(operator)
            && match self {
                Self::Text => value.is_string(),
                Self::Integer => is_whole(value),
                Self::Date => is_whole(value) || value.as_str().is_some_and(|text| is_date(operator, text)),
                Self::Boolean => value.is_boolean() || matches!(value.as_i64(), Some(0 | 1)),
            }
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

/// `YYYY-MM-DD 00:00` is documented; a day alone and seconds are taken as well.
fn is_date(operator: Operator, text: &str) -> bool {
    let relative = match operator {
        Operator::Eq | Operator::Between | Operator::Gte | Operator::Lte => days_ago(text).is_some(),
        Operator::NotEq | Operator::In | Operator::NotIn | Operator::NotSet | Operator::Any => false,
    };
    relative || is_day(text) || is_minute(text) || is_second(text)
}

/// The number in `N days ago`.
fn days_ago(text: &str) -> Option<u64> {
    let number = text.strip_suffix(" days ago").or_else(|| text.strip_suffix(" day ago"))?;
    if number.bytes().all(|b| b.is_ascii_digit()) { number.parse().ok() } else { None }
}

fn operator_names() -> [&'static str; Operator::ALL.len()] {
    Operator::ALL.map(Operator::name)
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
        if report.len() - before >= MOST_ITEM_FINDINGS {
            report.add_to_last("; the conditions after it were not looked at");
            return;
        }
    }
}

fn check_condition(condition: &Value, place: Place<'_>, report: &mut Report) {
    let Some([tag, operator, rest @ ..]) = condition.as_array().map(Vec::as_slice) else {
        report.add(place, describe(condition), "a list of tag, operator and operand");
        return;
    };
    if tag.as_str().is_none_or(is_blank) {
        report.add(place.item(0), describe(tag), "the name of a tag");
    }
    match operator.as_str().and_then(Operator::parse) {
        Some(operator) => check_operand(tag, operator, rest, place, report),
        None => report.add(place.item(1), describe(operator), operator_names().join(", ")),
    }
}

fn check_operand(tag: &Value, operator: Operator, rest: &[Value], place: Place<'_>, report: &mut Report) {
    let at = place.item(2);
    let before = report.len();
    match (operator.arity(), rest) {
        (Arity::Ignored, [] | [_]) => return,
        (Arity::One, [value]) => check_values(operator, value, std::slice::from_ref(value), at, report),
        (Arity::Many | Arity::Two, [value]) => check_list(operator, value, at, report),
        (Arity::One | Arity::Many | Arity::Two | Arity::Ignored, _) => report.add(
            place,
            format!("a condition of {} items", rest.len() + 2),
            "3 items: tag, operator and operand",
        ),
    }
    if report.len() == before
        && let Some(code) = tag.as_str().and_then(Code::of)
    {
        check_code(code, operator, rest, place, report);
    }
}

fn check_list(operator: Operator, value: &Value, place: Place<'_>, report: &mut Report) {
    match value.as_array().map(Vec::as_slice) {
        Some([]) | None => report.add(place, describe(value), operator.allowed()),
        Some(list) if operator.arity() == Arity::Two && list.len() != 2 => {
            report.add(place, describe(value), operator.allowed());
        }
        Some(list) => {
            let before = report.len();
            check_values(operator, value, list, place, report);
            if operator.arity() == Arity::Two && report.len() == before && is_descending(list) {
                report.add(place, "a high bound before the low one", operator.allowed());
            }
        }
    }
}

/// Whether there is a type of tag that all the values fit.
fn check_values(operator: Operator, whole: &Value, values: &[Value], place: Place<'_>, report: &mut Report) {
    let fits = |kind: &Kind, value: &Value| kind.fits(operator, value);
    if Kind::ALL.iter().any(|kind| values.iter().all(|value| fits(kind, value))) {
        return;
    }
    let alone = |value: &Value| Kind::ALL.iter().any(|kind| fits(kind, value));
    match values.iter().position(|value| !alone(value)) {
        Some(index) if whole.is_array() && operator.arity() != Arity::One => {
            report.add(place.item(index), describe(&values[index]), operator.allowed());
        }
        Some(_) => report.add(place, describe(whole), operator.allowed()),
        None => report.add(place, format!("{} of several kinds", describe(whole)), operator.allowed()),
    }
}

/// Whether both bounds are numbers or both are dates of one form, and the first is the higher one.
fn is_descending(bounds: &[Value]) -> bool {
    match bounds {
        [Value::Number(low), Value::Number(high)] => whole(low) > whole(high),
        [Value::String(low), Value::String(high)] => match (days_ago(low), days_ago(high)) {
            // The larger the number, the earlier the day.
            (Some(low), Some(high)) => low < high,
            (None, None) => moment(low) > moment(high),
            (Some(_), None) | (None, Some(_)) => false,
        },
        _ => false,
    }
}

/// A date in a form in which texts sort as their moments do.
fn moment(text: &str) -> String {
    let length = "YYYY-MM-DD 00:00:00".len();
    let missing = length.saturating_sub(text.len());
    format!("{text}{}", &" 00:00:00"[" 00:00:00".len().saturating_sub(missing)..])
}

fn whole(number: &serde_json::Number) -> i128 {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).unwrap_or_default()
}

/// The tags whose values are codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Country,
    Language,
}

impl Code {
    /// The operators that such a tag knows.
    pub(super) const OPERATORS: &str = "EQ, NOTEQ, IN, NOTIN, NOTSET or ANY: the tag's values are codes";

    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::Country => "Country",
            Self::Language => "Language",
        }
    }

    pub(super) fn of(tag: &str) -> Option<Self> {
        match tag {
            "Country" => Some(Self::Country),
            "Language" => Some(Self::Language),
            _ => None,
        }
    }

    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Country => "an upper-case code of two letters (ISO 3166-1), such as BR",
            Self::Language => "a lower-case code of two letters (ISO 639-1), such as pt",
        }
    }

    pub(super) fn fits(self, text: &str) -> bool {
        text.len() == 2
            && text.bytes().all(|b| match self {
                Self::Country => b.is_ascii_uppercase(),
                Self::Language => b.is_ascii_lowercase(),
            })
    }
}

/// A condition on such a tag with any other value would match nobody, or, negated, everybody.
fn check_code(code: Code, operator: Operator, rest: &[Value], place: Place<'_>, report: &mut Report) {
    if !Kind::Text.knows(operator) {
        report.add(place.item(1), format!("the operator {}", operator.name()), Code::OPERATORS);
        return;
    }
    let at = place.item(2);
    let fits = |value: &Value| value.as_str().is_some_and(|text| code.fits(text));
    match rest {
        [Value::Array(list)] => {
            let bad = list.iter().enumerate().filter(|(_, value)| !fits(value));
            for (index, value) in bad.take(MOST_ITEM_FINDINGS) {
                report.add(at.item(index), describe(value), code.allowed());
            }
        }
        [value] if !fits(value) => report.add(at, describe(value), code.allowed()),
        _ => {}
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
            "anyOf": Operator::ALL.map(with_operand),
        },
    })
}

/// The schema of the conditions with this operator.
fn with_operand(operator: Operator) -> Value {
    let types = if Kind::Boolean.knows(operator) {
        json!(["string", "integer", "boolean"])
    } else {
        json!(["string", "integer"])
    };
    let one = json!({"type": types});
    let (least, operand) = match operator.arity() {
        Arity::One => (3, one),
        Arity::Many => (3, json!({"type": "array", "minItems": 1, "items": one})),
        Arity::Two => (3, json!({"type": "array", "minItems": 2, "maxItems": 2, "items": one})),
        Arity::Ignored => (2, json!(true)),
    };
    json!({"minItems": least, "prefixItems": [true, {"const": operator.name()}, operand]})
}

/// Where a condition lacks its operand. Only operators that ignore it may.
pub(super) fn pairs(notification: &Object) -> impl Iterator<Item = usize> {
    let list = notification.get("conditions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().enumerate().filter(|(_, condition)| is_pair(condition)).map(|(index, _)| index)
}

fn is_pair(condition: &Value) -> bool {
    condition.as_array().is_some_and(|list| list.len() == 2)
}

/// Writes conditions as all documented samples do: each with a third member, even where nobody looks
/// at it, and a day with its midnight where a bound can only be a date.
pub(super) fn completed(conditions: &Value) -> Value {
    let mut completed = conditions.clone();
    let list = completed.as_array_mut().into_iter().flatten();
    for condition in list.filter_map(Value::as_array_mut) {
        if condition.len() == 2 {
            condition.push(json!(""));
        }
        complete_dates(condition);
    }
    completed
}

fn complete_dates(condition: &mut [Value]) {
    let [_, operator, operand] = condition else { return };
    let Some(operator) = operator.as_str().and_then(Operator::parse) else { return };
    if Kind::Text.knows(operator) {
        return;
    }
    let values = match operand {
        Value::Array(list) => list.as_mut_slice(),
        single => std::slice::from_mut(single),
    };
    for text in values.iter_mut().filter_map(|value| match value {
        Value::String(text) => Some(text),
        _ => None,
    }) {
        if is_day(text) {
            text.push_str(" 00:00");
        }
    }
}

#[cfg(test)]
mod tests;
