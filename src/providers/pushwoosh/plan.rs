//! From a `createMessage` job to its deliveries: identity, class, and who may share a request.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::fields::{LARGEST_REQUEST, NOTIFICATIONS};
use super::rules::{CONTRACT, Context, SOURCE, check_notification, check_request};
use super::{Account, MESSAGES, exempt, request};
use crate::job::{Class, Delivery, DeliveryId, Finding, Job, Object};
use crate::providers::shape::{Place, Report};
use crate::providers::{Planned, Unfit};

/// The most bytes that the members beside the notifications may come to once each delivery carries
/// its own copy of them. Without a bound a job of 1 MiB could ask for a gigabyte.
const MOST_COPIED: usize = 16 * 1024 * 1024;

/// What a request may hold beside the notifications and the members of the payload: the token, and
/// the punctuation.
const FRAME: usize = 4096;

/// Checks a job and splits it; `Err` when nothing of it may be sent.
pub(super) fn create_message(account: &Account, job: &Job) -> Result<Planned, Vec<Finding>> {
    let context = Context {
        job: &job.transaction_id,
        position: None,
        default_application: account.application.as_deref(),
        require_targeting: account.require_targeting,
    };
    let mut report = Report::new(SOURCE);
    let Some(notifications) = check_request(&job.payload, context, &mut report) else {
        return Err(report.into_findings());
    };
    let several = notifications.len() > 1;
    // Only then is there anything to copy.
    let rest = if several { without_notifications(&job.payload) } else { Object::new() };
    check_copies(job, &rest, notifications.len(), &mut report);
    let identities = identities(job, notifications);
    let checked = check_all(job, notifications, &identities, context);
    if !report.is_empty() {
        let each = checked.into_iter().flatten();
        return Err(report.into_findings().into_iter().chain(each).collect());
    }
    let split = Split { account, job, rest: &rest, key: OnceCell::new() };
    let ids = identities.into_iter().map(|(id, _)| id);
    let entries = notifications.iter().zip(ids).zip(checked);
    Ok(entries
        .map(|((notification, id), findings)| split.entry(several, notification, id, findings))
        .collect())
}

/// The identity of each notification: its own if that is valid and no other one's of this job, else
/// the one that paceline gives. Two under one would be one delivery, and the second never sent. With
/// it, whether its own was another one's.
fn identities(job: &Job, notifications: &[Value]) -> Vec<(DeliveryId, bool)> {
    let mut seen = HashSet::new();
    let several = notifications.len() > 1;
    let one = |(index, notification): (usize, &Value)| {
        let position = several.then_some(index);
        let own = notification.get("transactionId").and_then(Value::as_str);
        let own = own.and_then(|text| DeliveryId::own(&job.transaction_id, text, position).ok());
        let repeated = own.as_ref().is_some_and(|id| seen.contains(id));
        let given = || match position {
            Some(index) => DeliveryId::nth(&job.transaction_id, index),
            None => (&job.transaction_id).into(),
        };
        let id = own.filter(|_| !repeated).unwrap_or_else(given);
        seen.insert(id.clone());
        (id, repeated)
    };
    notifications.iter().enumerate().map(one).collect()
}

fn check_all(
    job: &Job,
    notifications: &[Value],
    identities: &[(DeliveryId, bool)],
    context: Context<'_>,
) -> Vec<Vec<Finding>> {
    let place = Place::Payload.member(NOTIFICATIONS.name);
    let has_group = job.payload.contains_key("applications_group");
    let several = notifications.len() > 1;
    let one = |(index, (notification, (_, repeated))): (usize, (&Value, &(DeliveryId, bool)))| {
        let mut report = Report::new(SOURCE);
        let context = Context { position: several.then_some(index), ..context };
        let at = place.item(index);
        check_notification(notification, has_group, context, at, &mut report);
        if *repeated {
            let allowed = "one of its own for each notification, or none: then paceline gives one";
            let found = "the transactionId of another notification of this job";
            report.add_from(CONTRACT, at.member("transactionId"), found, allowed);
        }
        report.into_findings()
    };
    notifications.iter().zip(identities).enumerate().map(one).collect()
}

fn check_copies(job: &Job, rest: &Object, notifications: usize, report: &mut Report) {
    if notifications < 2 {
        return;
    }
    let copied = json_bytes(rest) + job.meta.as_ref().map_or(0, json_bytes);
    if copied.saturating_mul(notifications) > MOST_COPIED {
        let found =
            format!("{notifications} notifications, each to carry {copied} bytes of meta and payload");
        let allowed = format!("{MOST_COPIED} bytes in all: fewer notifications, or less beside them");
        report.add_from(CONTRACT, Place::Payload.member(NOTIFICATIONS.name), found, allowed);
    }
}

fn without_notifications(payload: &Object) -> Object {
    let others = payload.iter().filter(|(name, _)| *name != NOTIFICATIONS.name);
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What the deliveries of one job have in common while it is split.
struct Split<'a> {
    account: &'a Account,
    job: &'a Job,
    /// The payload without its notifications, where it has several.
    rest: &'a Object,
    /// The request without its notifications, as canonical text, once it is asked for.
    key: OnceCell<Arc<str>>,
}

impl Split<'_> {
    /// `several` when the job has more than one notification.
    fn entry(
        &self,
        several: bool,
        notification: &Value,
        id: DeliveryId,
        findings: Vec<Finding>,
    ) -> Result<Delivery, Unfit> {
        let job = Arc::new(self.only(several, notification, &id));
        if !findings.is_empty() {
            return Err(Unfit { id, job, findings });
        }
        let class = class(self.account, notification);
        let batch = match class {
            Class::Counted(_) => self.batch_key(&job, &id),
            Class::Exempt => None,
        };
        Ok(Delivery { id, job, class, batch })
    }

    /// The job with this one notification in it.
    ///
    /// Of several, each states its identity: alone it would no longer be known by its position. The
    /// only notification of a job stays as it is.
    fn only(&self, several: bool, notification: &Value, id: &DeliveryId) -> Job {
        if !several {
            return self.job.clone();
        }
        let mut notification = notification.clone();
        if let Some(object) = notification.as_object_mut() {
            object.entry("transactionId").or_insert_with(|| id.as_str().into());
        }
        let mut payload = self.rest.clone();
        payload.insert(NOTIFICATIONS.name.to_owned(), Value::Array(vec![notification]));
        Job {
            transaction_id: self.job.transaction_id.clone(),
            account: self.job.account.clone(),
            operation: self.job.operation.clone(),
            payload: payload.into(),
            priority: self.job.priority,
            not_before: self.job.not_before,
            expires_at: self.job.expires_at,
            meta: self.job.meta.clone(),
        }
    }

    /// The key under which requests are shared. `None` for a notification so large that a full
    /// request of its like would be above the provider's limit.
    fn batch_key(&self, job: &Job, id: &DeliveryId) -> Option<Arc<str>> {
        let most = self.account.notifications_per_request;
        if most < 2 {
            return None;
        }
        let own = json_bytes(&request::notification(job, id)) + 1;
        let envelope = || Value::Object(request::envelope(self.account, &self.job.payload));
        let key = self.key.get_or_init(|| canonical(&envelope()).into());
        let whole = own.saturating_mul(most) + key.len() + FRAME;
        (whole <= LARGEST_REQUEST).then(|| key.clone())
    }
}

fn class(account: &Account, notification: &Value) -> Class {
    let exempt = account.requests_per_minute.is_none()
        || notification.as_object().is_some_and(|object| exempt::is_exempt(object, account.exempt_devices));
    if exempt { Class::Exempt } else { Class::Counted(MESSAGES) }
}

fn json_bytes(object: &impl Serialize) -> usize {
    // A map of JSON values always has a JSON text; were there none, no size is the safe answer.
    serde_json::to_vec(object).map_or(usize::MAX / 4096, |bytes| bytes.len())
}

/// JSON text that is equal for equal values, in whatever order their members were written.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let texts = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)));
            format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
