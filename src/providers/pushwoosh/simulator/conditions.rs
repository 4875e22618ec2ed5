//! Tag conditions: `[tag, operator, operand]`.
//!
//! A request does not say a tag's type, so an operand is refused only where it has the form of no
//! type that the operator is for.

use jiff::civil::Date;
use serde_json::Value;

/// What is wrong with `conditions`, if anything.
pub(super) fn problem(conditions: &Value) -> Option<&'static str> {
    let Some(list) = conditions.as_array() else {
        return Some("\"conditions\" must be an array of [tag, operator, operand]");
    };
    list.iter().find_map(problem_of_one)
}

fn problem_of_one(condition: &Value) -> Option<&'static str> {
    let parts = condition.as_array().map_or(&[][..], Vec::as_slice);
    let (Some(Value::String(_)), Some(Value::String(operator))) = (parts.first(), parts.get(1)) else {
        return Some("\"conditions\" must be an array of [tag, operator, operand]");
    };
    let is_fitting = match (operator.as_str(), parts.get(2)) {
        ("NOTSET" | "ANY", _) => true,
        ("EQ", Some(operand)) => is_scalar(operand) || operand.is_boolean(),
        ("NOTEQ", Some(operand)) => is_scalar(operand),
        ("GTE" | "LTE", Some(operand)) => is_ordered(operand),
        ("IN" | "NOTIN", Some(Value::Array(list))) => !list.is_empty() && list.iter().all(is_scalar),
        ("BETWEEN", Some(Value::Array(list))) => is_range(list),
        ("EQ" | "NOTEQ" | "GTE" | "LTE" | "IN" | "NOTIN" | "BETWEEN", _) => false,
        (_, _) => return Some("\"conditions\" has an operator that does not exist"),
    };
    (!is_fitting || parts.len() > 3).then_some("\"conditions\" has an operand that its operator can't take")
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || is_whole(value)
}

/// An integer, or a date.
fn is_ordered(value: &Value) -> bool {
    is_whole(value) || value.as_str().is_some_and(|text| is_date(text) || is_days_ago(text))
}

/// With a time behind it or without: the sources disagree.
fn is_date(text: &str) -> bool {
    let is_apart = |rest: &str| rest.is_empty() || rest.starts_with(' ');
    let date = text.split_at_checked(10).filter(|(_, rest)| is_apart(rest));
    date.is_some_and(|(date, _)| Date::strptime("%Y-%m-%d", date).is_ok())
}

fn is_days_ago(text: &str) -> bool {
    let days = text.strip_suffix(" days ago").or_else(|| text.strip_suffix(" day ago"));
    days.is_some_and(|days| days.parse::<u32>().is_ok())
}

/// Two ends, of integers the lower one first.
fn is_range(list: &[Value]) -> bool {
    let [low, high] = list else { return false };
    let is_rising = low.as_f64().zip(high.as_f64()).is_none_or(|(low, high)| low <= high);
    is_ordered(low) && is_ordered(high) && is_rising
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// paceline's own table of rules, valid and invalid jobs side by side.
    const ROWS: &str = include_str!("../../../../tests/rules/pushwoosh.jsonl");

    /// What languages and countries are written like, mixed lists and the order of dates are not
    /// looked at here.
    const LEAST_REFUSED_PERCENT: usize = 80;

    #[test]
    fn operands_fit_their_operators() {
        let operands =
            [json!("red"), json!(5), json!(true), json!(["a"]), json!([1, 5]), json!("90 days ago")];
        for (operator, fitting) in [
            ("EQ", vec![0, 1, 2, 5]),
            ("NOTEQ", vec![0, 1, 5]),
            ("GTE", vec![1, 5]),
            ("LTE", vec![1, 5]),
            ("IN", vec![3, 4]),
            ("NOTIN", vec![3, 4]),
            ("BETWEEN", vec![4]),
            ("NOTSET", vec![0, 1, 2, 3, 4, 5]),
            ("ANY", vec![0, 1, 2, 3, 4, 5]),
            ("LIKE", vec![]),
        ] {
            for (index, operand) in operands.iter().enumerate() {
                let found = problem(&json!([["Tag", operator, operand]]));
                assert_eq!(found.is_none(), fitting.contains(&index), "{operator} {operand}");
            }
        }
    }

    #[test]
    fn shapes_and_ends() {
        for (conditions, is_fine) in [
            (json!([]), true),
            (json!([["Tag", "ANY"]]), true),
            (json!([["Tag", "BETWEEN", ["2026-01-31", "2026-02-28 00:00"]]]), true),
            (json!([["Tag", "EQ"]]), false),
            (json!([["Tag", "EQ", 1, 2]]), false),
            (json!([["Tag", "IN", []]]), false),
            (json!([["Tag", "GTE", "2026-02-30"]]), false),
            (json!([["Tag", "GTE", "days ago"]]), false),
            (json!([["Tag", "BETWEEN", [5, 1]]]), false),
            (json!([["Tag", "BETWEEN", [1, 2, 3]]]), false),
            (json!([[5, "EQ", 1]]), false),
            (json!("Tag"), false),
        ] {
            assert_eq!(problem(&conditions).is_none(), is_fine, "{conditions}");
        }
    }

    #[test]
    fn paceline_lets_nothing_through_that_is_refused_here_and_little_is_taken_that_it_refuses() {
        let (mut valid, mut invalid, mut refused, mut taken) = (0, 0, vec![], vec![]);
        for row in ROWS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let of_conditions = row["rule"].as_str().is_some_and(|rule| rule.starts_with("2.5 "));
            let Some(conditions) = row.pointer("/with/conditions").filter(|_| of_conditions) else {
                continue;
            };
            match (row["finds"].as_array().unwrap().is_empty(), problem(conditions)) {
                (true, None) => valid += 1,
                (true, Some(problem)) => refused.push(format!("{problem}: {row}")),
                (false, Some(_)) => invalid += 1,
                (false, None) => taken.push(row.to_string()),
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert!(valid > 50, "{valid} valid rows");
        let percent = invalid * 100 / (invalid + taken.len());
        assert!(percent >= LEAST_REFUSED_PERCENT, "{percent} % refused, but not:\n{}", taken.join("\n"));
    }
}
