//! MoEngage as `paceline simulate` and the tests play it: `POST /v2/transaction/sendpush`.
//!
//! Written from the provider's documentation and not from paceline's own rules, so that each
//! checks the other. The signature is checked against the push API key where credentials are
//! configured; without them the key is not known, and only its form can be checked.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::simulator::engine::whole_seconds;
use crate::simulator::{
    Account, Answer, Call, Fate, Named, Performed, Request, Rules, Simulated, Throttling,
};

mod campaign;

/// The operations that are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    SendPush,
}

impl Operation {
    const ALL: [Self; 1] = [Self::SendPush];

    const fn as_str(self) -> &'static str {
        match self {
            Self::SendPush => "sendPush",
        }
    }

    fn is_at(self, method: &Method, path: &str) -> bool {
        match self {
            Self::SendPush => method == Method::POST && path == "/v2/transaction/sendpush",
        }
    }
}

/// MoEngage, played.
pub struct Simulator;

impl Simulated for Simulator {
    fn name(&self) -> &'static str {
        "moengage"
    }

    fn rules(&self) -> Rules {
        Rules {
            requests: Some(10_000),
            window: Duration::from_secs(60),
            throttling: Throttling::Body,
            duplicate_window: None,
            exempt_devices: 0,
            credentials: None,
        }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&'static str> {
        let found = Operation::ALL.into_iter().find(|operation| operation.is_at(method, path));
        found.map(Operation::as_str)
    }

    fn read(&self, operation: &'static str, request: &Request, _: &Rules) -> Result<Call, Answer> {
        let content: Value = serde_json::from_slice(&request.body).map_err(|_| unauthorized())?;
        if !content.is_object() {
            return Err(unauthorized());
        }
        Ok(Call {
            operation,
            credential: content.get("appId").and_then(Value::as_str).unwrap_or_default().to_owned(),
            counted: true,
            deliveries: vec![named(&content)],
            content,
        })
    }

    fn denied(&self, call: &Call, accepted: &[String]) -> Option<Answer> {
        let keys: Vec<&str> = accepted
            .iter()
            .filter_map(|pair| pair.split_once(':'))
            .filter(|(workspace, _)| *workspace == call.credential)
            .map(|(_, key)| key)
            .collect();
        if keys.is_empty() {
            return Some(unauthorized());
        }
        let given = call.content.get("signature").and_then(Value::as_str).unwrap_or_default();
        let name = call.content.get("campaignName").and_then(Value::as_str).unwrap_or_default();
        let verified = keys.iter().any(|key| signature(&call.credential, name, key) == given);
        (!verified).then(|| fail(given, "Signature is not verified"))
    }

    fn throttled(&self, call: &Call, rules: &Rules, wait: Duration) -> Answer {
        match rules.throttling {
            Throttling::Status => self
                .failure(429)
                .with_header("x-ratelimit-limit", rules.requests.unwrap_or_default())
                .with_header("x-ratelimit-remaining", 0)
                .with_header("x-ratelimit-reset", whole_seconds(wait)),
            Throttling::Body => fail(&call.credential, "Request limit exceeded"),
        }
    }

    fn failure(&self, status: u16) -> Answer {
        match status {
            401 => unauthorized(),
            429 => Answer::empty(429).with_header("x-envoy-ratelimited", "true"),
            _ => {
                let reason = "Internal Server Error";
                Answer::json(
                    status,
                    &json!({"code": status, "status": "error", "reason": reason, "reference": ""}),
                )
            }
        }
    }

    /// A campaign for everybody or a segment is sent once under its name; one for single users is
    /// made by the first request and used by all later ones.
    fn perform(&self, call: &Call, account: &mut Account, rules: &Rules, now: Duration) -> Performed {
        if let Some(problem) = campaign::problem(&call.content) {
            return refused(account, &problem);
        }
        let name = campaign::name(&call.content);
        let key = format!("sendPush/{name}");
        let known = account.recall(&key, now).map(str::to_owned);
        match (campaign::is_for_single_users(&call.content), known) {
            (false, Some(code)) => {
                let answer = fail(&account.new_code(), "Duplicate campaign name");
                Performed { answer, fates: vec![Fate::Suppressed(code)] }
            }
            (_, known) => {
                let response = account.new_code();
                let campaign = known.unwrap_or_else(|| response.clone());
                let until = rules.duplicate_window.map(|window| now + window);
                account.remember(key, campaign.clone(), until, now);
                let answer = success(&response, &campaign);
                Performed { answer, fates: vec![Fate::Accepted(response)] }
            }
        }
    }
}

/// Single users' sends share a name on purpose; what tells them apart is all the rest of the body.
fn named(content: &Value) -> Named {
    let id = content.get("campaignName").and_then(Value::as_str).map(str::to_owned);
    let key = id.clone().map(|name| {
        if !campaign::is_for_single_users(content) {
            return name;
        }
        let digest = Sha256::digest(content.to_string());
        format!("{name}/{}", hex::encode(&digest[..8]))
    });
    Named { id, key }
}

fn signature(workspace: &str, campaign: &str, key: &str) -> String {
    hex::encode(Sha256::digest(format!("{workspace}|{campaign}|{key}")))
}

fn unauthorized() -> Answer {
    Answer::json(401, &json!([]))
}

fn success(response: &str, campaign: &str) -> Answer {
    let body = json!({"status": "Success", "requestId": "", "responseId": response, "cid": campaign});
    Answer::json(200, &body)
}

fn fail(seed: &str, message: &str) -> Answer {
    let response = hex::encode(&Sha256::digest(seed)[..12]);
    let body = json!({"status": "Fail", "Error_Message": message, "responseId": response, "requestId": ""});
    Answer::json(200, &body)
}

fn refused(account: &mut Account, message: &str) -> Performed {
    Performed { answer: fail(&account.new_code(), message), fates: vec![Fate::Refused] }
}

#[cfg(test)]
mod tests;
