//! What the documentation says of one notification: whether it is well formed, uses up the limit,
//! and is stored.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{STORED_FROM, conditions};

const MAX_TARGETS: usize = 1000;
const SMS: i64 = 18;

/// Whether a request with these notifications uses up the limit: one that counts makes all of it
/// count, and the devices of all of them add up.
pub(super) fn counted(notifications: &[Value], exempt_devices: usize) -> bool {
    let devices: usize = notifications.iter().map(|notification| list_len(notification, "devices")).sum();
    let small = (1..=exempt_devices).contains(&devices);
    !small || !notifications.iter().all(is_direct)
}

/// Sent at once to a list of devices and nobody else.
fn is_direct(notification: &Value) -> bool {
    let now = notification.get("send_date").and_then(Value::as_str) == Some("now");
    now && notification.get("users").is_none()
        && list_len(notification, "devices") > 0
        && !is_sms(notification)
}

/// Whether the message gets a code: sends to a few devices do not, unless tracing is on.
pub(super) fn is_stored(notification: &Value, exempt_devices: usize) -> bool {
    let few = (1..STORED_FROM).contains(&list_len(notification, "devices"));
    exempt_devices == 0 || !few || !is_direct(notification)
}

/// The devices that the provider does not know. With users, devices are not looked at.
pub(super) fn unknown_devices(notification: &Value) -> Vec<&str> {
    if notification.get("users").is_some() {
        return Vec::new();
    }
    texts(notification, "devices").filter(|token| token.starts_with("unknown")).collect()
}

/// What is wrong with a notification, if anything. Never repeats a token, a user or a text.
pub(super) fn problem(notification: &Value, group: bool) -> Option<String> {
    problem_of_message(notification)
        .or_else(|| targets(notification, "devices", group))
        .or_else(|| targets(notification, "users", group))
        .or_else(|| audience(notification))
        .or_else(|| sms(notification))
}

/// What is wrong with the part that both calls have, if anything.
pub(super) fn problem_of_message(message: &Value) -> Option<String> {
    let Some(members) = message.as_object() else {
        return Some("A notification must be an object".to_owned());
    };
    content(message).or_else(|| send_date(members)).or_else(|| numbers(message))
}

/// When a message is to be sent; `None` for a date or a timezone that is none.
pub(super) fn send_at(message: &Map<String, Value>, now: Timestamp) -> Option<Timestamp> {
    let zone = match message.get("timezone") {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name.as_str()?).ok()?,
    };
    match message.get("send_date").and_then(Value::as_str)? {
        "now" => Some(now),
        date if date.len() == 16 => {
            let date = DateTime::strptime("%Y-%m-%d %H:%M", date).ok()?;
            zone.to_timestamp(date).ok()
        }
        _ => None,
    }
}

fn content(notification: &Value) -> Option<String> {
    let texts: Vec<&Value> = match notification.get("content") {
        Some(text @ Value::String(_)) => vec![text],
        Some(Value::Object(languages)) if !languages.is_empty() => languages.values().collect(),
        Some(_) => return Some("\"content\" must be a string or an object of strings".to_owned()),
        None => return Some("\"content\" is required".to_owned()),
    };
    let mut faulty = false;
    for text in texts {
        match text.as_str() {
            Some(text) => faulty |= text.contains("faulty"),
            None => return Some("\"content\" must be a string or an object of strings".to_owned()),
        }
    }
    faulty.then(|| "The notification can't be parsed".to_owned())
}

fn send_date(message: &Map<String, Value>) -> Option<String> {
    let problem = "\"send_date\" must be \"now\" or YYYY-MM-DD HH:mm, in a known \"timezone\"";
    send_at(message, Timestamp::UNIX_EPOCH).is_none().then(|| problem.to_owned())
}

fn targets(notification: &Value, key: &str, group: bool) -> Option<String> {
    let given = notification.get(key)?;
    if group {
        return Some(format!("Application group for {key} list is not allowed"));
    }
    let Value::Array(list) = given else {
        return Some(format!("Invalid {key} list. \"{key}\" must be an array."));
    };
    let well_formed = list.iter().all(|target| target.as_str().is_some_and(|text| !text.is_empty()));
    if list.is_empty() || list.len() > MAX_TARGETS || !well_formed {
        return Some(format!("Invalid {key} list. 1 to {MAX_TARGETS} strings are allowed."));
    }
    None
}

fn audience(notification: &Value) -> Option<String> {
    let conditions = notification.get("conditions");
    if conditions.is_some() && notification.get("filter").is_some() {
        return Some("\"filter\" and \"conditions\" can't be used together".to_owned());
    }
    if let Some(problem) = conditions.and_then(conditions::problem) {
        return Some(problem.to_owned());
    }
    let operator = notification.get("conditions_operator")?;
    let known = matches!(operator.as_str(), Some("AND" | "OR"));
    (!known).then(|| "\"conditions_operator\" must be AND or OR".to_owned())
}

fn numbers(notification: &Value) -> Option<String> {
    let bounds = [("send_rate", 100, 1000), ("capping_days", 0, 30), ("inbox_days", 0, 30)];
    for (key, least, most) in bounds {
        let fits = |value: &Value| value.as_i64().is_some_and(|number| (least..=most).contains(&number));
        if notification.get(key).is_some_and(|value| !fits(value)) {
            return Some(format!("\"{key}\" must be an integer from {least} to {most}"));
        }
    }
    let id = notification.get("transactionId");
    if id.is_some_and(|id| !id.is_string()) {
        return Some("\"transactionId\" must be a string".to_owned());
    }
    let platforms = notification.get("platforms")?;
    let integers = platforms.as_array().is_some_and(|list| list.iter().all(Value::is_i64));
    (!integers).then(|| "\"platforms\" must be an array of integers".to_owned())
}

fn sms(notification: &Value) -> Option<String> {
    let one_device = list_len(notification, "devices") == 1;
    (is_sms(notification) && !one_device).then(|| "An SMS goes to exactly one device".to_owned())
}

fn is_sms(notification: &Value) -> bool {
    let platforms = notification.get("platforms").and_then(Value::as_array);
    platforms.is_some_and(|list| list.iter().any(|platform| platform.as_i64() == Some(SMS)))
}

fn list_len(notification: &Value, key: &str) -> usize {
    notification.get(key).and_then(Value::as_array).map_or(0, Vec::len)
}

fn texts<'a>(notification: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let list = notification.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str)
}
