//! From bytes to a [`Job`]: the job format of the contract, and nothing of any provider.
//!
//! All findings of a body come at once, so that a producer mends it in one go. A finding names
//! types, lengths and field names, never contents.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use plain::Plain;

use crate::job::{
    AccountName, DeliveryId, Finding, Job, MAX_JOB_BYTES, Object, Priority, TransactionId, json_of, type_name,
};

const SOURCE: &str = "paceline job format";

mod plain;

/// The names under which credentials travel at the providers, in bodies and headers.
pub const CREDENTIALS: [&str; 5] = ["auth", "appId", "signature", "Authorization", "MOE-APPKEY"];

/// Whether a member of a payload holds a credential, whatever its capitals: it makes the job invalid,
/// because queues and dead letters hold no secrets.
pub fn is_credential(name: &str) -> bool {
    CREDENTIALS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The most findings for unknown fields, each of which is named.
const MOST_UNKNOWN: usize = 20;

/// The longest name of an unknown field that a finding repeats, in bytes.
const LONGEST_NAME: usize = 40;

/// What a body that is no valid job still tells of itself, for its receipt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fragments {
    /// The `transactionId`, where that member is sound.
    pub transaction_id: Option<TransactionId>,
    /// The `operation`, where that member is a text.
    pub operation: Option<String>,
    /// The `meta`, where that member is an object.
    pub meta: Option<Object>,
}

/// A body that is no valid job.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Everything that is wrong with it.
    pub findings: Vec<Finding>,
    /// What can be read all the same.
    pub fragments: Fragments,
}

impl Unreadable {
    fn whole(found: impl Into<String>, allowed: impl Into<String>) -> Box<Self> {
        let findings = vec![Finding::new("", found, allowed, SOURCE)];
        Box::new(Self { findings, fragments: Fragments::default() })
    }
}

/// Reads a body as a job.
pub fn decode_body(body: &[u8]) -> Result<Job, Box<Unreadable>> {
    if body.len() > MAX_JOB_BYTES {
        return Err(Unreadable::whole(
            format!("{} bytes", body.len()),
            format!("at most {MAX_JOB_BYTES} bytes (1 MiB)"),
        ));
    }
    decode_any_size(body)
}

/// Reads a body as a job without looking at its size: for messages that paceline itself wrote,
/// which may be a little larger than the job they came from.
pub fn decode_any_size(body: &[u8]) -> Result<Job, Box<Unreadable>> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Unreadable::whole(
            format!("bytes that are not UTF-8 at position {}", error.valid_up_to()),
            "UTF-8 text",
        )
    })?;
    if !text.trim_start_matches(JSON_SPACE).starts_with('{') {
        let Plain(other) = serde_json::from_str(text).map_err(|error| no_json(&error))?;
        return Err(Unreadable::whole(type_name(&other), "one JSON object"));
    }
    decode_members(serde_json::from_str(text).map_err(|error| no_json(&error))?)
}

/// What may stand before the first token of a JSON text.
const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

fn no_json(error: &serde_json::Error) -> Box<Unreadable> {
    let whole = error.to_string();
    let problem = whole.split(" at line ").next().unwrap_or(&whole);
    let found = format!("no readable JSON: {problem} (row {}, column {})", error.line(), error.column());
    Unreadable::whole(found, "one JSON object")
}

/// The members of a job's body. Of those that a job has a map is not made: every job would pay for its
/// names and places. Where a name stands twice the last value counts.
#[derive(Default)]
struct Members {
    transaction_id: Option<Value>,
    account: Option<Value>,
    operation: Option<Value>,
    payload: Option<Value>,
    priority: Option<Value>,
    not_before: Option<Value>,
    expires_at: Option<Value>,
    meta: Option<Value>,
    unknown: Object,
}

/// The name of a member.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    TransactionId,
    Account,
    Operation,
    Payload,
    Priority,
    NotBefore,
    ExpiresAt,
    Meta,
    Unknown(String),
}

impl Members {
    fn put(&mut self, name: Name, value: Value) {
        let place = match name {
            Name::TransactionId => &mut self.transaction_id,
            Name::Account => &mut self.account,
            Name::Operation => &mut self.operation,
            Name::Payload => &mut self.payload,
            Name::Priority => &mut self.priority,
            Name::NotBefore => &mut self.not_before,
            Name::ExpiresAt => &mut self.expires_at,
            Name::Meta => &mut self.meta,
            Name::Unknown(name) => {
                self.unknown.insert(name, value);
                return;
            }
        };
        *place = Some(value);
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some((name, Plain(value))) = map.next_entry()? {
                    members.put(name, value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn decode_members(members: Members) -> Result<Job, Box<Unreadable>> {
    let mut findings = Vec::new();
    let transaction_id =
        required(members.transaction_id, "transactionId", &mut findings, read_transaction_id);
    let account = required(members.account, "account", &mut findings, read_account);
    let operation = required(members.operation, "operation", &mut findings, read_text);
    let payload = required(members.payload, "payload", &mut findings, read_object);
    let priority = optional(members.priority, "priority", &mut findings, read_priority);
    let not_before = optional(members.not_before, "notBefore", &mut findings, read_time);
    let expires_at = optional(members.expires_at, "expiresAt", &mut findings, read_time);
    let meta = optional(members.meta, "meta", &mut findings, read_object);
    findings.extend(unknown_fields(&members.unknown));
    findings.extend(payload.iter().flat_map(credentials_in));
    match (transaction_id, account, operation, payload) {
        (Some(transaction_id), Some(account), Some(operation), Some(payload)) if findings.is_empty() => {
            Ok(Job {
                transaction_id,
                account,
                operation,
                payload: payload.into(),
                priority: priority.unwrap_or_default(),
                not_before,
                expires_at,
                meta,
            })
        }
        (transaction_id, _, operation, _) => {
            Err(Box::new(Unreadable { findings, fragments: Fragments { transaction_id, operation, meta } }))
        }
    }
}

type Reader<T> = fn(Value) -> Result<T, (String, &'static str)>;

fn required<T>(
    value: Option<Value>,
    name: &'static str,
    findings: &mut Vec<Finding>,
    read: Reader<T>,
) -> Option<T> {
    let Some(value) = value else {
        findings.push(Finding::new(format!("/{name}"), "nothing", "this field is required", SOURCE));
        return None;
    };
    read_member(value, name, findings, read)
}

/// Absent and `null` are the same: producers' libraries write either.
fn optional<T>(
    value: Option<Value>,
    name: &'static str,
    findings: &mut Vec<Finding>,
    read: Reader<T>,
) -> Option<T> {
    read_member(value.filter(|value| !value.is_null())?, name, findings, read)
}

fn read_member<T>(
    value: Value,
    name: &'static str,
    findings: &mut Vec<Finding>,
    read: Reader<T>,
) -> Option<T> {
    read(value)
        .map_err(|(found, allowed)| findings.push(Finding::new(format!("/{name}"), found, allowed, SOURCE)))
        .ok()
}

fn read_text(value: Value) -> Result<String, (String, &'static str)> {
    match value {
        Value::String(text) => Ok(text),
        other => Err((type_name(&other).into(), "a text")),
    }
}

fn read_object(value: Value) -> Result<Object, (String, &'static str)> {
    match value {
        Value::Object(members) => Ok(members),
        other => Err((type_name(&other).into(), "an object")),
    }
}

fn read_transaction_id(value: Value) -> Result<TransactionId, (String, &'static str)> {
    let text = read_text(value)?;
    TransactionId::new(&text)
        .map_err(|error| (format!("a text that {error}"), "1 to 128 characters of A-Z a-z 0-9 . _ : -"))
}

fn read_account(value: Value) -> Result<AccountName, (String, &'static str)> {
    let text = read_text(value)?;
    AccountName::new(&text).ok_or((
        format!("a text of {} bytes that can't name an account", text.len()),
        "an account of the configuration",
    ))
}

fn read_priority(value: Value) -> Result<Priority, (String, &'static str)> {
    let text = read_text(value)?;
    Priority::ALL
        .into_iter()
        .find(|priority| priority.as_str() == text)
        .ok_or(("another text".into(), "high, normal or low"))
}

fn read_time(value: Value) -> Result<Timestamp, (String, &'static str)> {
    let allowed = "a time as in RFC 3339, such as 2026-11-21T18:00:00Z";
    let text = read_text(value).map_err(|(found, _)| (found, allowed))?;
    text.parse().map_err(|_| ("a text that is no such time".into(), allowed))
}

/// A finding for each of the first few, and one for how many more there are.
fn unknown_fields(members: &Object) -> impl Iterator<Item = Finding> {
    let more = members.len().saturating_sub(MOST_UNKNOWN);
    let rest = (more > 0).then(|| unknown("", format!("{more} more fields that jobs do not have")));
    members.keys().take(MOST_UNKNOWN).map(|name| unknown_field(name)).chain(rest)
}

/// A name is shown where it can be one; a long one, or one with line breaks, is likelier data.
fn unknown_field(name: &str) -> Finding {
    let characters = name.chars().count();
    if (1..=LONGEST_NAME).contains(&characters) && !name.contains(char::is_control) {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        return unknown(&format!("/{escaped}"), "a field that jobs do not have".to_owned());
    }
    unknown("", format!("a field that jobs do not have, with a name of {characters} characters"))
}

fn unknown(pointer: &str, found: String) -> Finding {
    let allowed = "transactionId, account, operation, payload, priority, notBefore, expiresAt, meta";
    Finding::new(pointer, found, allowed, SOURCE)
}

/// Credentials at the top of a payload, and inside a `request` wrapper, which a producer who
/// copies a provider's sample sends.
fn credentials_in(payload: &Object) -> Vec<Finding> {
    let wrapped = payload.get("request").and_then(Value::as_object);
    let places = [("/payload", Some(payload)), ("/payload/request", wrapped)];
    places
        .into_iter()
        .filter_map(|(pointer, members)| members.map(|members| (pointer, members)))
        .flat_map(|(pointer, members)| {
            members.keys().filter(|name| is_credential(name)).map(move |name| {
                Finding::new(
                    format!("{pointer}/{name}"),
                    "a credential",
                    "nothing: the account's configuration holds its credentials",
                    SOURCE,
                )
            })
        })
        .collect()
}

/// The body with the values of credentials in its payload replaced by `"[masked]"`, every other
/// byte as it was: what a dead letter may keep of it.
pub fn mask_credentials(body: &[u8]) -> Vec<u8> {
    let mut spans = credential_spans(body).unwrap_or_default();
    spans.sort_unstable();
    let mut masked = Vec::with_capacity(body.len());
    let mut done = 0;
    for (start, end) in spans {
        masked.extend_from_slice(&body[done..start]);
        masked.extend_from_slice(b"\"[masked]\"");
        done = end;
    }
    masked.extend_from_slice(&body[done..]);
    masked
}

/// Byte ranges of credential values; `None` where the body is no such JSON.
///
/// Goes by the raw text, not by a parsed tree: where a name stands twice, both values are found.
fn credential_spans(body: &[u8]) -> Option<Vec<(usize, usize)>> {
    let text = std::str::from_utf8(body).ok()?;
    let members = raw_members(text)?;
    let mut found = Vec::new();
    for (name, value) in &members {
        match name.as_str() {
            "payload" => collect_credentials(value, 2, &mut found),
            name if is_credential(name) => found.push(*value),
            _ => {}
        }
    }
    let offset = |value: &RawValue| value.get().as_ptr() as usize - text.as_ptr() as usize;
    Some(found.into_iter().map(|value| (offset(value), offset(value) + value.get().len())).collect())
}

/// The credentials among an object's members, in its `request` wrapper, and in its notifications:
/// wherever the rules look for them.
fn collect_credentials<'a>(object: &'a RawValue, depth: usize, found: &mut Vec<&'a RawValue>) {
    for (name, value) in raw_members(object.get()).unwrap_or_default() {
        match name.as_str() {
            name if is_credential(name) => found.push(value),
            "request" if depth > 0 => collect_credentials(value, depth - 1, found),
            "notifications" if depth > 0 => {
                for item in serde_json::from_str::<Vec<&RawValue>>(value.get()).unwrap_or_default() {
                    collect_credentials(item, 0, found);
                }
            }
            _ => {}
        }
    }
}

/// An object's members as they are written, in their order, a name that stands twice with both values.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for All<'a> {
            type Value = RawMembers<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(All(PhantomData))
    }
}

fn raw_members(text: &str) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_str::<RawMembers<'_>>(text).ok().map(|members| members.0)
}

/// A job as it is written; borrowed, because a payload may be large.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    transaction_id: &'a str,
    account: &'a str,
    operation: &'a str,
    payload: &'a Object,
    priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a Object>,
}

/// A job as the body of a message; reading it again gives the same job.
pub fn encode(job: &Job) -> Vec<u8> {
    json_of(&Written {
        transaction_id: job.transaction_id.as_str(),
        account: job.account.as_str(),
        operation: &job.operation,
        payload: &job.payload,
        priority: job.priority.as_str(),
        not_before: job.not_before.map(|time| time.to_string()),
        expires_at: job.expires_at.map(|time| time.to_string()),
        meta: job.meta.as_ref(),
    })
}

/// The delivery id that a receipt of an unreadable job carries: the job's, where it is known.
pub fn fragment_id(fragments: &Fragments) -> Option<DeliveryId> {
    fragments.transaction_id.as_ref().map(DeliveryId::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"transactionId":"t-1","account":"shop","operation":"createMessage","payload":{"a":[1,2.50,"x"]},
        "priority":"high","notBefore":"2026-11-21T18:00:00+01:00","expiresAt":"2026-11-21T19:00:00Z","meta":{"k":null}}"#;

    #[test]
    fn a_whole_job_is_read_and_written_back() {
        let job = decode_body(GOOD.as_bytes()).unwrap();
        assert_eq!(job.priority, Priority::High);
        assert_eq!(job.not_before.unwrap().to_string(), "2026-11-21T17:00:00Z");
        assert_eq!(decode_body(&encode(&job)).unwrap(), job);
    }

    #[test]
    fn no_name_of_a_producer_hides_what_is_under_it() {
        const RAW: &str = "$serde_json::private::RawValue";
        let job = |payload: &str| GOOD.replacen(r#"{"a":[1,2.50,"x"]}"#, payload, 1);
        let within = |text: &str| format!("{{{}:{}}}", Value::from(RAW), Value::from(text));
        let hidden = decode_body(job(&within(r#"{"auth":"s"}"#)).as_bytes()).unwrap();
        assert_eq!(hidden.payload.get(RAW), Some(&Value::from(r#"{"auth":"s"}"#)));
        assert_eq!(decode_body(&encode(&hidden)).unwrap(), hidden);
        // Layers of such texts, each as deep as a text may be.
        let lists = |inner: &str| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
        let layers = (0..10).fold("1".to_owned(), |inner, _| within(&lists(&inner)));
        assert_eq!(decode_body(job(&layers).as_bytes()).unwrap().payload.len(), 1);
    }

    #[test]
    fn each_flaw_is_found_where_it_stands() {
        let with = |from: &str, to: &str| GOOD.replacen(from, to, 1).into_bytes();
        let cases: Vec<(Vec<u8>, &[&str])> = vec![
            (b"\xff\xfe{}".to_vec(), &[""]),
            (GOOD.as_bytes()[..40].to_vec(), &[""]),
            (b"[]".to_vec(), &[""]),
            (b"null".to_vec(), &[""]),
            (vec![b' '; MAX_JOB_BYTES + 1], &[""]),
            (b"{}".to_vec(), &["/transactionId", "/account", "/operation", "/payload"]),
            (with(r#""t-1""#, "7"), &["/transactionId"]),
            (with(r#""t-1""#, r#""t#1""#), &["/transactionId"]),
            (with(r#""t-1""#, "null"), &["/transactionId"]),
            (with(r#""shop""#, r#""a.b""#), &["/account"]),
            (with(r#""createMessage""#, "[]"), &["/operation"]),
            (with(r#""high""#, r#""urgent""#), &["/priority"]),
            (with("2026-11-21T18:00:00+01:00", "tomorrow"), &["/notBefore"]),
            (with(r#"{"k":null}"#, "3"), &["/meta"]),
            (with(r#""meta""#, r#""metta""#), &["/metta"]),
            (with(r#""meta""#, r#""a/b""#), &["/a~1b"]),
            (with(r#""meta""#, "\"\""), &[""]),
            (with(r#""a":"#, r#""auth":"secret","a":"#), &["/payload/auth"]),
            (with(r#""a":"#, r#""request":{"auth":"s"},"a":"#), &["/payload/request/auth"]),
            (
                with(r#""a":"#, r#""appId":"s","signature":"t","a":"#),
                &["/payload/appId", "/payload/signature"],
            ),
        ];
        for (body, pointers) in cases {
            let unreadable = decode_body(&body).unwrap_err();
            let found: Vec<&str> = unreadable.findings.iter().map(|f| f.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{:?}", String::from_utf8_lossy(&body[..body.len().min(120)]));
        }
    }

    #[test]
    fn many_unknown_fields_are_counted() {
        let many: String = (0..100_000).map(|n| format!(r#""m{n}":0,"#)).collect();
        let body = GOOD.replacen('{', &format!("{{{many}"), 1);
        let findings = decode_any_size(body.as_bytes()).unwrap_err().findings;
        assert_eq!(findings.len(), MOST_UNKNOWN + 1);
        assert_eq!(findings[0].pointer, "/m0");
        assert_eq!(findings[MOST_UNKNOWN].found, "99980 more fields that jobs do not have");
    }

    #[test]
    fn findings_do_not_show_contents() {
        let body = GOOD.replace(r#""a":"#, r#""auth":"hush-hush","a":"#).replace("high", "hush-hush");
        for finding in decode_body(body.as_bytes()).unwrap_err().findings {
            assert!(!finding.to_string().contains("hush"), "{finding}");
        }
    }

    #[test]
    fn fragments_survive_for_the_receipt() {
        let body = GOOD.replace(r#""shop""#, "5");
        let fragments = decode_body(body.as_bytes()).unwrap_err().fragments;
        assert_eq!(fragment_id(&fragments).unwrap().as_str(), "t-1");
        assert_eq!(fragments.operation.as_deref(), Some("createMessage"));
        assert!(fragments.meta.is_some());
    }

    #[test]
    fn masking_changes_credentials_and_nothing_else() {
        let cases = [
            (
                r#"{"payload" : {"auth":"s1", "x" : 1.50 }}"#,
                r#"{"payload" : {"auth":"[masked]", "x" : 1.50 }}"#,
            ),
            (
                r#"{"payload":{"request":{"\u0061uth": {"deep":["s"]}},"appId":7}}"#,
                r#"{"payload":{"request":{"\u0061uth": "[masked]"},"appId":"[masked]"}}"#,
            ),
            (
                r#"{"payload":{"auth":"s1","auth":"s2"}}"#,
                r#"{"payload":{"auth":"[masked]","auth":"[masked]"}}"#,
            ),
            (
                r#"{"payload":{"data":{"auth":"the user's own"}}}"#,
                r#"{"payload":{"data":{"auth":"the user's own"}}}"#,
            ),
            (
                r#"{"auth":"s","payload":{"notifications":[{"auth":"s1"},7,{"x":1,"signature":"s2"}]}}"#,
                r#"{"auth":"[masked]","payload":{"notifications":[{"auth":"[masked]"},7,{"x":1,"signature":"[masked]"}]}}"#,
            ),
            (
                r#"{"payload":{"request":{"notifications":[{"auth":"s1"}]}}}"#,
                r#"{"payload":{"request":{"notifications":[{"auth":"[masked]"}]}}}"#,
            ),
            ("not json", "not json"),
        ];
        for (body, expected) in cases {
            assert_eq!(String::from_utf8(mask_credentials(body.as_bytes())).unwrap(), expected);
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        let body = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(decode_body(body.as_bytes()).unwrap_err().findings.len(), 1);
    }
}
