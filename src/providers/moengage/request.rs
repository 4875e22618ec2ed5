//! Building requests.

use serde_json::Value;

use super::Account;
use super::signature::sign;
use crate::job::{Job, Object, json_of};
use crate::ports::WireRequest;

/// The request of a `sendPush` delivery: the producer's body with the account's credentials.
pub(super) fn send_push(account: &Account, job: &Job) -> WireRequest {
    let mut body = Object::clone(&job.payload);
    let campaign = body.get("campaignName").and_then(Value::as_str).unwrap_or_default();
    let signature = sign(&account.workspace_id, campaign, account.push_api_key.expose());
    body.insert("appId".to_owned(), account.workspace_id.as_str().into());
    body.insert("signature".to_owned(), signature.into());
    body.entry("requestType").or_insert_with(|| "push".into());
    WireRequest {
        method: reqwest::Method::POST,
        url: account.base_url.endpoint("v2/transaction/sendpush"),
        headers: Vec::new(),
        body: json_of(&body).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::Gateway;
    use crate::providers::account::parse_base_url;
    use crate::providers::moengage::tests::{gateway, gateway_with, job, push};

    fn sent(gateway: &impl Gateway, payload: Value) -> (WireRequest, Value) {
        let planned = gateway.plan(&job(payload)).unwrap();
        let request = gateway.request(&[planned[0].as_ref().unwrap()]);
        let body = serde_json::from_slice(&request.body).unwrap();
        (request, body)
    }

    #[test]
    fn the_body_is_the_producer_s_with_credentials() {
        let mut payload = push("User");
        payload["newMember"] = json!({"b": 1, "a": 2});
        let (request, body) = sent(&gateway(), payload.clone());
        assert_eq!(request.method, reqwest::Method::POST);
        assert_eq!(request.url.as_str(), "https://pushapi-01.moengage.com/v2/transaction/sendpush");
        assert!(request.headers.is_empty(), "no Basic header here");
        payload["appId"] = "DEMO01_DEBUG".into();
        payload["signature"] = "9685baefdc2d2ca0db047213812e24de37db23d39215b417ea583d9d09751ef7".into();
        payload["requestType"] = "push".into();
        assert_eq!(body, payload);
    }

    #[test]
    fn the_account_s_address_may_have_a_path() {
        let proxied = gateway_with(|account| {
            account.base_url = parse_base_url("http://127.0.0.1:9999/moe/").unwrap();
        });
        let (request, _) = sent(&proxied, push("All Users"));
        let planned = proxied.plan(&job(push("All Users"))).unwrap();
        assert_eq!(request.url.as_str(), "http://127.0.0.1:9999/moe/v2/transaction/sendpush");
        assert_eq!(proxied.warm_up_url(planned[0].as_ref().unwrap()).as_str(), "http://127.0.0.1:9999/");
    }
}
