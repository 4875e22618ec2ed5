//! Stand-in until the pipeline is merged: reads the required members only.

use crate::job::{AccountName, Finding, Job, Priority, TransactionId};

const SOURCE: &str = "job format";

/// Reads a body as a job.
pub fn decode_body(body: &[u8]) -> Result<Job, Vec<Finding>> {
    let fault = |pointer: &str, allowed: &str| {
        vec![Finding::new(pointer, "nothing that can be read", allowed, SOURCE)]
    };
    let mut object: crate::job::Object =
        serde_json::from_slice(body).map_err(|_| fault("", "one JSON object"))?;
    let text = |name: &str| object.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    let transaction_id = text("transactionId").and_then(|t| TransactionId::new(&t).ok());
    let account = text("account").and_then(|t| AccountName::new(&t));
    let operation = text("operation").ok_or_else(|| fault("/operation", "a text"))?;
    let serde_json::Value::Object(payload) = object.remove("payload").unwrap_or_default() else {
        return Err(fault("/payload", "an object"));
    };
    Ok(Job {
        transaction_id: transaction_id.ok_or_else(|| fault("/transactionId", "an id"))?,
        account: account.ok_or_else(|| fault("/account", "an account"))?,
        operation,
        payload,
        priority: Priority::Normal,
        not_before: None,
        expires_at: None,
        meta: None,
    })
}
