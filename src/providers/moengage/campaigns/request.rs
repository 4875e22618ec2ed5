//! Building requests of the campaign API.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::Value;

use super::fields::{Word, day};
use crate::config::Secret;
use crate::job::{Job, Object, json_of};
use crate::ports::WireRequest;
use crate::providers::moengage::Account;

const CAMPAIGNS: &str = "core-services/v1/campaigns";

/// Everything but RFC 3986's unreserved characters is escaped, so that no id can leave its segment
/// or be read as anything else by what stands before the provider.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const WORKSPACE: HeaderName = HeaderName::from_static("moe-appkey");

/// The request of an `updateCampaign` delivery: the id goes into the address, the rest is the body.
pub(in crate::providers::moengage) fn update(account: &Account, job: &Job) -> WireRequest {
    let mut body = Object::clone(&job.payload);
    let id = body.shift_remove("campaign_id");
    let id = id.as_ref().and_then(Value::as_str).unwrap_or_default();
    let path = format!("{CAMPAIGNS}/{}", utf8_percent_encode(id, ESCAPED));
    call(account, Method::PATCH, &path, body)
}

/// The request of a `searchCampaigns` delivery.
pub(in crate::providers::moengage) fn search(account: &Account, job: &Job) -> WireRequest {
    call(account, Method::POST, &format!("{CAMPAIGNS}/search"), as_documented(Object::clone(&job.payload)))
}

fn call(account: &Account, method: Method, path: &str, body: Object) -> WireRequest {
    let key = account.campaign_api_key.as_ref();
    let key = key.expect("plan() refuses campaign calls of an account without the key"); // hence can't fail
    let basic = format!("Basic {}", user_and_password(&account.workspace_id, key));
    WireRequest {
        method,
        url: account.campaigns_url.endpoint(path),
        headers: vec![(AUTHORIZATION, hidden(&basic)), (WORKSPACE, hidden(&account.workspace_id))],
        body: json_of(&body).into(),
    }
}

/// What Basic authentication sends.
pub(super) fn user_and_password(workspace_id: &str, key: &Secret) -> String {
    STANDARD.encode(format!("{workspace_id}:{}", key.expose()))
}

/// A header's value that no library below prints.
fn hidden(text: &str) -> HeaderValue {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value = value.expect("the configuration takes no control characters, all others fit"); // hence can't fail
    value.set_sensitive(true);
    value
}

/// The same search in the provider's own spelling, where its documents disagree and more than one is
/// taken.
fn as_documented(mut payload: Object) -> Object {
    let Some(filters) = payload.get_mut("campaign_fields").and_then(Value::as_object_mut) else {
        return payload;
    };
    for word in Word::ALL {
        let list = filters.get_mut(word.member()).and_then(Value::as_array_mut);
        list.into_iter().flatten().for_each(|item| rewrite(item, |text| word.written(text)));
    }
    let mut created = filters.get_mut("created_date").and_then(Value::as_object_mut);
    for name in ["from_date", "to_date"] {
        let date = created.as_mut().and_then(|created| created.get_mut(name));
        date.into_iter().for_each(|item| rewrite(item, |text| day(text).map(|day| day.to_string())));
    }
    payload
}

fn rewrite<T: Into<Value>>(value: &mut Value, written: impl Fn(&str) -> Option<T>) {
    if let Some(text) = value.as_str().and_then(written) {
        *value = text.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::Gateway;
    use crate::providers::moengage::tests::{campaign_job, gateway, gateway_with};

    fn sent(gateway: &impl Gateway, operation: &str, payload: Value) -> (WireRequest, Value) {
        let planned = gateway.plan(&campaign_job(operation, payload)).unwrap();
        let request = gateway.request(&[planned[0].as_ref().unwrap()]);
        let body = serde_json::from_slice(&request.body).unwrap();
        (request, body)
    }

    fn header<'a>(request: &'a WireRequest, name: &str) -> &'a HeaderValue {
        let mut found = request.headers.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        let value = found.next().unwrap();
        assert!(found.next().is_none() && request.headers.len() == 2);
        value
    }

    #[test]
    fn an_update_is_the_producer_s_body_without_the_id() {
        let payload = json!({
            "request_id": "r-1", "campaign_id": "64a1", "updated_by": "john.doe@abc.com",
            "advanced": {"b": "HOUR", "a": 5}, "newMember": [1],
        });
        let (request, body) = sent(&gateway(), "updateCampaign", payload.clone());
        assert_eq!(request.method, Method::PATCH);
        assert_eq!(request.url.as_str(), "https://api-01.moengage.com/core-services/v1/campaigns/64a1");
        // RFC 7617: base64 of "DEMO01_DEBUG:campaign-key-1".
        assert_eq!(header(&request, "authorization"), "Basic REVNTzAxX0RFQlVHOmNhbXBhaWduLWtleS0x");
        assert_eq!(header(&request, "moe-appkey"), "DEMO01_DEBUG");
        let mut expected = payload;
        expected.as_object_mut().unwrap().shift_remove("campaign_id");
        assert_eq!(body.to_string(), expected.to_string(), "the order of members stays");
    }

    #[test]
    fn credentials_in_headers_are_not_printed() {
        let (request, _) =
            sent(&gateway(), "searchCampaigns", json!({"request_id": "r", "limit": 1, "page": 1}));
        let shown = format!("{:?}", request.headers);
        assert!(!shown.contains("REVN") && !shown.contains("DEMO01"), "{shown}");
    }

    #[test]
    fn an_id_stays_within_its_segment() {
        for (id, escaped) in [
            ("64a1b2c3d4e5f6a7b8c9d0e1", "64a1b2c3d4e5f6a7b8c9d0e1"),
            ("a-b.c_d~e", "a-b.c_d~e"),
            ("../search", "..%2Fsearch"),
            ("...", "..."),
            ("%2e%2e", "%252e%252e"),
            ("a/b\\c", "a%2Fb%5Cc"),
            ("a?b=c&d#e", "a%3Fb%3Dc%26d%23e"),
            ("a b+c;d=e,f:g@h", "a%20b%2Bc%3Bd%3De%2Cf%3Ag%40h"),
            ("Grüße\u{1F600}", "Gr%C3%BC%C3%9Fe%F0%9F%98%80"),
        ] {
            let payload = json!({"request_id": "r", "updated_by": "a@b", "campaign_id": id});
            let (request, _) = sent(&gateway(), "updateCampaign", payload);
            let expected = format!("https://api-01.moengage.com/core-services/v1/campaigns/{escaped}");
            assert_eq!(request.url.as_str(), expected, "{id:?}");
        }
    }

    #[test]
    fn a_search_is_sent_in_the_documented_spelling() {
        let proxied = gateway_with(|account| {
            account.campaigns_url =
                crate::providers::account::parse_base_url("http://127.0.0.1:9999/moe/").unwrap();
        });
        let payload = json!({
            "request_id": "r-1", "limit": 15, "page": 2, "newMember": 1,
            "campaign_fields": {
                "name": "Active", "status": ["Active", "SENT"], "tags": ["sent"],
                "delivery_type": ["one_time", "BUSINESS_TRIGGERED"],
                "created_date": {"from_date": "16-06-2024", "to_date": "2024-06-21"},
            },
        });
        let (request, body) = sent(&proxied, "searchCampaigns", payload);
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.url.as_str(), "http://127.0.0.1:9999/moe/core-services/v1/campaigns/search");
        assert_eq!(
            body,
            json!({
                "request_id": "r-1", "limit": 15, "page": 2, "newMember": 1,
                "campaign_fields": {
                    "name": "Active", "status": ["ACTIVE", "SENT"], "tags": ["sent"],
                    "delivery_type": ["ONE_TIME", "BUSINESS_EVENT_TRIGGERED"],
                    "created_date": {"from_date": "2024-06-16", "to_date": "2024-06-21"},
                },
            })
        );
        let plain = json!({"request_id": "r-1", "limit": 1, "page": 1});
        assert_eq!(sent(&proxied, "searchCampaigns", plain.clone()).1, plain);
    }
}
