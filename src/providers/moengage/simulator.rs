//! MoEngage as `paceline simulate` and the tests play it: `POST /v2/transaction/sendpush`,
//! `PATCH /core-services/v1/campaigns/<id>` and `POST /core-services/v1/campaigns/search`.
//!
//! Written from the provider's documentation and not from paceline's own rules, so that each
//! checks the other. The signature is checked against the push API key where credentials are
//! configured; without them the key is not known, and only its form can be checked. Campaign calls
//! prove themselves with a header, by another key.
//!
//! Reading order: `campaign` (what a `sendpush` body must look like), `campaigns` (what is
//! stored of the campaigns that it makes), `access`, `errors`, `update`, `search`.
//!
//! Markers, for tests that want a state that nothing here leads to: a campaign whose name begins
//! with `paused`, `stopped` or `archived` is in that state.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::simulator::engine::whole_seconds;
use crate::simulator::{
    Account, Answer, Call, Fate, Moment, Named, Over, Performed, Pool, Request, Rules, Simulated, Throttling,
    Windows,
};

mod access;
mod campaign;
mod campaigns;
mod errors;
mod search;
mod update;

use campaigns::Campaigns;

const PUSH_PATH: &str = "/v2/transaction/sendpush";
const CAMPAIGN_PATH: &str = "/core-services/v1/campaigns/";

/// The limit that both campaign calls share.
const CAMPAIGN_POOL: &str = "campaigns";

/// Requests and seconds of that limit's windows.
const CAMPAIGN_WINDOWS: [(u32, u64); 3] = [(10, 1), (100, 60), (6000, 3600)];

/// The operations that are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    SendPush,
    UpdateCampaign,
    SearchCampaigns,
}

impl Operation {
    const ALL: [Self; 3] = [Self::SendPush, Self::UpdateCampaign, Self::SearchCampaigns];
    const NAMES: [&'static str; 3] =
        [Self::SendPush.name(), Self::UpdateCampaign.name(), Self::SearchCampaigns.name()];

    const fn name(self) -> &'static str {
        match self {
            Self::SendPush => "sendPush",
            Self::UpdateCampaign => "updateCampaign",
            Self::SearchCampaigns => "searchCampaigns",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    fn is_at(self, method: &Method, path: &str) -> bool {
        let campaign = path.strip_prefix(CAMPAIGN_PATH).filter(|id| !id.is_empty() && !id.contains('/'));
        match self {
            Self::SendPush => method == Method::POST && path == PUSH_PATH,
            Self::UpdateCampaign => method == Method::PATCH && campaign.is_some(),
            Self::SearchCampaigns => method == Method::POST && campaign == Some("search"),
        }
    }

    fn pool(self) -> Pool {
        match self {
            Self::SendPush => Pool::Main,
            Self::UpdateCampaign | Self::SearchCampaigns => Pool::Further(CAMPAIGN_POOL),
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
        let campaigns = Windows::of_seconds(&CAMPAIGN_WINDOWS);
        Rules {
            requests: Some(10_000),
            window: Duration::from_secs(60),
            pools: BTreeMap::from([(CAMPAIGN_POOL.to_owned(), campaigns)]),
            throttling: Throttling::Body,
            duplicate_window: None,
            targeted_duplicate_window: None,
            exempt_devices: 0,
            credentials: None,
            campaign_credentials: None,
        }
    }

    fn operations(&self) -> &'static [&'static str] {
        &Operation::NAMES
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&'static str> {
        let found = Operation::ALL.into_iter().find(|operation| operation.is_at(method, path));
        found.map(Operation::name)
    }

    fn read(&self, operation: &'static str, request: &Request, _: &Rules) -> Result<Call, Answer> {
        match Operation::parse(operation) {
            Some(Operation::SendPush) | None => read_push(operation, request),
            Some(played @ (Operation::UpdateCampaign | Operation::SearchCampaigns)) => {
                read_campaign_call(played, request)
            }
        }
    }

    fn denied(&self, call: &Call, rules: &Rules) -> Option<Answer> {
        match Operation::parse(call.operation) {
            Some(Operation::SendPush) | None => push_denied(call, rules.credentials.as_deref()?),
            Some(Operation::UpdateCampaign | Operation::SearchCampaigns) => {
                let accepted = rules.campaign_credentials.as_ref()?;
                let given = format!("{}:{}", call.credential, call.secret);
                (!accepted.contains(&given)).then(|| errors::unauthorized(call.operation))
            }
        }
    }

    fn throttled(&self, call: &Call, rules: &Rules, over: Over, now: Moment) -> Answer {
        match (Operation::parse(call.operation), rules.throttling) {
            (Some(Operation::UpdateCampaign | Operation::SearchCampaigns), _) => {
                let reset = now.wall.as_second().saturating_add_unsigned(whole_seconds(over.wait));
                limit_headers(errors::rate_limit(request_id(&call.content)), over.limit)
                    .with_header("x-ratelimit-reset", reset)
            }
            (Some(Operation::SendPush) | None, Throttling::Status) => {
                limit_headers(self.failure(call.operation, 429), over.limit)
                    .with_header("x-ratelimit-reset", whole_seconds(over.wait))
            }
            (Some(Operation::SendPush) | None, Throttling::Body) => {
                fail(&call.credential, "Request limit exceeded")
            }
        }
    }

    fn failure(&self, operation: &'static str, status: u16) -> Answer {
        match (Operation::parse(operation), status) {
            (Some(Operation::UpdateCampaign | Operation::SearchCampaigns), _) => {
                errors::failure(operation, status)
            }
            (Some(Operation::SendPush) | None, 401) => unauthorized(),
            (Some(Operation::SendPush) | None, 429) => {
                Answer::empty(429).with_header("x-envoy-ratelimited", "true")
            }
            (Some(Operation::SendPush) | None, _) => {
                let reason = "Internal Server Error";
                let body = json!({"code": status, "status": "error", "reason": reason, "reference": ""});
                Answer::json(status, &body)
            }
        }
    }

    fn perform(&self, call: &Call, account: &mut Account, rules: &Rules, now: Moment) -> Performed {
        match Operation::parse(call.operation) {
            Some(Operation::SendPush) | None => send_push(call, account, rules, now),
            Some(Operation::UpdateCampaign) => update::perform(call, account.state(), now),
            Some(Operation::SearchCampaigns) => search::perform(call, account.state(), now),
        }
    }
}

/// The two headers that always come with `x-ratelimit-reset`, which is a number of seconds for one
/// API and a moment for the other.
fn limit_headers(answer: Answer, limit: u32) -> Answer {
    answer.with_header("x-ratelimit-limit", limit).with_header("x-ratelimit-remaining", 0)
}

fn read_push(operation: &'static str, request: &Request) -> Result<Call, Answer> {
    let content: Value = serde_json::from_slice(&request.body).map_err(|_| unauthorized())?;
    if !content.is_object() {
        return Err(unauthorized());
    }
    Ok(Call {
        operation,
        credential: content.get("appId").and_then(Value::as_str).unwrap_or_default().to_owned(),
        secret: String::new(),
        subject: String::new(),
        pool: Some(Operation::SendPush.pool()),
        deliveries: vec![named(&content)],
        content,
    })
}

/// A body that can't be read is looked at later: the request has named its account and counts.
fn read_campaign_call(played: Operation, request: &Request) -> Result<Call, Answer> {
    let access = access::read(&request.headers).ok_or_else(|| errors::unauthorized(played.name()))?;
    let content: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let subject = match (played, request.path.strip_prefix(CAMPAIGN_PATH)) {
        (Operation::UpdateCampaign, Some(id)) => percent_decode_str(id).decode_utf8_lossy().into_owned(),
        (Operation::SendPush | Operation::UpdateCampaign | Operation::SearchCampaigns, _) => String::new(),
    };
    let label = if subject.is_empty() { request_id(&content).to_owned() } else { subject.clone() };
    Ok(Call {
        operation: played.name(),
        credential: access.workspace,
        secret: access.key,
        subject,
        pool: Some(played.pool()),
        deliveries: vec![Named { id: Some(label).filter(|label| !label.is_empty()), key: None }],
        content,
    })
}

/// What a campaign call is to be traced by; empty where it does not say.
fn request_id(content: &Value) -> &str {
    content.get("request_id").and_then(Value::as_str).unwrap_or_default()
}

fn push_denied(call: &Call, accepted: &[String]) -> Option<Answer> {
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
    let name = campaign::name(&call.content);
    let verified = keys.iter().any(|key| signature(&call.credential, name, key) == given);
    (!verified).then(|| fail(given, "Signature is not verified"))
}

/// A campaign for everybody or a segment is sent once under its name; one for single users is
/// made by the first request and used by all later ones.
fn send_push(call: &Call, account: &mut Account, rules: &Rules, now: Moment) -> Performed {
    let content = &call.content;
    if let Some(problem) = campaign::problem(content) {
        return Performed { answer: fail(&account.new_code(), &problem), fates: vec![Fate::Refused] };
    }
    let key = format!("sendPush/{}", campaign::name(content));
    let known = account.recall(&key, now.since_start).map(str::to_owned);
    match (campaign::is_for_single_users(content), known) {
        (false, Some(code)) => {
            let answer = fail(&account.new_code(), "Duplicate campaign name");
            Performed { answer, fates: vec![Fate::Suppressed(code)] }
        }
        (_, known) => {
            let response = account.new_code();
            let campaign = known.unwrap_or_else(|| {
                account.state::<Campaigns>().make(response.clone(), content, now.wall);
                response.clone()
            });
            let until = rules.duplicate_window.map(|window| now.since_start + window);
            account.remember(key, campaign.clone(), until, now.since_start);
            Performed { answer: success(&response, &campaign), fates: vec![Fate::Accepted(response)] }
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

#[cfg(test)]
mod tests;
