//! `createTargetedMessage`: one message to the devices that a filter describes.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::messages::{Messages, Origin};
use super::{DENIED, argument_error, notification, ok, refused, text};
use crate::simulator::{Account, Fate, Moment, Named, Performed, Rules};

/// The members that aim a `createMessage` and are not allowed here.
const FORBIDDEN: [&str; 6] =
    ["application", "applications_group", "platforms", "devices", "filter", "conditions"];

/// The key differs from that of a `createMessage` with the same id: the provider keeps two lists.
pub(super) fn named(content: &Map<String, Value>) -> Named {
    let id = text(content, "transactionId").map(str::to_owned);
    Named { key: id.as_deref().map(key), id }
}

fn key(id: &str) -> String {
    format!("createTargetedMessage/{id}")
}

/// Sends the message, unless its id is known.
pub(super) fn perform(
    content: &Map<String, Value>,
    account: &mut Account,
    rules: &Rules,
    now: Moment,
) -> Performed {
    if let Some(problem) = problem(content) {
        return refused(&problem);
    }
    let filter = text(content, "devices_filter").unwrap_or_default();
    let applications = match scan(filter) {
        Ok(applications) => applications,
        Err(message) => return broken_filter(message),
    };
    if applications.iter().any(|application| application.starts_with("unknown")) {
        return refused(DENIED);
    }
    let key = text(content, "transactionId").map(key);
    if let Some(code) = key.as_deref().and_then(|key| account.recall(key, now.since_start)) {
        return Performed { answer: ok(response(code)), fates: vec![Fate::Suppressed(code.to_owned())] };
    }
    let code = account.new_code();
    account.state::<Messages>().keep(code.clone(), content, Origin { applications, now: now.wall });
    if let Some(key) = key {
        let until = rules.targeted_duplicate_window.map(|window| now.since_start + window);
        account.remember(key, code.clone(), until, now.since_start);
    }
    Performed { answer: ok(response(&code)), fates: vec![Fate::Accepted(code)] }
}

fn problem(content: &Map<String, Value>) -> Option<String> {
    if let Some(member) = FORBIDDEN.into_iter().find(|member| content.contains_key(*member)) {
        return Some(format!("\"{member}\" can't be used in createTargetedMessage"));
    }
    if text(content, "devices_filter").is_none() {
        return Some("\"devices_filter\" is required".to_owned());
    }
    notification::problem_of_message(&Value::Object(content.clone()))
}

fn response(code: &str) -> Value {
    json!({"messageCode": code, "trackingCode": tracking_code(code)})
}

/// The tracking code of a message: the same whenever it is asked for.
pub(super) fn tracking_code(code: &str) -> String {
    let hex = hex::encode_upper(Sha256::digest(code));
    format!("T-{}-{}-{}", &hex[..4], &hex[4..12], &hex[12..20])
}

fn broken_filter(message: &str) -> Performed {
    let response = json!({"errors": [{"message": message, "type": "syntax"}]});
    let answer = argument_error("Errors occurred while compiling filter", response);
    Performed { answer, fates: vec![Fate::Refused] }
}

/// Whether quotes and brackets are closed, sets are joined by operations, and nothing but sets is
/// there: not the whole grammar, which the worker's own check knows. Gives the applications that
/// are named in `A` and `AT` sets.
fn scan(filter: &str) -> Result<Vec<String>, &'static str> {
    let mut scan = Scan::default();
    let mut rest = filter;
    while let Some(first) = rest.chars().next() {
        let (_, behind) = rest.split_at(first.len_utf8());
        rest = match first {
            '"' => {
                let (string, behind) = behind.split_once('"').ok_or("\"\\\"\" expected.")?;
                scan.string(string);
                behind
            }
            _ => {
                scan.sign(first)?;
                behind
            }
        };
    }
    scan.finish()
}

#[derive(Default)]
struct Scan {
    open: Vec<char>,
    /// The letters in front of a bracket.
    word: String,
    /// The next string is the application of an `A` or `AT` set.
    names_application: bool,
    /// A set or a bracket is complete: an operation must follow.
    complete: bool,
    /// How many brackets were open when the set began that is being read.
    set_from: Option<usize>,
    applications: Vec<String>,
}

impl Scan {
    fn string(&mut self, string: &str) {
        if std::mem::take(&mut self.names_application) {
            self.applications.push(string.to_owned());
        }
    }

    fn sign(&mut self, sign: char) -> Result<(), &'static str> {
        match (sign, self.set_from) {
            (blank, _) if blank.is_whitespace() => Ok(()),
            ('(' | '[', _) => self.open(sign),
            (')' | ']', _) => self.close(sign),
            (inside, Some(_)) if inside.is_ascii() => Ok(()),
            ('+' | '*' | '\\', None) if self.complete => {
                self.complete = false;
                Ok(())
            }
            (letter, None) if letter.is_ascii_uppercase() && !self.complete => {
                self.word.push(letter);
                Ok(())
            }
            (_, Some(_)) => Err("Invalid tag set specification."),
            (_, None) => Err("Invalid set specification."),
        }
    }

    fn open(&mut self, sign: char) -> Result<(), &'static str> {
        if self.set_from.is_none() {
            let word = std::mem::take(&mut self.word);
            match (word.as_str(), sign, self.complete) {
                ("", '(', false) => {}
                ("A" | "AT" | "T" | "G", '(', false) => {
                    self.set_from = Some(self.open.len());
                    self.names_application = word.starts_with('A');
                }
                _ => return Err("Invalid set specification."),
            }
        }
        self.open.push(sign);
        Ok(())
    }

    fn close(&mut self, sign: char) -> Result<(), &'static str> {
        let (expected, message) = match self.open.pop() {
            Some('(') => (')', "Invalid tag set specification. \")\" expected."),
            Some(_) => (']', "Invalid tag set specification. \"]\" expected."),
            None => return Err("Unexpected \")\"."),
        };
        let inside_set = self.set_from.is_some();
        if sign != expected || (!inside_set && !self.complete) {
            return Err(message);
        }
        if self.set_from.is_none_or(|depth| depth == self.open.len()) {
            self.set_from = None;
            self.complete = true;
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<String>, &'static str> {
        match (self.open.last(), self.complete) {
            (None, true) => Ok(self.applications),
            (None, false) => Err("Set specification expected."),
            (Some('('), _) => Err("Invalid tag set specification. \")\" expected."),
            (Some(_), _) => Err("Invalid tag set specification. \"]\" expected."),
        }
    }
}

#[cfg(test)]
mod tests;
