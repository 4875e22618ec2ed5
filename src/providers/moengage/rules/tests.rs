use serde_json::json;

use super::*;
use crate::job::Finding;
use crate::providers::Gateway;
use crate::providers::moengage::fields;
use crate::providers::moengage::tests::{gateway, job, push};

const REMOVED: &str = "<none>";

/// The least valid payload for an audience, changed by `members`.
fn with(audience: &str, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("members are an object") };
    let mut payload = push(audience);
    let object = payload.as_object_mut().unwrap();
    for (name, value) in members {
        if value == json!(REMOVED) {
            object.remove(&name)
        } else {
            object.insert(name, value)
        };
    }
    payload
}

fn findings(payload: &Value) -> Vec<Finding> {
    gateway().plan(&job(payload.clone())).err().unwrap_or_default()
}

fn target(members: Value) -> Value {
    let mut target =
        json!({"attribute": "USER_ATTRIBUTE_UNIQUE_ID", "comparisonParameter": "is", "attributeValue": "u"});
    target.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    json!({"targetUserAttributes": target})
}

fn at(members: Value) -> Value {
    json!({"campaignDelivery": members})
}

fn rows() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let app = json!({"title": "t", "message": "m"});
    let web = json!({"title": "t", "message": "m", "redirectURL": "https://a", "iconURL": "https://b"});
    let goal = json!({"name": "n", "eventName": "e"});
    let many = |n: usize| vec!["v"; n];
    vec![
        ("All Users", json!({}), vec![]),
        ("Custom Segment", json!({}), vec![]),
        ("User", json!({}), vec![]),
        // Names and kinds
        ("User", json!({"campaignName": "Five5"}), vec![]),
        ("User", json!({"campaignName": "Grüße"}), vec![]),
        ("User", json!({"campaignName": "Four"}), vec!["campaignName"]),
        ("User", json!({"campaignName": "      "}), vec!["campaignName"]),
        ("User", json!({"campaignName": 12345}), vec!["campaignName"]),
        ("User", json!({"campaignName": REMOVED}), vec!["campaignName"]),
        ("User", json!({"requestType": "push"}), vec![]),
        ("User", json!({"requestType": "email"}), vec!["requestType"]),
        ("User", json!({"targetPlatform": ["ANDROID", "IOS"]}), vec![]),
        ("User", json!({"targetPlatform": "ANDROID"}), vec!["targetPlatform"]),
        ("User", json!({"targetPlatform": []}), vec!["targetPlatform"]),
        ("User", json!({"targetPlatform": ["android"]}), vec!["targetPlatform/0"]),
        ("User", json!({"targetPlatform": REMOVED}), vec!["targetPlatform"]),
        // Audiences
        ("User", json!({"targetAudience": "user"}), vec!["targetAudience"]),
        ("User", json!({"targetAudience": REMOVED}), vec!["targetAudience"]),
        ("User", json!({"targetUserAttributes": REMOVED}), vec!["targetUserAttributes"]),
        ("User", json!({"targetUserAttributes": null}), vec!["targetUserAttributes"]),
        ("Custom Segment", json!({"customSegmentName": REMOVED}), vec!["customSegmentName"]),
        ("Custom Segment", json!({"customSegmentName": ""}), vec!["customSegmentName"]),
        ("User", target(json!({"attribute": "PUSH_ID"})), vec![]),
        ("User", target(json!({"attribute": "shoe_size"})), vec!["targetUserAttributes/attribute"]),
        ("User", target(json!({"attribute": "shoe_size", "isCustom": true})), vec![]),
        (
            "User",
            target(json!({"attribute": "shoe_size", "isCustom": false})),
            vec!["targetUserAttributes/attribute"],
        ),
        ("User", target(json!({"isCustom": "true"})), vec!["targetUserAttributes/isCustom"]),
        ("User", target(json!({"attributeValue": ""})), vec!["targetUserAttributes/attributeValue"]),
        ("User", target(json!({"attributeValue": ["u"]})), vec!["targetUserAttributes/attributeValue"]),
        ("User", target(json!({"attributeValue": null})), vec!["targetUserAttributes/attributeValue"]),
        ("User", target(json!({"comparisonParameter": "in", "attributeValue": many(50)})), vec![]),
        (
            "User",
            target(json!({"comparisonParameter": "in", "attributeValue": many(51)})),
            vec!["targetUserAttributes/attributeValue"],
        ),
        (
            "User",
            target(json!({"comparisonParameter": "in", "attributeValue": []})),
            vec!["targetUserAttributes/attributeValue"],
        ),
        (
            "User",
            target(json!({"comparisonParameter": "in", "attributeValue": "u"})),
            vec!["targetUserAttributes/attributeValue"],
        ),
        (
            "User",
            target(json!({"comparisonParameter": "in", "attributeValue": ["u", 5]})),
            vec!["targetUserAttributes/attributeValue/1"],
        ),
        (
            "User",
            target(json!({"comparisonParameter": "like"})),
            vec!["targetUserAttributes/comparisonParameter"],
        ),
        // Content
        ("User", json!({"payload": {"ANDROID": app, "IOS": app, "WEB": web}}), vec![]),
        ("User", json!({"payload": {"ANDROID": {"title": "t"}}}), vec!["payload/ANDROID/message"]),
        (
            "User",
            json!({"payload": {"ANDROID": {"title": "", "message": "m"}}}),
            vec!["payload/ANDROID/title"],
        ),
        ("User", json!({"payload": {"ANDROID": "text"}}), vec!["payload/ANDROID"]),
        (
            "User",
            json!({"payload": {"ANDROID": app, "WEB": app}}),
            vec!["payload/WEB/redirectURL", "payload/WEB/iconURL"],
        ),
        ("User", json!({"payload": {"IOS": app}}), vec!["payload"]),
        ("User", json!({"payload": {}}), vec!["payload"]),
        ("User", json!({"payload": "text"}), vec!["payload"]),
        ("User", json!({"payload": REMOVED}), vec!["payload"]),
        // Times
        ("User", at(json!({"type": "later", "date": "11/07/2016", "time": "04:33 PM"})), vec![]),
        (
            "User",
            at(json!({"type": "later", "date": "13/07/2016", "time": "16:33"})),
            vec!["campaignDelivery/date", "campaignDelivery/time"],
        ),
        ("User", at(json!({"type": "later"})), vec!["campaignDelivery/date", "campaignDelivery/time"]),
        (
            "User",
            at(
                json!({"type": "periodic", "endDate": "11/07/2016", "time": "04:55 PM", "repeatAfter": "1", "timezone": "Asia/Calcutta"}),
            ),
            vec![],
        ),
        (
            "User",
            at(json!({"type": "periodic", "endDate": "11/07/2016", "time": "04:55 PM", "repeatAfter": 1})),
            vec!["campaignDelivery/repeatAfter"],
        ),
        (
            "User",
            at(json!({"type": "periodic", "endDate": "11/07/2016", "time": "04:55 PM"})),
            vec!["campaignDelivery/repeatAfter"],
        ),
        ("User", at(json!({"type": "Soon"})), vec!["campaignDelivery/type"]),
        ("User", at(json!({})), vec!["campaignDelivery/type"]),
        ("User", at(json!("soon")), vec!["campaignDelivery"]),
        ("User", at(json!(REMOVED)), vec!["campaignDelivery"]),
        // The rest
        ("User", json!({"campaignTags": ["a"], "conversionGoals": vec![goal.clone(); 5]}), vec![]),
        ("User", json!({"conversionGoals": vec![goal; 6]}), vec!["conversionGoals"]),
        ("User", json!({"conversionGoals": [{"name": "n"}]}), vec!["conversionGoals/0/eventName"]),
        ("User", json!({"campaignTags": "a"}), vec!["campaignTags"]),
        ("User", json!({"advancedSettings": []}), vec!["advancedSettings"]),
        ("User", json!({"newMember": [1]}), vec![]),
        ("User", json!({"appId": "a", "signature": "s", "auth": "t"}), vec!["appId", "signature", "auth"]),
        // All at once
        (
            "User",
            json!({"appId": "a", "campaignName": "", "targetPlatform": [], "payload": 5, "campaignDelivery": {}}),
            vec!["appId", "campaignName", "targetPlatform", "payload", "campaignDelivery/type"],
        ),
    ]
}

#[test]
fn payloads_valid_and_invalid() {
    let validator = jsonschema::validator_for(&fields::send_push_schema()).unwrap();
    for (audience, members, expected) in rows() {
        let payload = with(audience, members.clone());
        let found: Vec<_> = findings(&payload).into_iter().map(|finding| finding.pointer).collect();
        let expected: Vec<_> = expected.into_iter().map(|place| format!("/payload/{place}")).collect();
        assert_eq!(found, expected, "{audience} {members}");
        if expected.is_empty() {
            assert!(validator.is_valid(&payload), "the schema is stricter than the check: {members}");
        }
    }
}

#[test]
fn findings_hold_no_data_of_customers() {
    let payload = with(
        "User",
        json!({
            "campaignName": ["SECRET"], "targetPlatform": ["SECRET"], "payload": {"ANDROID": "SECRET", "SECRET x": 1},
            "targetUserAttributes": {"attribute": "SECRET", "attributeValue": ["SECRET"], "comparisonParameter": "is"},
            "campaignDelivery": {"type": "later", "date": "SECRET", "time": "SECRET"}, "SECRET member": 1,
            "conversionGoals": [{"name": "n", "eventName": "e", "attrs": {"name": "SECRET", "filter": "is between",
                "type": "SECRET", "value": "SECRET", "SECRET z": 1}}],
            "advancedSettings": {"ttl": {"ANDROID": "SECRET"}, "ignoreFC": "SECRET", "SECRET y": 1},
        }),
    );
    let mut all = findings(&payload);
    assert!(all.len() >= 11, "{all:?}");
    all.extend(gateway().warnings(&job(payload)));
    for finding in all {
        assert!(!finding.to_string().contains("SECRET"), "{finding}");
    }
}

#[test]
fn warnings_name_what_is_likely_a_mistake() {
    let app = json!({"title": "t", "message": "m"});
    for (members, expected) in [
        (json!({}), vec![]),
        (json!({"campainTags": []}), vec!["/payload/campainTags"]),
        (json!({"targetPlatform": ["ANDROID", "IOS"]}), vec!["/payload/payload/IOS"]),
        (json!({"payload": {"ANDROID": app, "IOS": app}}), vec!["/payload/payload/IOS"]),
        (json!({"campaignName": "A|BCDE"}), vec!["/payload/campaignName"]),
    ] {
        let payload = with("User", members.clone());
        let found: Vec<_> = gateway().warnings(&job(payload)).into_iter().map(|one| one.pointer).collect();
        assert_eq!(found, expected, "{members}");
    }
}
