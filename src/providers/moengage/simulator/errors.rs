//! The error object of the campaign API.

use serde_json::{Value, json};

use super::Operation;
use crate::simulator::Answer;

/// Something about the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The member that it is about.
    pub(super) target: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(target: &'static str, message: impl Into<String>) -> Self {
        Self { target, message: message.into() }
    }
}

/// 400.
pub(super) fn bad_request(problem: &Problem, request_id: &str) -> Answer {
    about(400, "400 Bad Request", problem, request_id)
}

/// 404: no campaign has the id.
pub(super) fn not_found(request_id: &str) -> Answer {
    about(404, "404 Not Found", &Problem::new("campaign_id", "Campaign not found"), request_id)
}

/// 429.
pub(super) fn rate_limit(request_id: &str) -> Answer {
    about(429, "429 conflict", &Problem::new("rate_limit", "rate_limit"), request_id)
}

/// 401. What stands in its details is a text for one operation and a list for the other.
pub(super) fn unauthorized(operation: &str) -> Answer {
    let plain = json!({
        "code": "InvalidValue",
        "target": "APP_SECRET_KEY",
        "message": "Invalid APP_SECRET_KEY is provided.",
    });
    let mut detail = plain.clone();
    if operation == Operation::SearchCampaigns.name() {
        detail["message"] = json!([plain]);
    }
    let error = json!({
        "code": "401 Authentication error",
        "message": "Authentication required",
        "details": [detail],
        "request_id": "",
    });
    Answer::json(401, &json!({"error": error}))
}

/// The answer with a status that a fault asks for.
pub(super) fn failure(operation: &str, status: u16) -> Answer {
    match status {
        401 => unauthorized(operation),
        429 => rate_limit(""),
        _ => failed(status),
    }
}

/// 500 and its like, without the request's id.
fn failed(status: u16) -> Answer {
    let name = match status {
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    };
    let error = json!({
        "code": format!("{status} {name}"),
        "message": "Something went wrong. Please contact Moengage team",
        "target": "string",
        "details": [{"message": "Something went wrong", "target": ""}],
    });
    Answer::json(status, &json!({"error": error}))
}

fn about(status: u16, code: &str, problem: &Problem, request_id: &str) -> Answer {
    let Problem { target, message } = problem;
    let details: Value = json!([{"target": target, "message": message}]);
    let error = json!({
        "code": code,
        "message": message,
        "target": target,
        "details": details,
        "request_id": request_id,
    });
    Answer::json(status, &json!({"error": error}))
}
