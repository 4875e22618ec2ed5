//! Control over HTTP, for producers' own tests and other processes: JSON under `/_simulator/`.
//!
//! | request | does |
//! | --- | --- |
//! | `GET ledger?since=N&limit=M` | `{"entries": […], "next": N, "dropped": D}`, at most 1,000 entries a page |
//! | `GET summary` | counts, the most arrivals in a window by account, what was accepted twice |
//! | `GET faults` | the faults still to come |
//! | `PUT faults` | replaces them: `{"faults": ["reset-after@2%", "pushwoosh:503*3"], "latency": "20ms..80ms", "down": "5s"}`, every member optional |
//! | `GET limits` | the rules in force, by provider |
//! | `PUT limits` | changes some: `{"pushwoosh": {"requests": 600, "window": "60s", "throttling": "429", "duplicate_window": "5m", "targeted_duplicate_window": "1d", "exempt_devices": 10}, "moengage": {"pools": {"campaigns": "10/1s,100/1m,6000/1h"}}}`; a number or a list of windows may be `"unlimited"` |
//! | `DELETE ledger` | forgets all arrivals and counts |

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::engine::Engine;
use super::faults::FaultPlan;
use super::rules::{Limit, Rules, RulesChange, parse_duration};
use super::{Answer, Request, Shared};

/// What the paths begin with.
pub const PREFIX: &str = "/_simulator/";

/// The most entries of a page.
const PAGE: usize = 1000;

/// Answers a request whose path is `rest` behind [`PREFIX`]; also says for how long connections
/// shall be refused, if that was asked for.
pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    rest: &str,
    query: &str,
) -> (Answer, Option<Duration>) {
    match handle(&mut shared.engine(), request, rest, query) {
        Ok((value, down)) => (Answer::json(200, &value), down),
        Err((status, problem)) => (Answer::json(status, &json!({"error": problem})), None),
    }
}

type Problem = (u16, String);

fn handle(
    engine: &mut Engine,
    request: &Request,
    rest: &str,
    query: &str,
) -> Result<(Value, Option<Duration>), Problem> {
    let done = json!({"done": true});
    match (rest, &request.method) {
        ("ledger", &Method::GET) => page(engine, query).map(|page| (page, None)),
        ("ledger", &Method::DELETE) => {
            engine.clear_ledger();
            Ok((done, None))
        }
        ("summary", &Method::GET) => Ok((written(&engine.summary()), None)),
        ("faults", &Method::GET) => Ok((faults(engine.faults()), None)),
        ("faults", &Method::PUT) => {
            let down = set_faults(engine, &request.body)?;
            Ok((done, down))
        }
        ("limits", &Method::GET) => Ok((limits(engine), None)),
        ("limits", &Method::PUT) => {
            change_limits(engine, &request.body)?;
            Ok((limits(engine), None))
        }
        ("ledger" | "summary" | "faults" | "limits", _) => {
            Err((405, format!("{} is not for {rest}", request.method)))
        }
        _ => Err((404, "there are: ledger, summary, faults, limits".to_owned())),
    }
}

fn written(value: &impl serde::Serialize) -> Value {
    // Fails only for maps with keys that are no texts and for writers that fail; neither is here.
    serde_json::to_value(value).unwrap_or_default()
}

fn page(engine: &Engine, query: &str) -> Result<Value, Problem> {
    let (mut since, mut limit) = (0, PAGE);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let number =
            value.parse::<u64>().map_err(|_| (400, format!("{name}={value}: not a whole number")))?;
        match name.as_ref() {
            "since" => since = number,
            "limit" => limit = usize::try_from(number).unwrap_or(PAGE).clamp(1, PAGE),
            _ => return Err((400, format!("{name}: there are since and limit"))),
        }
    }
    Ok(written(&engine.ledger().page(since, limit)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsBody {
    #[serde(default)]
    faults: Vec<String>,
    latency: Option<String>,
    down: Option<String>,
}

fn unprocessable(problem: impl ToString) -> Problem {
    (422, problem.to_string())
}

fn set_faults(engine: &mut Engine, body: &[u8]) -> Result<Option<Duration>, Problem> {
    let body: FaultsBody = serde_json::from_slice(body).map_err(unprocessable)?;
    let rules = body.faults.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    let latency = body.latency.map(|text| text.parse()).transpose();
    let down = body.down.map(|text| parse_duration(&text)).transpose();
    let (rules, latency, down) = (
        rules.map_err(unprocessable)?,
        latency.map_err(unprocessable)?.unwrap_or_default(),
        down.map_err(unprocessable)?,
    );
    engine.set_faults(FaultPlan { latency, rules });
    Ok(down)
}

fn faults(plan: &FaultPlan) -> Value {
    let rules: Vec<String> = plan.rules.iter().map(ToString::to_string).collect();
    json!({"faults": rules, "latency": plan.latency.to_string()})
}

fn change_limits(engine: &mut Engine, body: &[u8]) -> Result<(), Problem> {
    let changes: BTreeMap<String, RulesChange> = serde_json::from_slice(body).map_err(unprocessable)?;
    // All or nothing: every name is looked at before anything is changed.
    let changed: Vec<(String, Rules)> = changes
        .into_iter()
        .map(|(provider, change)| {
            let rules = change.apply(engine.rules(&provider).map_err(unprocessable)?);
            rules.map(|rules| (provider, rules)).map_err(unprocessable)
        })
        .collect::<Result<_, _>>()?;
    for (provider, rules) in changed {
        engine.set_rules(&provider, rules).map_err(unprocessable)?;
    }
    Ok(())
}

fn limits(engine: &Engine) -> Value {
    let text = |time: Duration| humantime::format_duration(time).to_string();
    let rules = engine.all_rules().map(|(provider, rules)| {
        let value = json!({
            "requests": Limit(rules.requests),
            "window": text(rules.window),
            "pools": rules.pools,
            "throttling": rules.throttling,
            "duplicate_window": rules.duplicate_window.map(text),
            "targeted_duplicate_window": rules.targeted_duplicate_window.map(text),
            "exempt_devices": rules.exempt_devices,
            "credentials": rules.credentials.as_ref().map(Vec::len),
            "campaign_credentials": rules.campaign_credentials.as_ref().map(Vec::len),
        });
        (provider.to_owned(), value)
    });
    Value::Object(rules.collect())
}
