//! `createTargetedMessage`: one message to whomever a filter over the account's applications and
//! tags describes.
//!
//! Its body is flat, a notification without targeting beside the filter. There is no application
//! of the account's in it: the filter names those it means, and one that names none reaches every
//! application of the account.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::fields::{NOTIFICATIONS, WRAPPER, message_schema};
use super::filter::{self, Filter};
use super::request::Completed;
use super::rules::{CAUTION, CONTRACT, SOURCE, check_message, check_wrapper, warnings::warn_message};
use super::{Account, MESSAGES, fields, request};
use crate::job::{Class, Delivery, DeliveryId, Finding, Job, Object};
use crate::ports::WireRequest;
use crate::providers::account::{CREDENTIALS, refuse_credentials};
use crate::providers::shape::{
    Member, Place, Report, Shape, check_members, optional, required, unknown_members,
};
use crate::providers::{Planned, Unfit};

/// The name of the filter.
const FILTER: &str = "devices_filter";

/// The members beside those of every message.
static OWN: &[Member] = &[
    required(FILTER, Shape::Special(filter::RULE)),
    // The document says text, clients send numbers.
    optional("page_id", Shape::Any),
    optional("rich_page_id", Shape::Any),
];

const fn forbidden(name: &'static str) -> Member {
    let found = "a member of createMessage's targeting";
    let allowed = "nothing: who is meant stands in devices_filter";
    optional(name, Shape::Refused { found, allowed })
}

/// What the document forbids here.
static FORBIDDEN: &[Member] = &[
    forbidden("application"),
    forbidden("applications_group"),
    forbidden("platforms"),
    forbidden("devices"),
    forbidden("filter"),
    forbidden("conditions"),
];

/// What the document does not forbid, and does not say what becomes of.
static UNCLEAR: &[Member] = &[forbidden("users")];

/// The body of `createMessage`, by mistake.
static NESTED: &[Member] = &[optional(
    NOTIFICATIONS.name,
    Shape::Refused {
        found: "a list of notifications",
        allowed: "nothing: the message is the payload itself",
    },
)];

/// Checks a job and makes its one delivery of it; `Err` when it must not even be kept as it is.
pub(super) fn plan(account: &Account, job: &Job) -> Result<Planned, Vec<Finding>> {
    let mut report = Report::new(SOURCE);
    check_secrets(&job.payload, &mut report);
    let whole = !report.is_empty();
    if !job.payload.contains_key(WRAPPER) {
        check(job, &mut report);
    }
    let findings = report.into_findings();
    if whole {
        return Err(findings);
    }
    let id = identity(job);
    let job = Arc::new(job.clone());
    Ok(vec![if findings.is_empty() {
        Ok(Delivery { id, job, class: class(account), batch: None })
    } else {
        Err(Unfit { id, job, findings })
    }])
}

fn check_secrets(payload: &Object, report: &mut Report) {
    refuse_credentials(payload, Place::Payload, report);
    if let Some(wrapped) = payload.get(WRAPPER) {
        check_wrapper(wrapped, Place::Payload.member(WRAPPER), report);
    }
}

fn check(job: &Job, report: &mut Report) {
    let place = Place::Payload;
    check_members(OWN, &job.payload, place, report);
    let only_safari =
        filter_of(&job.payload).is_some_and(|filter| filter::reaches_only(&filter, filter::Platform::Safari));
    check_message(&job.payload, only_safari, (&job.transaction_id, None), place, report);
    check_members(FORBIDDEN, &job.payload, place, report);
    for (source, members) in [(CAUTION, UNCLEAR), (CONTRACT, NESTED)] {
        let mut other = Report::new(source);
        check_members(members, &job.payload, place, &mut other);
        other.into_findings().into_iter().for_each(|finding| report.push(finding));
    }
}

/// The message's own identity if it has a valid one, else the job's.
fn identity(job: &Job) -> DeliveryId {
    let own = job.payload.get("transactionId").and_then(Value::as_str);
    own.and_then(|text| DeliveryId::own(&job.transaction_id, text, None).ok())
        .unwrap_or_else(|| (&job.transaction_id).into())
}

/// It can't carry devices, so none is exempt but at an account without a limit.
fn class(account: &Account) -> Class {
    match account.requests_per_minute {
        Some(_) => Class::Counted(MESSAGES),
        None => Class::Exempt,
    }
}

/// Things worth knowing that break no rule.
pub(super) fn warnings(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    let known = [OWN, fields::MESSAGE, fields::platforms::PLATFORM, CREDENTIALS, FORBIDDEN, UNCLEAR, NESTED];
    unknown_members(&known, payload, place, &mut report);
    warn_message(payload, place, &mut report);
    if filter_of(payload).is_some_and(|filter| filter::reaches_every_application(&filter)) {
        let allowed = "this, if every application of the account is meant; else narrow it by A, G or AT";
        report.add(place.member(FILTER), "a filter that reaches every application of the account", allowed);
    }
    report
}

/// The request for one delivery. Always the same for the same delivery: the provider recognises a
/// repeated attempt by its `transactionId`.
pub(super) fn request(account: &Account, delivery: &Delivery) -> WireRequest {
    let message = Completed::message(Some(&delivery.job.payload), &delivery.id);
    request::call(account, "createTargetedMessage", &Targeted { account, message })
}

/// The inside of a `createTargetedMessage`; borrowed, because its parts may be large.
struct Targeted<'a> {
    account: &'a Account,
    message: Completed<'a>,
}

impl Serialize for Targeted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let auth = Value::from(self.account.api_token.expose());
        serializer.collect_map(std::iter::once(("auth", &auth)).chain(self.message.members()))
    }
}

/// The JSON Schema of a payload.
pub(super) fn schema() -> Value {
    let mut schema = message_schema(OWN);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Pushwoosh createTargetedMessage, the inside of `request`");
    for member in FORBIDDEN.iter().chain(UNCLEAR).chain(NESTED) {
        schema["properties"][member.name] = json!(false);
    }
    schema["properties"][WRAPPER] = json!(false);
    schema
}

/// The filter of a payload that was found in order.
pub(super) fn filter_of(payload: &Object) -> Option<Filter> {
    filter::parse(payload.get(FILTER)?.as_str()?).ok()
}

/// Whether the filter names an application that is not the account's own, or a group of them.
pub(super) fn names_another_application(account: &Account, payload: &Object) -> bool {
    let own = account.application.as_deref();
    filter_of(payload).is_some_and(|filter| filter::codes(&filter).any(|code| Some(code) != own))
}

#[cfg(test)]
mod tests;
