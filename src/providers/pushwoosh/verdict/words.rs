//! The provider's words told apart from the producer's, which an answer may repeat.
//!
//! A refusal's meaning is read from loose words, so a word that a producer chose must decide nothing:
//! a tag named "Clicks per minute" is no rate limit.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use crate::job::Object;
use crate::providers::answer::{clean, mask_text, speaks_of_rate_limit};
use crate::providers::pushwoosh::fields::{MESSAGE, platforms::PLATFORM};

/// The shortest text or number of a producer that is looked for: a shorter one is part of too many
/// words of the provider's own.
const SHORTEST: usize = 4;

/// What stands where a text of the producer stood: no letter and no blank, so that the words around
/// it stay apart.
const GAP: &str = "\u{fffd}";

/// Texts that mean what they say, whatever the producer wrote. Compared whole, without regard to
/// case and a full stop.
const KNOWN: [&str; 10] = [
    "access denied or application not found",
    "requests limit exceeded",
    "request limit exceeded",
    "rate limit exceeded",
    "limit exceeded",
    "too many requests",
    "duplicate transactionid",
    "duplicate transaction",
    "transaction already exists",
    "transactionid already exists",
];

/// What was sent, as an answer may repeat it.
///
/// Gathered when an answer is first found to say anything: most say nothing but that all is well.
pub(in crate::providers::pushwoosh) struct Words<'a> {
    token: &'a str,
    gather: Box<dyn Fn(&mut Sent<'a>) + 'a>,
    sent: OnceCell<Sent<'a>>,
}

/// The texts of what was sent.
#[derive(Default)]
pub(in crate::providers::pushwoosh) struct Sent<'a> {
    /// Hidden from people, and no words of the provider's.
    data: Vec<Cow<'a, str>>,
    /// Meant to be seen, but no words of the provider's either.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Sent<'a> {
    /// Adds a message: all of it is data but its identity and its date.
    pub(in crate::providers::pushwoosh) fn add_message(&mut self, message: &'a Object) {
        for (name, value) in message {
            if name == "transactionId" || name == "send_date" {
                self.add_names(value);
            } else {
                self.add_data(value);
                self.add_number(name, value);
            }
        }
        self.names.extend(unknown_names(message));
    }

    /// Adds what no explanation may repeat: every text in a value, and every number inside it.
    pub(in crate::providers::pushwoosh) fn add_data(&mut self, value: &'a Value) {
        each_text(value, &mut |text| add_text(text, &mut self.data));
        each_inner_number(value, &mut |number| self.data.extend(long_number(number)));
    }

    /// Adds a single text that no explanation may repeat.
    pub(in crate::providers::pushwoosh) fn add_data_text(&mut self, text: &'a str) {
        add_text(text, &mut self.data);
    }

    /// Adds a number that no explanation may repeat.
    pub(in crate::providers::pushwoosh) fn add_data_number(&mut self, number: i64) {
        self.data.extend(long_number(&number.to_string()));
    }

    /// Adds what an explanation may repeat but the provider did not choose.
    pub(in crate::providers::pushwoosh) fn add_names(&mut self, value: &'a Value) {
        each_text(value, &mut |text| add_text(text, &mut self.names));
    }

    /// As `add_names`, of a single text.
    pub(in crate::providers::pushwoosh) fn add_name(&mut self, text: &'a str) {
        add_text(text, &mut self.names);
    }

    /// Forgets repetitions: many messages to many devices have much in common.
    fn settled(mut self) -> Self {
        for list in [&mut self.data, &mut self.names] {
            list.sort_unstable();
            list.dedup();
        }
        self
    }

    /// A member of the message itself is a setting (`send_rate`) unless nobody documents it.
    fn add_number(&mut self, name: &str, value: &Value) {
        if let Value::Number(number) = value
            && !is_documented(name)
        {
            self.data.extend(long_number(&number.to_string()));
        }
    }
}

impl<'a> Words<'a> {
    /// The words of what `gather` adds.
    pub(in crate::providers::pushwoosh) fn new(token: &'a str, gather: impl Fn(&mut Sent<'a>) + 'a) -> Self {
        Self { token, gather: Box::new(gather), sent: OnceCell::new() }
    }

    fn sent(&self) -> &Sent<'a> {
        self.sent.get_or_init(|| {
            let mut sent = Sent::default();
            (self.gather)(&mut sent);
            sent.settled()
        })
    }

    /// A text of the provider, fit for people: without our token and without the producer's data.
    pub(in crate::providers::pushwoosh) fn clean(&self, text: &str) -> String {
        if text.len() < SHORTEST {
            return clean(text, [self.token]);
        }
        clean(text, std::iter::once(self.token).chain(self.sent().data.iter().map(AsRef::as_ref)))
    }

    /// The code that the provider gives a message. What was sent may stand in it by chance, and a
    /// code with a part hidden is none; a text that can't be a code is like any other.
    pub(in crate::providers::pushwoosh) fn code(&self, code: &str) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if code.bytes().all(plain) { clean(code, [self.token]) } else { self.clean(code) }
    }

    /// A device that the provider names, which its producer is to know again; without our token, should
    /// the provider send that.
    pub(in crate::providers::pushwoosh) fn device(&self, device: &str) -> String {
        mask_text(device, &[self.token])
    }

    /// A text of the provider, fit for judging: in small letters, and nothing in it comes from the
    /// producer.
    pub(in crate::providers::pushwoosh) fn judged(&self, text: &str) -> String {
        let mut judged = text.to_lowercase();
        if KNOWN.contains(&judged.trim().trim_end_matches('.')) {
            return judged;
        }
        let Sent { data, names } = self.sent();
        let given = data.iter().chain(names).map(|text| text.to_lowercase());
        let mut given: Vec<String> = given.filter(|text| judged.contains(text)).collect();
        // Longest first: a short one may be part of a longer one, whose rest would stay.
        given.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        for text in given {
            judged = judged.replace(&text, GAP);
        }
        judged
    }

    /// Whether the provider speaks of its limit on requests. The text as it came must say so as
    /// well: some words, of limits on content, speak against it, and a producer's text may be one.
    pub(in crate::providers::pushwoosh) fn speak_of_rate_limit(&self, text: &str) -> bool {
        speaks_of_rate_limit(text) && speaks_of_rate_limit(&self.judged(text))
    }
}

fn is_documented(name: &str) -> bool {
    MESSAGE.iter().chain(PLATFORM).any(|member| member.name == name)
}

/// The names of members that no document has: the producer's words.
fn unknown_names(message: &Object) -> impl Iterator<Item = Cow<'_, str>> {
    const TARGETS: [&str; 6] = ["devices", "users", "filter", "conditions", "platforms", "devices_filter"];
    let known = |name: &str| is_documented(name) || TARGETS.contains(&name);
    let names = message.keys().filter(move |name| name.len() >= SHORTEST && !known(name));
    names.map(|name| Cow::Borrowed(name.as_str()))
}

fn each_text<'a>(value: &'a Value, with: &mut impl FnMut(&'a str)) {
    match value {
        Value::String(text) => with(text),
        Value::Array(list) => list.iter().for_each(|item| each_text(item, with)),
        Value::Object(object) => object.values().for_each(|item| each_text(item, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The numbers in lists and objects: operands and data, not settings.
fn each_inner_number(value: &Value, with: &mut impl FnMut(&str)) {
    let inner = |item: &Value| match item {
        Value::Number(number) => with(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            each_inner_number(item, with);
        }
    };
    match value {
        Value::Array(list) => list.iter().for_each(inner),
        Value::Object(object) => object.values().for_each(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A number without its sign, if it is long enough to tell something of a customer.
fn long_number<'a>(number: &str) -> Option<Cow<'a, str>> {
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    (digits >= SHORTEST).then(|| number.trim_start_matches('-').to_owned().into())
}

/// Adds a text, each line of it, and both as they look inside JSON.
fn add_text<'a>(text: &'a str, into: &mut Vec<Cow<'a, str>>) {
    let several = text.contains(['\n', '\r']);
    let lines = text.split(['\n', '\r']).filter(|_| several).map(str::trim);
    for part in std::iter::once(text).chain(lines).filter(|part| part.len() >= SHORTEST) {
        into.push(part.into());
        into.extend(escaped(part).into_iter().map(Cow::Owned));
    }
}

/// A text as JSON writes it between quotes, where that differs: with every character that may be
/// escaped so, and with only those that must be.
fn escaped(text: &str) -> Vec<String> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\' | b'/')) {
        return Vec::new();
    }
    let least = Value::from(text).to_string();
    let least = least[1..least.len() - 1].to_owned();
    let slashes = least.replace('/', "\\/");
    let ascii = slashes.chars().fold(String::new(), |mut ascii, c| {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
        ascii
    });
    let mut forms = vec![least, slashes, ascii];
    forms.retain(|form| form != text);
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> &Object {
        value.as_object().unwrap()
    }

    #[test]
    fn a_producer_s_words_are_taken_out_before_judging() {
        let message =
            json!({"content": "Limit", "campaign": "Über", "transactionId": "Rate-Limit-1", "my_limits": 1});
        let words = Words::new("token-of-the-shop", |sent| sent.add_message(object(&message)));
        for (text, expected) in [
            ("Campaign \"LIMIT\" not found", "campaign \"\u{fffd}\" not found"),
            ("rate-limit-1 is bad", "\u{fffd} is bad"),
            ("my_limits and ÜBER", "\u{fffd} and \u{fffd}"),
            ("Requests limit exceeded.", "requests limit exceeded."),
            ("Requests limit reached", "requests \u{fffd} reached"),
        ] {
            assert_eq!(words.judged(text), expected, "{text}");
        }
        assert!(words.speak_of_rate_limit("Requests limit exceeded"));
        assert!(!words.speak_of_rate_limit("limit not found"));
        let devices = Words::new("token-of-the-shop", |sent| sent.add_name("devices"));
        assert!(!devices.speak_of_rate_limit("Devices list limit is 1000"), "a limit on content stays one");
    }

    #[test]
    fn data_is_hidden_in_every_form() {
        let message = json!({
            "content": "Line one\nTAN 471123", "title": "Zürich/\"Süd\"", "send_rate": 1000, "account_no": 987654,
            "conditions": [["Customer", "EQ", 12345], ["Age", "GTE", 60]], "transactionId": "order-4711",
            "data": {"otp": 471999, "debt": -98765},
        });
        let words = Words::new("token-of-the-shop", |sent| sent.add_message(object(&message)));
        for (text, expected) in [
            (r"bad Line one\nTAN 471123", "bad [hidden]"),
            ("bad TAN 471123 there", "bad [hidden] there"),
            (r#"bad Zürich/\"Süd\""#, "bad [hidden]"),
            (r#"bad Z\u00fcrich\/\"S\u00fcd\""#, "bad [hidden]"),
            ("12345 is no value, 60 is", "[hidden] is no value, 60 is"),
            ("otp 471999, debt -98765, 987654", "otp [hidden], debt -[hidden], [hidden]"),
            ("send_rate must be at most 1000", "send_rate must be at most 1000"),
            ("order-4711 is known", "order-4711 is known"),
            ("token-of-the-shop", "[hidden]"),
        ] {
            assert_eq!(words.clean(text), expected, "{text}");
        }
    }

    #[test]
    fn codes_stay_whole() {
        let message = json!({"content": "1029", "title": "CODE"});
        let words = Words::new("token-of-the-shop", |sent| sent.add_message(object(&message)));
        for (code, expected) in [
            ("97B0-C7473871-1029AE20", "97B0-C7473871-1029AE20"),
            ("CODE_NOT_AVAILABLE", "CODE_NOT_AVAILABLE"),
            ("token-of-the-shop", "[hidden]"),
            ("no code: 1029", "no code: [hidden]"),
        ] {
            assert_eq!(words.code(code), expected);
        }
    }
}
