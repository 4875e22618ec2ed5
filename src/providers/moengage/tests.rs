use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::job::{AccountName, Priority, TransactionId};
use crate::providers::pushwoosh::tests::any_json;

pub(super) fn account() -> Account {
    Account {
        base_url: data_center_urls("01").unwrap().0,
        campaigns_url: data_center_urls("01").unwrap().1,
        workspace_id: "DEMO01_DEBUG".to_owned(),
        push_api_key: Secret::new("push-key-1"),
        campaign_api_key: Some(Secret::new("campaign-key-1")),
        requests_per_minute: Some(DEFAULT_REQUESTS_PER_MINUTE),
        on_unknown: OnUnknown::Dead,
    }
}

#[test]
fn the_defaults_that_are_told_are_those_that_hold() {
    for (name, holds) in [
        ("requests_per_minute", DEFAULT_REQUESTS_PER_MINUTE.to_string()),
        ("on_unknown", r#""dead""#.to_owned()),
    ] {
        let key = keys::ALL.iter().find(|key| key.name == name).unwrap();
        assert_eq!(key.default, Some(holds.as_str()), "{name}");
    }
}

pub(super) fn gateway() -> Engaged {
    Engaged { account: account() }
}

pub(super) fn gateway_with(change: impl FnOnce(&mut Account)) -> Engaged {
    let mut account = account();
    change(&mut account);
    Engaged { account }
}

/// The least that is valid for an audience.
pub(super) fn push(audience: &str) -> Value {
    let mut push = json!({
        "campaignName": "Order updates",
        "targetPlatform": ["ANDROID"],
        "targetAudience": audience,
        "payload": {"ANDROID": {"title": "The secret title", "message": "The secret text"}},
        "campaignDelivery": {"type": "soon"},
    });
    match audience {
        "User" => {
            push["targetUserAttributes"] = json!({
                "attribute": "USER_ATTRIBUTE_UNIQUE_ID", "comparisonParameter": "is", "attributeValue": "user-4711",
            });
        }
        "Custom Segment" => push["customSegmentName"] = "Readers".into(),
        _ => {}
    }
    push
}

pub(super) fn job(payload: Value) -> Job {
    let Value::Object(payload) = payload else { panic!("a payload is an object") };
    Job {
        transaction_id: TransactionId::new("job-1").unwrap(),
        account: AccountName::new("news").unwrap(),
        operation: "sendPush".to_owned(),
        payload: payload.into(),
        priority: Priority::Normal,
        not_before: None,
        expires_at: None,
        meta: None,
    }
}

pub(super) fn campaign_job(operation: &str, payload: Value) -> Job {
    Job { operation: operation.to_owned(), ..job(payload) }
}

fn update() -> Job {
    let payload = json!({"campaign_id": "64a1", "request_id": "r-1", "updated_by": "john.doe@abc.com"});
    campaign_job("updateCampaign", payload)
}

fn search() -> Job {
    campaign_job("searchCampaigns", json!({"request_id": "r-1", "limit": 15, "page": 1}))
}

pub(super) fn planned(gateway: &Engaged, payload: Value) -> Delivery {
    gateway.plan(&job(payload)).unwrap().remove(0).unwrap()
}

#[test]
fn operations_are_the_ones_of_the_enum() {
    assert_eq!(MoEngage.operations(), ["sendPush", "updateCampaign", "searchCampaigns"]);
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.name()), Some(operation));
        assert!(MoEngage.payload_schema(operation.name()).is_object());
    }
    assert_eq!(MoEngage.payload_schema("createMessage"), json!(false));
    let mut job = job(push("User"));
    job.operation = "createCampaign".to_owned();
    assert_eq!(gateway().plan(&job).unwrap_err()[0].allowed, "sendPush, updateCampaign, searchCampaigns");
}

#[test]
fn samples_are_valid_jobs_and_cover_every_operation_and_audience() {
    let mut covered = Vec::new();
    for text in MoEngage.samples() {
        let sample: Value = serde_json::from_str(text).unwrap();
        assert_eq!(sample["account"], "news");
        let operation = sample["operation"].as_str().unwrap();
        let job = campaign_job(operation, sample["payload"].clone());
        let planned = gateway().plan(&job).unwrap_or_else(|findings| panic!("{text}: {findings:?}"));
        assert!(planned.iter().all(Result::is_ok));
        assert!(gateway().warnings(&job).is_empty(), "{text}");
        let validator = jsonschema::validator_for(&MoEngage.payload_schema(operation)).unwrap();
        assert!(validator.is_valid(&sample["payload"]), "{text}");
        covered.push(operation.to_owned());
        covered.extend(sample["payload"]["targetAudience"].as_str().map(str::to_owned));
    }
    for part in ["All Users", "Custom Segment", "User"].iter().chain(MoEngage.operations()) {
        assert!(covered.iter().any(|one| one == part), "{part}");
    }
}

/// What the schema can't say: which days exist, which of two numbers is the lower, and that there is
/// content for a targeted platform.
const BEYOND_THE_SCHEMA: [&str; 6] = [
    "1.3 payload",
    "1.6 later date",
    "1.6 periodic endDate",
    "1.6 the past is left to the provider",
    "1.7 is between",
    "1.7 is not between",
];

#[test]
fn the_schema_of_send_push_agrees_with_the_table_of_its_rules() {
    let validator = jsonschema::validator_for(&fields::send_push_schema()).unwrap();
    let mut bases = std::collections::BTreeMap::new();
    let mut rows = 0;
    for line in include_str!("../../../tests/rules/moengage.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["operation"] == "sendPush" {
            bases.insert(row["base"].to_string(), row);
            continue;
        }
        let Some(base) = bases.get(&row["on"].to_string()) else { continue };
        let mut payload = base["payload"].clone();
        let changed = payload.pointer_mut(base["at"].as_str().unwrap_or_default()).unwrap();
        let changed = changed.as_object_mut().unwrap();
        for name in row["without"].as_array().into_iter().flatten() {
            changed.remove(name.as_str().unwrap());
        }
        changed.extend(row["with"].as_object().cloned().unwrap_or_default());
        let valid = row["finds"].as_array().unwrap().is_empty();
        let rule = row["rule"].as_str().unwrap();
        let excused = !valid && (BEYOND_THE_SCHEMA.contains(&rule) || rule == "credentials in any capitals");
        assert!(validator.is_valid(&payload) == valid || excused, "{line}");
        rows += 1;
    }
    assert!(rows > 600, "{rows} rows");
}

#[test]
fn a_job_is_one_delivery() {
    let delivery = planned(&gateway(), push("User"));
    assert_eq!(delivery.id.as_str(), "job-1");
    assert_eq!(*delivery.job, job(push("User")));
    assert_eq!((delivery.class, delivery.batch.clone()), (Class::Counted(Pool::main("push")), None));
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    assert_eq!(planned(&unlimited, push("User")).class, Class::Exempt);
    assert_eq!(gateway().fallback_pool(&delivery), None);
    assert_eq!(gateway().deliveries_per_request(), 1);
}

#[test]
fn campaign_calls_are_counted_even_where_pushes_are_not() {
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    for (job, reads) in [(update(), false), (search(), true)] {
        for gateway in [gateway(), gateway_with(|account| account.requests_per_minute = None)] {
            let delivery = gateway.plan(&job).unwrap().remove(0).unwrap();
            assert_eq!(delivery.id.as_str(), "job-1");
            assert_eq!(*delivery.job, job);
            assert_eq!(
                (delivery.class, delivery.batch.clone()),
                (Class::Counted(Pool::beside("campaigns")), None)
            );
            assert_eq!(gateway.fallback_pool(&delivery), None);
            assert_eq!(gateway.repeat(&delivery), Repeat::Harmless);
            assert_eq!(gateway.reads(&delivery), reads);
        }
    }
    let exempt = planned(&unlimited, push("User"));
    assert_eq!(unlimited.fallback_pool(&exempt), Some(Pool::main("push")));
    assert!(!unlimited.reads(&exempt));
}

#[test]
fn campaign_calls_need_a_key_of_their_own() {
    let without = gateway_with(|account| account.campaign_api_key = None);
    for mut job in [update(), search()] {
        let findings = without.plan(&job).unwrap_err();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].pointer, "/operation");
        assert!(findings[0].allowed.contains("accounts.news.campaign_api_key"), "{}", findings[0]);
        // Beside all others.
        Arc::make_mut(&mut job.payload).shift_remove("request_id");
        let places: Vec<_> = without.plan(&job).unwrap_err().into_iter().map(|one| one.pointer).collect();
        assert_eq!(places, ["/operation", "/payload/request_id"]);
    }
    assert!(without.plan(&job(push("User"))).is_ok());
    assert_eq!(without.pools().len(), 2, "what waits from the time of the key is still found");
}

#[test]
fn what_may_be_repeated() {
    let resend = gateway_with(|account| account.on_unknown = OnUnknown::Resend);
    for (audience, dead, resent) in [
        ("All Users", Repeat::Always, Repeat::Always),
        ("Custom Segment", Repeat::Always, Repeat::Always),
        ("User", Repeat::Never, Repeat::Always),
    ] {
        assert_eq!(gateway().repeat(&planned(&gateway(), push(audience))), dead, "{audience}");
        assert_eq!(resend.repeat(&planned(&resend, push(audience))), resent, "{audience}");
    }
    for (word, expected) in
        [("dead", Some(OnUnknown::Dead)), ("resend", Some(OnUnknown::Resend)), ("Dead", None), ("", None)]
    {
        assert_eq!(OnUnknown::parse(word), expected);
    }
}

#[test]
fn the_pools_are_the_workspace_s() {
    let seconds = Duration::from_secs;
    let window = |requests, length| Window { requests, length: seconds(length) };
    let pools = gateway().pools();
    let limits: Vec<_> = pools.iter().map(|(pool, _, windows)| (*pool, windows.clone())).collect();
    let campaigns = vec![window(10, 1), window(100, 60), window(6_000, 3_600)];
    assert_eq!(
        limits,
        [(Pool::main("push"), vec![window(10_000, 60)]), (Pool::beside("campaigns"), campaigns.clone())]
    );
    let keys = |gateway: &Engaged| gateway.pools().into_iter().map(|(_, key, _)| key).collect::<Vec<_>>();
    assert_ne!(keys(&gateway())[0], keys(&gateway())[1]);
    let rotated = gateway_with(|account| {
        account.push_api_key = Secret::new("push-key-2");
        account.campaign_api_key = Some(Secret::new("campaign-key-2"));
    });
    assert_eq!(keys(&rotated), keys(&gateway()), "new keys bring no new limits");
    let other = gateway_with(|account| account.workspace_id = "OTHER".to_owned());
    assert!(keys(&other).iter().all(|key| !keys(&gateway()).contains(key)));
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    assert_eq!(unlimited.pools()[0].2, []);
    assert_eq!(unlimited.pools()[1].2, campaigns);
}

/// The gateway of an account with these keys, and the keys that every account needs.
fn configured(keys: &str) -> Result<Arc<dyn Gateway>, String> {
    let file = format!(
        "[accounts.news]\nprovider = \"moengage\"\npush_api_key = {{ env = \"KEY\" }}\n\
         campaign_api_key = {{ env = \"KEY\" }}\n{keys}"
    );
    let environment = crate::config::Environment::of([("KEY", "key-1")]);
    let loaded = crate::config::load_text(&file, None, &environment, &crate::providers::ALL)
        .map_err(|errors| format!("{errors:?}"))?;
    Ok(loaded.config.accounts[&AccountName::new("news").unwrap()].gateway.clone())
}

#[test]
fn one_address_serves_both_apis_and_a_data_center_has_two() {
    for (keys, push_url, campaigns_url) in [
        ("data_center = \"101\"", "https://pushapi-101.moengage.com/v2", "https://api-101.moengage.com/core"),
        ("base_url = \"http://127.0.0.1:9/moe\"", "http://127.0.0.1:9/moe/v2", "http://127.0.0.1:9/moe/core"),
    ] {
        let gateway = configured(&format!("workspace_id = \"W\"\n{keys}")).unwrap();
        for (job, url) in
            [(job(push("User")), push_url), (update(), campaigns_url), (search(), campaigns_url)]
        {
            let planned = gateway.plan(&job).unwrap();
            let request = gateway.request(&[planned[0].as_ref().unwrap()]);
            assert!(request.url.as_str().starts_with(url), "{}", request.url);
        }
    }
    let refused = configured("workspace_id = \"W:1\"\ndata_center = \"01\"").err().unwrap();
    assert!(refused.contains("workspace_id") && refused.contains("colon"), "{refused}");
}

#[test]
fn a_data_center_can_not_name_another_host() {
    for (name, hosts) in [
        ("01", Some(["pushapi-01.moengage.com", "api-01.moengage.com"])),
        ("101", Some(["pushapi-101.moengage.com", "api-101.moengage.com"])),
        ("EU-1", Some(["pushapi-eu-1.moengage.com", "api-eu-1.moengage.com"])),
        ("", None),
        ("01.evil.example/", None),
        ("01@evil", None),
        ("0 1", None),
        ("0123456789abcdef0", None),
    ] {
        let urls = data_center_urls(name).ok();
        let found = urls
            .as_ref()
            .map(|(push, campaigns)| [push, campaigns].map(|url| url.root().host_str().unwrap()));
        assert_eq!(found, hosts, "{name:?}");
    }
}

const NAMES: &[&str] = &[
    "campaignName",
    "targetPlatform",
    "targetAudience",
    "payload",
    "campaignDelivery",
    "targetUserAttributes",
    "attribute",
    "attributeValue",
    "comparisonParameter",
    "type",
    "date",
    "time",
    "ANDROID",
    "conversionGoals",
    "attrs",
    "filter",
    "value",
    "advancedSettings",
    "ttl",
    "richContent",
    "additionalActions",
    "fallback",
];
const WORDS: &[&str] = &[
    "User",
    "Custom Segment",
    "soon",
    "later",
    "in",
    "is",
    "ANDROID",
    "11/07/2016",
    "01:00 PM",
    "is between",
    "1,2",
    "",
];

const CAMPAIGN_NAMES: &[&str] = &[
    "campaign_id",
    "request_id",
    "updated_by",
    "basic_details",
    "channel",
    "limit",
    "page",
    "campaign_fields",
    "created_date",
    "from_date",
    "to_date",
    "status",
    "delivery_type",
    "tags",
];
const CAMPAIGN_WORDS: &[&str] =
    &["a@b", "Active", "ONE_TIME", "PUSH", "2024-06-16", "16-06-2024", ".", "..", "a/b", "\t", "\u{85}", ""];

static CAMPAIGN_SCHEMAS: LazyLock<BTreeMap<&str, jsonschema::Validator>> = LazyLock::new(|| {
    let operations = ["updateCampaign", "searchCampaigns"].into_iter();
    operations
        .map(|name| (name, jsonschema::validator_for(&MoEngage.payload_schema(name)).unwrap()))
        .collect()
});

proptest! {
    #[test]
    fn plan_never_panics(payload in any_json(NAMES, WORDS), part in any_json(NAMES, WORDS), at in 0..NAMES.len()) {
        if payload.is_object() {
            let job = job(payload);
            let _ = gateway().plan(&job);
            let _ = gateway().warnings(&job);
        }
        let mut nearly = push("User");
        nearly[NAMES[at]] = part;
        let job = job(nearly);
        if let Ok(planned) = gateway().plan(&job) {
            let delivery = planned[0].as_ref().unwrap();
            prop_assert_eq!(&gateway().plan(&delivery.job).unwrap(), &planned);
        }
        let _ = gateway().warnings(&job);
    }

    #[test]
    fn plan_of_campaign_calls_never_panics_and_schemas_refuse_no_valid_job(
        part in any_json(CAMPAIGN_NAMES, CAMPAIGN_WORDS), at in 0..CAMPAIGN_NAMES.len(),
    ) {
        for mut job in [update(), search()] {
            Arc::make_mut(&mut job.payload).insert(CAMPAIGN_NAMES[at].to_owned(), part.clone());
            let _ = gateway().warnings(&job);
            if let Ok(planned) = gateway().plan(&job) {
                let delivery = planned[0].as_ref().unwrap();
                prop_assert_eq!(&gateway().plan(&delivery.job).unwrap(), &planned);
                let _ = gateway().request(&[delivery]);
                let payload = Value::Object(Object::clone(&job.payload));
                prop_assert!(CAMPAIGN_SCHEMAS[job.operation.as_str()].is_valid(&payload), "{payload}");
            }
        }
    }
}
