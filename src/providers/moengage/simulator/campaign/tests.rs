use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::problem;

/// paceline's own table of rules, valid and invalid jobs side by side.
const ROWS: &str = include_str!("../../../../../tests/rules/moengage.jsonl");

/// Not all invalid jobs: some are so by paceline's own rules, such as a credential in a job.
const LEAST_REFUSED_PERCENT: usize = 97;

/// Names and offsets that paceline leaves to the provider: here there must be a moment to send at.
const NO_ZONES: [&str; 3] = ["Asia/Mumbai", "IST", "+05:30"];

/// A valid body for single users on all platforms, changed.
fn body(at: &str, changes: Value) -> Value {
    let mut body = json!({
        "appId": "W", "campaignName": "Order updates", "signature": "0".repeat(64),
        "targetPlatform": ["ANDROID", "IOS", "WEB"], "targetAudience": "User",
        "targetUserAttributes":
            {"attribute": "PUSH_ID", "comparisonParameter": "is", "attributeValue": "u-1"},
        "payload": {
            "ANDROID": {"title": "T", "message": "M"},
            "IOS": {"title": "T", "message": "M"},
            "WEB": {"title": "T", "message": "M", "redirectURL": "https://a.example", "iconURL": "i.png"},
        },
        "campaignDelivery": {"type": "soon"},
        "conversionGoals": [{"name": "Bought", "eventName": "Bought"}],
        "advancedSettings": {},
    });
    change(&mut body, at, changes.as_object().unwrap());
    body
}

fn change(body: &mut Value, at: &str, changes: &Map<String, Value>) {
    body.pointer_mut(at).and_then(Value::as_object_mut).unwrap().extend(changes.clone());
}

fn goal(filter: &str, kind: &str, value: Option<Value>) -> Value {
    let mut attrs = json!({"name": "price", "filter": filter, "type": kind});
    if let Some(value) = value {
        attrs["value"] = value;
    }
    json!({"attrs": attrs})
}

const TARGET: &str = "/targetUserAttributes";
const ANDROID: &str = "/payload/ANDROID";
const IOS: &str = "/payload/IOS";
const WEB: &str = "/payload/WEB";
const SETTINGS: &str = "/advancedSettings";

#[test]
fn what_is_documented_is_taken() {
    for (at, changes) in [
        ("", json!({})),
        ("", json!({"payload": {"WEB": {"title": "T", "message": "M", "redirectURL": "a", "iconURL": "b"}}})),
        ("", json!({"campaignTags": ["Accounts"]})),
        (TARGET, json!({"attribute": "loyalty_number", "isCustom": true})),
        (ANDROID, json!({"richContent": [{"type": "image", "value": "x"}, {"type": "coupon"}]})),
        (ANDROID, json!({"richContent": [{"value": "x"}]})),
        (ANDROID, json!({"defaultAction": {"type": "navigation", "kvPairs": {"a": "b"}}})),
        (ANDROID, json!({"defaultAction": {"value": "x"}})),
        (ANDROID, json!({"additionalActions": [{"type": "call", "name": "Call"}, {"value": "x"}]})),
        (ANDROID, json!({"fallback": {"message": "M"}})),
        (IOS, json!({"richContent": [{"type": "gif"}, {"type": "video"}, {"type": "sound"}]})),
        (IOS, json!({"additionalActions": [{"category": "INVITE"}]})),
        (IOS, json!({"additionalActions": []})),
        (IOS, json!({"enableIosBadge": "true"})),
        (WEB, json!({"imageURL": "{{image}}", "autoDismiss": true})),
        (SETTINGS, json!({"ttl": {"ANDROID": 0, "WEB": 10_081}, "ignoreFC": "true", "countFC": false})),
        (SETTINGS, json!({"notificationPrioritySettings": {"Android": "Low", "iOS": 5}})),
        (SETTINGS, json!({"campaignThrottleTime": 360, "campaignThrottleRpm": 250_001, "inboxExpiry": 1})),
    ] {
        assert_eq!(problem(&body(at, changes.clone())), None, "{at} {changes}");
    }
}

#[test]
fn what_is_not_is_named_and_not_repeated() {
    for (at, changes, expected) in [
        ("", json!({"payload": {"ANDROID": {"title": "T"}}}), "message"),
        ("", json!({"targetPlatform": ["IOS"], "payload": {"WEB": {}}}), "targeted platform"),
        ("", json!({"campaignTags": "hunter2"}), "campaignTags"),
        (TARGET, json!({"attribute": "hunter2"}), "isCustom"),
        (TARGET, json!({"attribute": "hunter2", "isCustom": false}), "isCustom"),
        (TARGET, json!({"isCustom": "true"}), "targetUserAttributes"),
        (ANDROID, json!({"richContent": [{"type": "gif"}]}), "ANDROID: richContent"),
        (ANDROID, json!({"defaultAction": {"type": "url"}}), "defaultAction"),
        (ANDROID, json!({"defaultAction": {"kvPairs": {"a": 1}}}), "defaultAction"),
        (ANDROID, json!({"additionalActions": [{"type": "open"}]}), "additionalActions"),
        (ANDROID, json!({"additionalActions": [{}, {}, {}]}), "additionalActions"),
        (ANDROID, json!({"fallback": {"title": 5}}), "fallback"),
        (IOS, json!({"richContent": [{"type": "image"}, {"type": "audio"}]}), "IOS: richContent"),
        (IOS, json!({"additionalActions": [{"category": "A"}, {"category": "B"}]}), "additionalActions"),
        (IOS, json!({"additionalActions": ["call"]}), "additionalActions"),
        (IOS, json!({"enableIosBadge": 1}), "enableIosBadge"),
        (WEB, json!({"imageURL": "http://a.example"}), "imageURL"),
        (SETTINGS, json!({"ttl": {"ANDROID": 1.5}}), "ttl"),
        (SETTINGS, json!({"ttl": {"WEB": -1}}), "ttl"),
        (SETTINGS, json!({"ignoreFC": "True"}), "ignoreFC"),
        (SETTINGS, json!({"notificationPrioritySettings": {"iOS": 2}}), "notificationPrioritySettings"),
        (SETTINGS, json!({"campaignThrottleTime": 361}), "campaignThrottleTime"),
        (SETTINGS, json!({"campaignThrottleRpm": 0}), "campaignThrottleRpm"),
        (SETTINGS, json!({"inboxExpiry": "1"}), "inboxExpiry"),
        (SETTINGS, json!({"iOSTargetDevice": "default"}), "iOSTargetDevice"),
        (SETTINGS, json!({"bypassDND": "true"}), "bypassDND"),
    ] {
        let found = problem(&body(at, changes.clone())).unwrap_or_else(|| panic!("{at} {changes} is taken"));
        assert!(found.contains(expected) && !found.contains("hunter2"), "{at} {changes}: {found}");
    }
}

#[test]
fn operators_of_goals_hold_to_their_types_and_values() {
    let text = ["is", "is not", "contains", "does not contain", "starts with", "does not start with"];
    let text = text.into_iter().chain(["ends with", "does not end with"]);
    let texts = ["in the following", "not in the following"].into_iter();
    let number = ["is equal to", "is not equal to", "is greater than", "is less than"].into_iter();
    let bounds = ["is between", "is not between"].into_iter();
    let nothing = ["exists", "does not exist"].into_iter();
    let values = [Some(json!("a")), Some(json!(["a"])), Some(json!(1.5)), Some(json!("9,8")), None];
    // By the type and the number of the value; two bounds are also a text.
    let allowed = text
        .map(|filter| (filter, "string", vec![0, 3]))
        .chain(texts.map(|filter| (filter, "string", vec![1])))
        .chain(number.map(|filter| (filter, "numeric", vec![2])))
        .chain(bounds.map(|filter| (filter, "numeric", vec![3])))
        .chain(nothing.clone().map(|filter| (filter, "string", vec![4])))
        .chain(nothing.map(|filter| (filter, "numeric", vec![4])))
        .chain([("is like", "string", vec![])]);
    let mut table: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (filter, kind, fitting) in allowed {
        for kind in ["string", "numeric", "double"] {
            table.entry((filter, kind)).or_default();
        }
        table.insert((filter, kind), fitting);
    }
    assert_eq!(table.len(), 19 * 3);
    for ((filter, kind), fitting) in table {
        for (index, value) in values.iter().enumerate() {
            let body = body("/conversionGoals/0", goal(filter, kind, value.clone()));
            let expected = fitting.contains(&index);
            assert_eq!(problem(&body).is_none(), expected, "{filter} {kind} {value:?}");
        }
    }
}

/// What was found of the rows: the valid ones that are refused, and of the invalid ones how many
/// there are and those that are taken.
#[derive(Default)]
struct Compared {
    valid: usize,
    invalid: usize,
    refused: Vec<String>,
    taken: Vec<String>,
}

fn compare() -> Compared {
    let lines = ROWS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (bases, rows): (Vec<Value>, Vec<Value>) = lines.partition(|line| line.get("base").is_some());
    let mut compared = Compared::default();
    for row in rows {
        let base = bases.iter().find(|base| base["base"] == row["on"]).unwrap();
        if base["operation"] != "sendPush" {
            continue;
        }
        let mut content = base["payload"].clone();
        let at = base.get("at").and_then(Value::as_str).unwrap_or_default();
        let target = content.pointer_mut(at).and_then(Value::as_object_mut).unwrap();
        for name in row.get("without").and_then(Value::as_array).into_iter().flatten() {
            target.shift_remove(name.as_str().unwrap()).unwrap();
        }
        target.extend(row.get("with").and_then(Value::as_object).cloned().unwrap_or_default());
        content["appId"] = json!("W");
        content["signature"] = json!("0".repeat(64));
        let zone = content.pointer("/campaignDelivery/timezone").and_then(Value::as_str);
        let is_exception = zone.is_some_and(|zone| NO_ZONES.contains(&zone));
        let is_valid = row["finds"].as_array().unwrap().is_empty();
        let found = problem(&content);
        compared.valid += usize::from(is_valid);
        compared.invalid += usize::from(!is_valid);
        match (is_valid, found) {
            (true, Some(problem)) if !is_exception => compared.refused.push(format!("{problem}: {row}")),
            (false, None) => compared.taken.push(row.to_string()),
            (true, _) | (false, Some(_)) => {}
        }
    }
    compared
}

#[test]
fn paceline_lets_nothing_through_that_is_refused_here_and_little_is_taken_that_it_refuses() {
    let Compared { valid, invalid, refused, taken } = compare();
    assert!(valid > 200 && invalid > 300, "{valid} valid and {invalid} invalid rows");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    let percent = (invalid - taken.len()) * 100 / invalid;
    assert!(
        percent >= LEAST_REFUSED_PERCENT,
        "{percent} % of {invalid} refused, but not:\n{}",
        taken.join("\n")
    );
}
