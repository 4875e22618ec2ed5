//! Reading what a provider answers, as far as providers are alike: HTTP statuses, waits, texts.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;

use crate::ports::MOST_ANSWER_BYTES;
use crate::verdict::Verdict;

/// The longest text of a provider that is kept, in characters.
const LONGEST_TEXT: usize = 300;

/// The longest wait that is believed; also the bound above which `x-ratelimit-reset` is a moment
/// instead of a wait. A header with a slip in it must not stop an account for years.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// The shortest value that is masked where a provider repeats it: below that, masking would tear
/// words of the provider's own apart.
const SHORTEST_MASKED: usize = 4;

/// How much of a text is looked at, in bytes: what is kept, and as much that may be masked.
const MOST_LOOKED_AT: usize = 4_096;

/// The most different values that are searched for one by one. Where more of them seem to stand in a
/// text, all of it is masked: that is safe, and the work stays small whatever is sent.
const MOST_SEARCHED: usize = 1_000;

/// So many values are searched for without a look at what the text holds.
const FEW: usize = 4;

/// What stands in place of a value that nobody may see.
const HIDDEN: &str = "[hidden]";

/// A text from outside, fit for receipts, dead letters and logs: without the given values, without
/// control characters, cut to 300 characters.
///
/// The work grows with the text's first 4 KiB and with the values, not with their product.
pub(super) fn clean<'a>(text: &str, hidden: impl IntoIterator<Item = &'a str>) -> String {
    clean_words(text, hidden, [])
}

/// [`clean`] that also masks words of any length, where they stand by themselves.
pub(super) fn clean_words<'a>(
    text: &str,
    hidden: impl IntoIterator<Item = &'a str>,
    words: impl IntoIterator<Item = &'a str>,
) -> String {
    let head = &text[..text.floor_char_boundary(MOST_LOOKED_AT)];
    let masked = masked(head, &found(text, head, hidden, words));
    let visible = masked.replace(char::is_control, " ");
    let visible = visible.trim();
    match visible.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &visible[..end]),
        None if head.len() < text.len() => format!("{visible}…"),
        None => visible.to_owned(),
    }
}

/// Where the values begin and end that begin in the text's head. They may end behind it: a value must
/// not survive in part because the cut goes through it.
fn found<'a>(
    text: &str,
    head: &str,
    hidden: impl IntoIterator<Item = &'a str>,
    words: impl IntoIterator<Item = &'a str>,
) -> Vec<(usize, usize)> {
    let hidden = as_written(hidden);
    // Of a few it costs less to look for each than to note what the text holds.
    let starts = (hidden.len() > FEW).then(|| Starts::of(text, head));
    let mut candidates: Vec<&str> = hidden
        .iter()
        .map(AsRef::as_ref)
        .filter(|value| value.len() >= SHORTEST_MASKED)
        .filter(|value| starts.as_ref().is_none_or(|starts| starts.may_hold(value)))
        .collect();
    candidates.sort_unstable();
    candidates.dedup();
    if candidates.len() > MOST_SEARCHED {
        return vec![(0, text.len())];
    }
    let places = |value: &str| {
        let end = text.floor_char_boundary(head.len() + value.len());
        let matches = text[..end].match_indices(value).map(|(start, value)| (start, start + value.len()));
        matches.collect::<Vec<_>>()
    };
    let alone = |&(start, end): &(usize, usize)| {
        !text[..start].ends_with(char::is_alphanumeric) && !text[end..].starts_with(char::is_alphanumeric)
    };
    let words = words.into_iter().filter(|word| !word.is_empty()).take(MOST_SEARCHED);
    let mut found: Vec<_> = candidates.into_iter().flat_map(places).collect();
    found.extend(words.flat_map(places).filter(alone));
    found.sort_unstable();
    found
}

/// The beginnings of everything that begins in a text's head, so that a value that is not there costs
/// one look.
struct Starts<'t> {
    short: HashSet<&'t [u8]>,
    long: HashSet<&'t [u8]>,
}

impl<'t> Starts<'t> {
    const LONG: usize = 12;

    fn of(text: &'t str, head: &str) -> Self {
        let windows = |size: usize| text.as_bytes().windows(size).take(head.len()).collect();
        Self { short: windows(SHORTEST_MASKED), long: windows(Self::LONG) }
    }

    /// Whether the head may hold the value, which is no shorter than the shortest that is masked.
    fn may_hold(&self, value: &str) -> bool {
        let start = |size: usize| value.as_bytes().get(..size);
        match start(Self::LONG) {
            Some(start) => self.long.contains(start),
            None => start(SHORTEST_MASKED).is_some_and(|start| self.short.contains(start)),
        }
    }
}

/// A text with these stretches masked, in order of their beginnings; what overlaps is masked as one.
fn masked(head: &str, stretches: &[(usize, usize)]) -> String {
    let (mut masked, mut done) = (String::new(), 0);
    for &(start, end) in stretches.iter().filter(|(start, _)| *start < head.len()) {
        if start >= done {
            masked.push_str(&head[done..start]);
            masked.push_str(HIDDEN);
        }
        done = done.max(end.min(head.len()));
    }
    masked.push_str(&head[done..]);
    masked
}

/// The values, and beside them what JSON writes for those that have a quote, a backslash or a control
/// character: so they stand in a request, which an answer may quote.
fn as_written<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    let quoted = |value: &str| {
        let differs = value.bytes().any(|b| matches!(b, b'"' | b'\\' | 0..0x20));
        differs
            .then(|| Value::from(value).to_string())
            .map(|json| Cow::Owned(json[1..json.len() - 1].to_owned()))
    };
    values.into_iter().flat_map(|value| std::iter::once(Cow::Borrowed(value)).chain(quoted(value))).collect()
}

/// A text of a provider without these secrets, else as it came.
pub(super) fn mask_text(text: &str, secrets: &[&str]) -> String {
    mask_written(text.to_owned(), &as_written(secrets.iter().copied()))
}

fn mask_written(text: String, secrets: &[Cow<'_, str>]) -> String {
    let inside = secrets.iter().filter(|secret| !secret.is_empty() && text.contains(secret.as_ref()));
    let places = inside.flat_map(|secret| text.match_indices(secret.as_ref()));
    let mut stretches: Vec<_> = places.map(|(start, secret)| (start, start + secret.len())).collect();
    stretches.sort_unstable();
    if stretches.is_empty() { text } else { masked(&text, &stretches) }
}

/// A value of a provider without these secrets, in texts and in names, at any depth; else as it came.
/// Whatever answers at a configured address could send a request's credentials back.
pub(super) fn mask(value: Value, secrets: &[&str]) -> Value {
    mask_all(value, &as_written(secrets.iter().copied()))
}

fn mask_all(value: Value, secrets: &[Cow<'_, str>]) -> Value {
    match value {
        Value::String(text) => mask_written(text, secrets).into(),
        Value::Array(list) => list.into_iter().map(|item| mask_all(item, secrets)).collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(name, value)| (mask_written(name, secrets), mask_all(value, secrets)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// All texts inside a value, at any depth, for hiding them.
pub(super) fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(list) => list.iter().for_each(|item| texts(item, into)),
        Value::Object(object) => object.values().for_each(|item| texts(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A success whose body says nothing: what was asked for may have been done.
pub(super) fn unreadable() -> Verdict {
    let cause = "the answer can't be read although its HTTP status is success".to_owned();
    Verdict::Unknown { cause, fault: false }
}

/// An answer to a call that only reads, cut off at the most that is read: asking again would bring
/// the same. `advice` says how to ask for less.
pub(super) fn too_large(advice: &str) -> Verdict {
    let most = MOST_ANSWER_BYTES / (1024 * 1024);
    Verdict::Refused { reason: format!("the answer is larger than {most} MiB; {advice}") }
}

/// What an HTTP status means by itself; `None` for success, whose body decides.
///
/// `text` is the provider's own explanation, already clean.
pub(super) fn by_status(status: u16, headers: &[(String, String)], text: &str) -> Option<Verdict> {
    let said = || if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
    let verdict = match status {
        200..=299 => return None,
        429 => Verdict::Throttled { retry_after: retry_after(headers) },
        // About this request's content. In a shared request nobody is blamed, so that a body too
        // large for one request gets smaller.
        400 | 409 | 413 | 422 => Verdict::Refused { reason: said() },
        // The request did not arrive in time: as far as the server knows, not whole. Some proxies
        // answer it after passing everything on.
        408 => Verdict::Unknown { cause: said(), fault: false },
        // Everything else says that the credential, the address or the way of calling is wrong, and
        // would say so for every delivery. If it was only this one, the probe finds that out.
        300..=499 => Verdict::Misconfigured { cause: said() },
        503 => Verdict::Failed { cause: said(), retry_after: retry_after(headers) },
        500..=599 => Verdict::Unknown { cause: said(), fault: true },
        _ => Verdict::Unknown { cause: said(), fault: false },
    };
    Some(verdict)
}

/// How long the provider asks to wait: `Retry-After`, else `x-ratelimit-reset`; at most a day.
///
/// `None` when nothing readable is there, or no time is left of it: a wait of nothing in an answer
/// that refuses for being too fast would only bring the next refusal.
///
/// A moment is measured from the response's own `Date`, so no clock of ours comes into it.
pub(super) fn retry_after(headers: &[(String, String)]) -> Option<Duration> {
    let header = |name: &str| {
        headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let date = header("date").and_then(http_date);
    let asked = header("retry-after").and_then(|value| wait_or_moment(value, date));
    let reset = || header("x-ratelimit-reset").and_then(|value| reset_wait(value, date));
    asked.or_else(reset).filter(|wait| !wait.is_zero()).map(|wait| wait.min(LONGEST_WAIT))
}

fn wait_or_moment(value: &str, date: Option<Timestamp>) -> Option<Duration> {
    seconds(value).or_else(|| until(http_date(value)?, date?))
}

/// Seconds to wait in one document, seconds since 1970 in another; told apart by their size.
fn reset_wait(value: &str, date: Option<Timestamp>) -> Option<Duration> {
    let value = seconds(value)?;
    if value < LONGEST_WAIT {
        return Some(value);
    }
    let moment = Timestamp::from_second(i64::try_from(value.as_secs()).ok()?).ok()?;
    until(moment, date?)
}

/// Whole seconds, a fraction rounded up.
fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let extra = u64::from(fraction.bytes().any(|b| b != b'0'));
    Some(Duration::from_secs(whole.parse::<u64>().ok()?.saturating_add(extra)))
}

fn http_date(value: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value).ok()
}

fn until(moment: Timestamp, from: Timestamp) -> Option<Duration> {
    Duration::try_from(moment.duration_since(from)).ok()
}

/// Whether a provider's explanation speaks of its limit on *requests*.
///
/// Neither provider publishes the text, so this matches loosely; but a limit on devices or
/// characters is the delivery's fault, and taking it for throttling would send it for ever.
pub(super) fn speaks_of_rate_limit(text: &str) -> bool {
    let text = text.to_lowercase();
    let has = |part: &&str| text.contains(*part);
    let word = |word: &str| CONTENT.contains(&word.trim_end_matches('s'));
    let of_content = text.split(|c: char| !c.is_alphanumeric() && c != '_').any(word);
    !PACING_MEMBERS.iter().any(has) && (PLAIN.iter().any(has) || (LOOSE.iter().any(has) && !of_content))
}

/// What is said of requests only.
const PLAIN: [&str; 9] = [
    "too many requests",
    "throttl",
    "rate limit",
    "rate-limit",
    "ratelimit",
    "request limit",
    "per second",
    "per minute",
    "per hour",
];

/// What may be said of requests, or of a delivery's content.
const LOOSE: [&str; 3] = ["limit", "too many", "rate exceed"];

/// Words of limits on a delivery's content, in the singular.
const CONTENT: [&str; 24] = [
    "device",
    "user",
    "recipient",
    "notification",
    "character",
    "length",
    "size",
    "byte",
    "kb",
    "mb",
    "payload",
    "content",
    "tag",
    "condition",
    "filter",
    "platform",
    "inbox",
    "capping",
    "value",
    "attribute",
    "goal",
    "token",
    "item",
    "action",
];

/// Members of a delivery that pace its own sending: an answer that names one speaks of that.
const PACING_MEMBERS: [&str; 3] = ["send_rate", "send rate", "campaignthrottle"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Given = &'static [(&'static str, &'static str)];

    fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn waits() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let cases: [(Given, Option<u64>); 17] = [
            (&[], None),
            (&[("retry-after", "17")], Some(17)),
            (&[("Retry-After", " 17 ")], Some(17)),
            (&[("retry-after", "1.2")], Some(2)),
            (&[("retry-after", "0")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "99999999999999999999")], None),
            (&[("retry-after", "9999999")], Some(86_400)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")], None),
            (&[("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT"), DATE], Some(23)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT"), DATE], None),
            (&[("x-ratelimit-reset", "41")], Some(41)),
            (&[("x-ratelimit-reset", "784111797"), DATE], Some(20)),
            (&[("x-ratelimit-reset", "784111797")], None),
            (&[("retry-after", "3"), ("x-ratelimit-reset", "41")], Some(3)),
            (&[("retry-after", "x"), ("x-ratelimit-reset", "41")], Some(41)),
        ];
        for (given, expected) in cases {
            assert_eq!(retry_after(&headers(given)), expected.map(Duration::from_secs), "{given:?}");
        }
    }

    #[test]
    fn statuses() {
        let wait = headers(&[("retry-after", "9")]);
        let cases = [
            (200, "ok"),
            (204, "ok"),
            (301, "misconfigured"),
            (400, "refused"),
            (401, "misconfigured"),
            (402, "misconfigured"),
            (403, "misconfigured"),
            (404, "misconfigured"),
            (405, "misconfigured"),
            (408, "unknown"),
            (409, "refused"),
            (413, "refused"),
            (415, "misconfigured"),
            (422, "refused"),
            (429, "throttled"),
            (500, "unknown"),
            (502, "unknown"),
            (503, "failed"),
            (504, "unknown"),
            (599, "unknown"),
            (0, "unknown"),
            (199, "unknown"),
            (600, "unknown"),
        ];
        for (status, expected) in cases {
            let verdict = by_status(status, &wait, "");
            assert_eq!(verdict.as_ref().map_or("ok", Verdict::label), expected, "{status}");
            match verdict {
                Some(Verdict::Unknown { fault, .. }) => {
                    assert_eq!(fault, (500..=599).contains(&status), "{status}");
                }
                Some(Verdict::Throttled { retry_after } | Verdict::Failed { retry_after, .. }) => {
                    assert_eq!(retry_after, Some(Duration::from_secs(9)), "{status}");
                }
                _ => {}
            }
        }
        assert_eq!(
            by_status(413, &[], "too big"),
            Some(Verdict::Refused { reason: "HTTP 413: too big".into() })
        );
    }

    #[test]
    fn texts_are_masked_then_cleaned_then_cut() {
        assert_eq!(clean("token abcd-1234 is\nwrong\u{7} ", ["abcd-1234", "is"]), "token [hidden] is wrong");
        let long = clean(&"ü".repeat(400), []);
        assert_eq!(long.chars().count(), 301);
        // A value must not survive in part because the cut went through it.
        let cut_through = format!("{}secret-value", "x".repeat(295));
        assert!(!clean(&cut_through, ["secret-value"]).contains("secr"));
    }

    #[test]
    fn values_are_masked_as_json_quotes_them_too() {
        let token = "a\"b\\c-secret\n";
        let request = json!({"auth": token, "x": 1}).to_string();
        for shown in [
            clean(&format!("refused: {request}"), [token]),
            mask_text(&format!("{token} {request}"), &[token]),
            mask(json!([request, {request.as_str(): token}]), &[token]).to_string(),
        ] {
            assert!(shown.contains("[hidden]") && !shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn values_are_masked_wherever_they_stand() {
        let long = "v".repeat(5_000);
        let text = format!("value {long} is wrong");
        assert_eq!(clean(&text, [long.as_str()]), "value [hidden]…");
        // Two that overlap leave nothing of either.
        assert_eq!(clean("abcdefgh", ["abcd", "cdefgh"]), "[hidden]");
        assert_eq!(clean("abcdefgh", ["abcdef", "bcde"]), "[hidden]gh");
        assert_eq!(clean("abcdabcd-abcd", ["abcd"]), "[hidden][hidden]-[hidden]");
        // A text behind a long value is still read.
        let text = format!("{} is wrong", "w".repeat(1_000));
        assert_eq!(clean(&text, ["w".repeat(1_000).as_str()]), "[hidden] is wrong");
        // Short ones only as words.
        let shown = clean_words("id 7 of 77 (7), a7 7a 7", [], ["7", ""]);
        assert_eq!(shown, "id [hidden] of 77 ([hidden]), a7 7a [hidden]");
        assert_eq!(clean("id 7", ["7"]), "id 7");
        // Wherever the text's head ends.
        for blanks in MOST_LOOKED_AT - 20..=MOST_LOOKED_AT {
            let shown = clean(&format!("{}secret-value", " ".repeat(blanks)), ["secret-value"]);
            assert!(["[hidden]", "[hidden]…", "…"].contains(&shown.as_str()), "{blanks}: {shown}");
        }
    }

    #[test]
    fn cleaning_is_little_work_whatever_is_sent() {
        // Searching the whole text for each of them would take minutes.
        let text = "user-0 is no user; ".repeat(200_000);
        let values: Vec<String> = (0..200_000).map(|n| format!("user-{n}-of-this-payload")).collect();
        assert!(clean(&text, values.iter().map(String::as_str)).starts_with("user-0 is"));
        // As many that all seem to stand there: nothing is shown.
        let text = "a".repeat(4_000_000);
        let values: Vec<String> = (0..50_000).map(|n| format!("{}{n}", "a".repeat(20))).collect();
        assert_eq!(clean(&text, values.iter().map(String::as_str)), "[hidden]…");
    }

    #[test]
    fn secrets_are_masked_in_texts_and_names_at_any_depth() {
        for (value, expected) in [
            (json!("key-1"), json!("[hidden]")),
            (json!(["a key-1 b", 5, null, true]), json!(["a [hidden] b", 5, null, true])),
            (
                json!({"key-1": "x", "y": {"akey-1": ["key-1"]}}),
                json!({"[hidden]": "x", "y": {"a[hidden]": ["[hidden]"]}}),
            ),
            (json!("key-1-long"), json!("[hidden]")),
            (json!("key-1key-1-long"), json!("[hidden][hidden]")),
            (json!({"keys": ["key", 1]}), json!({"keys": ["key", 1]})),
        ] {
            assert_eq!(mask(value.clone(), &["key-1", "key-1-long", ""]), expected, "{value}");
        }
    }

    #[test]
    fn limits_on_requests_are_told_from_limits_on_content() {
        for (text, expected) in [
            ("Request limit exceeded", true),
            ("Too many requests", true),
            ("You have exceeded the rate limit of 600 requests per minute", true),
            ("Requests are throttled", true),
            ("Limit exceeded", true),
            ("Too many devices", false),
            ("Devices list limit is 1000", false),
            ("send_rate must be between 100 and 1000", false),
            ("Content exceeds the size limit", false),
            ("Limit of 600 notifications per minute reached", true),
            ("Too many calls at this stage, limit reached", true),
            ("Send rate must be below 1000 pushes per second", false),
            ("campaignThrottleRpm: Value not allowed", false),
            ("Campaign Name not found", false),
            ("Failed to generate a message", false),
            ("", false),
        ] {
            assert_eq!(speaks_of_rate_limit(text), expected, "{text:?}");
        }
    }
}
