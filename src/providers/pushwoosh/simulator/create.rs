//! `createMessage`: a list of notifications, sent one by one.

use serde_json::{Map, Value, json};

use super::messages::{Messages, Origin};
use super::{DENIED, NO_CODE, argument_error, notification, ok, text};
use crate::simulator::{Account, Answer, Fate, Moment, Named, Performed, Rules};

/// The notifications; none where they are no list.
pub(super) fn notifications(content: &Map<String, Value>) -> &[Value] {
    content.get("notifications").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// How a notification is called.
pub(super) fn named(notification: &Value) -> Named {
    let id = notification.get("transactionId").and_then(Value::as_str).map(str::to_owned);
    Named { key: id.clone(), id }
}

/// Sends the notifications one by one; the first faulty one ends it.
pub(super) fn perform(
    content: &Map<String, Value>,
    account: &mut Account,
    rules: &Rules,
    now: Moment,
) -> Performed {
    let list = notifications(content);
    let group = text(content, "applications_group");
    let application = match application(content, group) {
        Ok(application) => application,
        Err(problem) => {
            return Performed { answer: error(problem, &[]), fates: vec![Fate::Refused; list.len()] };
        }
    };
    let mut sending = Sending { account, rules, now, application };
    let (mut codes, mut fates, mut unknown) = (Vec::new(), Vec::new(), Map::new());
    for notification in list {
        if let Some(problem) = notification::problem(notification, group.is_some()) {
            fates.push(Fate::Refused);
            fates.resize(list.len(), Fate::NotReached);
            return Performed { answer: error(&problem, &codes), fates };
        }
        let (code, fate) = sending.send(notification);
        note_unknown(&mut unknown, &code, notification);
        codes.push(code);
        fates.push(fate);
    }
    let mut response = json!({"Messages": codes});
    if !unknown.is_empty() {
        response["UnknownDevices"] = Value::Object(unknown);
    }
    Performed { answer: ok(response), fates }
}

/// The application or the group; `Err` says what is wrong with the request as a whole.
fn application<'a>(content: &'a Map<String, Value>, group: Option<&'a str>) -> Result<&'a str, &'static str> {
    let application = match (text(content, "application"), group) {
        (Some(application), None) | (None, Some(application)) => application,
        (Some(_), Some(_)) => return Err("application and applications_group can't be used together"),
        (None, None) => return Err("application is required"),
    };
    if application.starts_with("unknown") {
        return Err(DENIED);
    }
    match content.get("notifications") {
        Some(Value::Array(list)) if !list.is_empty() => Ok(application),
        Some(_) | None => Err("\"notifications\" must be a non-empty array"),
    }
}

struct Sending<'a> {
    account: &'a mut Account,
    rules: &'a Rules,
    now: Moment,
    application: &'a str,
}

impl Sending<'_> {
    fn send(&mut self, notification: &Value) -> (String, Fate) {
        let id = notification.get("transactionId").and_then(Value::as_str).unwrap_or_default();
        let key = format!("createMessage/{id}");
        if !id.is_empty()
            && let Some(code) = self.account.recall(&key, self.now.since_start)
        {
            return (code.to_owned(), Fate::Suppressed(code.to_owned()));
        }
        let code = if notification::is_stored(notification, self.rules.exempt_devices) {
            self.store(notification)
        } else {
            NO_CODE.to_owned()
        };
        if !id.is_empty() {
            let until = self.rules.duplicate_window.map(|window| self.now.since_start + window);
            self.account.remember(key, code.clone(), until, self.now.since_start);
        }
        (code.clone(), Fate::Accepted(code))
    }

    fn store(&mut self, notification: &Value) -> String {
        let code = self.account.new_code();
        let origin = Origin { applications: vec![self.application.to_owned()], now: self.now.wall };
        let empty = Map::new();
        let members = notification.as_object().unwrap_or(&empty);
        self.account.state::<Messages>().keep(code.clone(), members, origin);
        code
    }
}

/// Devices stand under their message's code; those of several messages without one share a place.
fn note_unknown(unknown: &mut Map<String, Value>, code: &str, notification: &Value) {
    let tokens = notification::unknown_devices(notification);
    if tokens.is_empty() {
        return;
    }
    let place = unknown.entry(code).or_insert_with(|| json!([]));
    if let Value::Array(list) = place {
        list.extend(tokens.into_iter().map(Value::from));
    }
}

fn error(message: &str, codes: &[String]) -> Answer {
    argument_error(message, json!({"Messages": codes}))
}
