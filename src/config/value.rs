//! One value: from what stands in the file or a variable to what a key takes.
//!
//! A problem's text says what was found and what is allowed, and never shows a credential or an
//! address, which may hold one.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};
use url::Url;

use super::keys::Kind;
use super::source::Context;
use super::{Roots, Secret};

/// A credential's file larger than this is not one.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// What an address begins with that is a file.
pub(super) const EMBEDDED: &str = "embedded:";

/// The least limit that can be kept in any window.
const MIN_LIMIT: u32 = 2;

/// The largest number that is taken for a limit.
const MAX_LIMIT: u32 = 10_000_000;

/// What stands in the place of a limit where there is none.
const UNLIMITED: &str = "unlimited";

/// A text longer than this is cut off when it is shown in an error.
const SHOWN_CHARS: usize = 40;

/// What stands at a key.
pub struct Leaf {
    /// The value as TOML reads it.
    pub value: Value,
    /// The same as the text of the variable that set it, if one did.
    pub text: Option<String>,
}

impl Leaf {
    /// A default, written as it would stand in the file.
    pub fn default_of(toml: &str) -> Result<Self, String> {
        let table = format!("value = {toml}").parse::<Table>().map_err(|error| error.message().to_owned())?;
        let value = table.get("value").cloned().ok_or("no value")?;
        Ok(Self { value, text: None })
    }
}

/// A value of the kind that its key takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A text.
    Text(String),
    /// A credential.
    Secret(Secret),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(u64),
    /// A duration.
    Duration(Duration),
    /// A limit; `None` for unlimited.
    Limit(Option<u32>),
    /// Addresses, at least one.
    Addresses(Vec<Secret>),
    /// A file instead of servers.
    Embedded(PathBuf),
    /// CAs.
    Roots(Roots),
    /// A folder, as it is found from anywhere.
    Folder(PathBuf),
    /// Where to listen; `None` for nowhere.
    Listen(Option<SocketAddr>),
}

impl Parsed {
    /// As it may be shown: in TOML's notation, credentials masked.
    pub fn shown(&self) -> String {
        let quoted = |text: String| Value::String(text).to_string();
        match self {
            Self::Text(text) => quoted(text.clone()),
            Self::Secret(_) => "[secret]".into(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Limit(Some(limit)) => limit.to_string(),
            Self::Limit(None) => quoted(UNLIMITED.into()),
            Self::Duration(value) => quoted(humantime::format_duration(*value).to_string()),
            Self::Addresses(list) => {
                quoted(list.iter().map(|secret| masked(secret.expose())).collect::<Vec<_>>().join(","))
            }
            Self::Embedded(file) => quoted(format!("{EMBEDDED}{}", file.display())),
            Self::Roots(roots) => quoted(roots.file().to_owned()),
            Self::Folder(path) => quoted(path.display().to_string()),
            Self::Listen(None) => quoted("off".into()),
            Self::Listen(Some(address)) => quoted(address.to_string()),
        }
    }
}

/// An address without its password; its query may hold secrets too.
fn masked(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "[secret]".into() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "[secret]".into();
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}

/// Reads a value of a kind; the error says what was found and what is allowed.
pub fn parse(kind: &Kind, leaf: &Leaf, context: &Context) -> Result<Parsed, String> {
    let wrong = |found: String| format!("found {found}, allowed: {}", allowed(kind));
    match kind {
        Kind::Text => text(leaf).map(Parsed::Text).ok_or_else(|| wrong(found(leaf))),
        Kind::Secret => secret(leaf, context).map(Parsed::Secret),
        Kind::Boolean => leaf.value.as_bool().map(Parsed::Boolean).ok_or_else(|| wrong(found(leaf))),
        Kind::Integer { min, max } => leaf
            .value
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| (min..=max).contains(&number))
            .map(Parsed::Integer)
            .ok_or_else(|| wrong(found(leaf))),
        Kind::Limit => limit(leaf).map(Parsed::Limit).ok_or_else(|| wrong(found(leaf))),
        Kind::Duration { min, max } => leaf
            .value
            .as_str()
            .and_then(|text| humantime::parse_duration(text.trim()).ok())
            .filter(|duration| (min..=max).contains(&duration))
            .map(Parsed::Duration)
            .ok_or_else(|| wrong(found(leaf))),
        Kind::Choice(words) => text(leaf)
            .filter(|text| words.contains(&text.as_str()))
            .map(Parsed::Text)
            .ok_or_else(|| wrong(found(leaf))),
        Kind::Addresses { schemes, most } => {
            addresses(leaf, context, schemes, *most).map_err(|problem| match problem {
                Address::Wrong(what) => wrong(what),
                Address::Other(problem) => problem,
            })
        }
        Kind::Roots => {
            let path = text(leaf).ok_or_else(|| wrong(found(leaf)))?;
            Roots::read(&context.resolve(&path), &path).map(Parsed::Roots)
        }
        Kind::Folder => text(leaf)
            .filter(|path| !path.is_empty())
            .map(|path| Parsed::Folder(context.resolve(&path)))
            .ok_or_else(|| wrong(found(leaf))),
        Kind::Listen => listen(leaf).map(Parsed::Listen).ok_or_else(|| wrong(found(leaf))),
        Kind::Word { max } => {
            text(leaf).filter(|text| is_word(text, *max)).map(Parsed::Text).ok_or_else(|| wrong(found(leaf)))
        }
    }
}

/// What a kind allows, for people.
pub fn allowed(kind: &Kind) -> String {
    let span = |duration: &Duration| {
        const DAY: u64 = 24 * 60 * 60;
        let whole_days = duration.subsec_nanos() == 0 && duration.as_secs().is_multiple_of(DAY);
        match duration.as_secs() / DAY {
            days if whole_days && days > 0 => format!("{days}d"),
            // Which would call 90 days two months and a bit.
            _ => humantime::format_duration(*duration).to_string(),
        }
    };
    match kind {
        Kind::Text => "a text".into(),
        Kind::Secret => "{ env = \"NAME\" } or { file = \"PATH\" }".into(),
        Kind::Boolean => "true or false".into(),
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Limit => format!("a whole number from {MIN_LIMIT} to {MAX_LIMIT}, or {UNLIMITED:?}"),
        Kind::Duration { min, max } => {
            format!("a duration from {} to {}, written such as \"30s\" or \"2m 30s\"", span(min), span(max))
        }
        Kind::Choice(words) => words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or "),
        Kind::Addresses { schemes, most } => {
            let forms = schemes.iter().map(|scheme| format!("{scheme}://…")).collect::<Vec<_>>().join(" or ");
            let many = if *most > 1 { format!(" (up to {most}, comma separated)") } else { String::new() };
            format!("{forms}{many} or {EMBEDDED}FILE, also as {{ env = \"NAME\" }} or {{ file = \"PATH\" }}")
        }
        Kind::Roots => "the path of a PEM file with certificates of CAs, such as \"ca.pem\"".into(),
        Kind::Folder => "the path of a folder".into(),
        Kind::Listen => "an IP address with a port, such as \"127.0.0.1:9464\", or \"off\"".into(),
        Kind::Word { max } => format!("1 to {max} of A-Z a-z 0-9 _ -"),
    }
}

/// What stands there, for people. Only for keys that hold no credential.
fn found(leaf: &Leaf) -> String {
    match &leaf.value {
        Value::String(text) => short(text),
        value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_)) => {
            value.to_string()
        }
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
    }
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS).collect();
    if cut.len() < text.len() { format!("{cut:?}… (cut off)") } else { format!("{cut:?}") }
}

/// A text, also where a variable's text looks like a number.
fn text(leaf: &Leaf) -> Option<String> {
    leaf.value.as_str().map(str::to_owned).or_else(|| match &leaf.value {
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => leaf.text.clone(),
        Value::String(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    })
}

fn limit(leaf: &Leaf) -> Option<Option<u32>> {
    if leaf.value.as_str() == Some(UNLIMITED) {
        return Some(None);
    }
    let number = leaf.value.as_integer().and_then(|number| u32::try_from(number).ok())?;
    (MIN_LIMIT..=MAX_LIMIT).contains(&number).then_some(Some(number))
}

fn listen(leaf: &Leaf) -> Option<Option<SocketAddr>> {
    match text(leaf)?.as_str() {
        "off" => Some(None),
        address => address.parse().ok().map(Some),
    }
}

fn is_word(text: &str, max: usize) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=max).contains(&text.len()) && text.bytes().all(fits)
}

/// A credential: from a variable or a file. A plain text is refused where it stands in the file,
/// because a file is copied and committed; a variable may hold it, that is what `env` means.
fn secret(leaf: &Leaf, context: &Context) -> Result<Secret, String> {
    let form = allowed(&Kind::Secret);
    let table = match (&leaf.value, &leaf.text) {
        (Value::Table(table), _) => table,
        (_, Some(text)) => return checked_secret(text.clone()),
        (_, None) => {
            return Err(format!("a credential does not stand in the file itself, allowed: {form}"));
        }
    };
    indirect(table, context)?.ok_or_else(|| format!("found a table of another form, allowed: {form}"))
}

/// What `{ env = … }` or `{ file = … }` points to; `None` for a table of another form.
fn indirect(table: &Table, context: &Context) -> Result<Option<Secret>, String> {
    let mut entries = table.iter();
    let (Some((name, Value::String(target))), None) = (entries.next(), entries.next()) else {
        return Ok(None);
    };
    match name.as_str() {
        "env" => {
            let text = context
                .variable(target)
                .ok_or_else(|| format!("the environment variable {target} is not set"))?;
            checked_secret(text.to_owned())
                .map(Some)
                .map_err(|problem| format!("the environment variable {target}: {problem}"))
        }
        "file" => {
            let path = context.resolve(target);
            read_secret(&path).map(Some).map_err(|problem| format!("the file {}: {problem}", path.display()))
        }
        _ => Ok(None),
    }
}

fn read_secret(path: &std::path::Path) -> Result<Secret, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| format!("can't be read: {error}"))?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("has more than {MAX_SECRET_BYTES} bytes, which is no credential"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    checked_secret(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn checked_secret(text: String) -> Result<Secret, String> {
    if text.trim().is_empty() {
        return Err("is empty".into());
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character (a line break, perhaps)".into());
    }
    Ok(Secret::new(text))
}

enum Address {
    Wrong(String),
    Other(String),
}

fn addresses(leaf: &Leaf, context: &Context, schemes: &[&str], most: usize) -> Result<Parsed, Address> {
    let text = match &leaf.value {
        Value::String(text) => text.clone(),
        Value::Table(table) => indirect(table, context)
            .map_err(Address::Other)?
            .ok_or_else(|| Address::Wrong("a table of another form".into()))?
            .expose()
            .to_owned(),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => {
            return Err(Address::Wrong(found(leaf)));
        }
    };
    if let Some(name) = text.trim().strip_prefix(EMBEDDED) {
        let name = name.trim();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Address::Wrong(format!("{EMBEDDED} without the name of a file")));
        }
        return Ok(Parsed::Embedded(context.resolve(name)));
    }
    let list: Vec<&str> = text.split(',').map(str::trim).collect();
    if list.len() > most {
        return Err(Address::Wrong(format!("{} addresses", list.len())));
    }
    for (index, address) in list.iter().enumerate() {
        check_address(address, schemes)
            .map_err(|problem| Address::Wrong(format!("an address (number {}) {problem}", index + 1)))?;
    }
    Ok(Parsed::Addresses(list.into_iter().map(Secret::new).collect()))
}

/// What RabbitMQ's own form of addresses says about certificates: here it would be ignored in silence.
const OF_CERTIFICATES: [&str; 6] =
    ["verify", "cacertfile", "certfile", "keyfile", "fail_if_no_peer_cert", "server_name_indication"];

fn check_address(address: &str, schemes: &[&str]) -> Result<(), String> {
    let url = Url::parse(address).map_err(|error| format!("that can't be read ({error})"))?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("that begins with {}:", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("without a host".into());
    }
    // In a URL of Redis this is where its library takes `#insecure`, and nothing else.
    if url.fragment().is_some() {
        return Err(
            "with a part behind #; certificates are always checked, and ca_file adds a private CA".into()
        );
    }
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| OF_CERTIFICATES.contains(&name.as_ref())) {
        return Err(format!(
            "with {name}, which has no effect; certificates are always checked, and ca_file adds a private CA"
        ));
    }
    let path = url.path().trim_start_matches('/');
    if path.contains('/') {
        return Err("whose path has more than one part (write %2f for a / in a virtual host)".into());
    }
    let redis = url.scheme().starts_with("redis");
    if redis && !path.is_empty() && path.parse::<u32>().is_err() {
        return Err("whose path is not the number of a database".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Environment, parse as source};

    const AMQP: Kind = Kind::Addresses { schemes: &["amqp", "amqps"], most: 2 };
    const REDIS: Kind = Kind::Addresses { schemes: &["redis", "rediss"], most: 1 };

    fn leaf(toml: &str) -> Leaf {
        Leaf::default_of(toml).unwrap_or_else(|e| panic!("{toml}: {e}"))
    }

    fn context() -> Context {
        let environment = Environment::of([
            ("TOKEN", "t0p"),
            ("EMPTY", ""),
            ("BROKEN", "a\nb"),
            ("URL", "amqp://u:hunter2@h"),
        ]);
        source("", None, &environment).unwrap_or_else(|e| panic!("{e:?}")).1
    }

    #[test]
    fn values_within_bounds_are_taken_and_shown_without_credentials() {
        let number = Kind::Integer { min: 1, max: 9 };
        let span = Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(3600) };
        let cases = [
            (Kind::Text, r#""x y""#, r#""x y""#),
            (Kind::Secret, r#"{ env = "TOKEN" }"#, "[secret]"),
            (Kind::Boolean, "false", "false"),
            (number, "1", "1"),
            (number, "9", "9"),
            (span, r#""1s""#, r#""1s""#),
            (span, r#""1h""#, r#""1h""#),
            (span, r#""2m 30s""#, r#""2m 30s""#),
            (Kind::Choice(&["a", "b"]), r#""b""#, r#""b""#),
            (Kind::Folder, r#""/var/dropped""#, r#""/var/dropped""#),
            (Kind::Listen, r#""off""#, r#""off""#),
            (Kind::Listen, r#""[::1]:80""#, r#""[::1]:80""#),
            (Kind::Word { max: 3 }, r#""a-b""#, r#""a-b""#),
            (AMQP, r#""amqp://u:p@h/%2f, amqps://g""#, r#""amqp://u:***@h/%2f,amqps://g""#),
            (AMQP, r#"{ env = "URL" }"#, r#""amqp://u:***@h""#),
            (REDIS, r#""rediss://:p@h:1/3?secret=1""#, r#""rediss://:***@h:1/3?***""#),
            (REDIS, r#""embedded: /var/lib/paceline/a b.db""#, r#""embedded:/var/lib/paceline/a b.db""#),
        ];
        for (kind, toml, shown) in cases {
            let parsed = parse(&kind, &leaf(toml), &context()).unwrap_or_else(|e| panic!("{toml}: {e}"));
            assert_eq!(parsed.shown(), shown, "{toml}");
        }
    }

    #[test]
    fn what_is_wrong_says_what_was_found_and_what_is_allowed() {
        let number = Kind::Integer { min: 1, max: 9 };
        let span = Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(60) };
        let cases = [
            (Kind::Text, "5", "found 5, allowed: a text"),
            (number, "0", "found 0, allowed: a whole number from 1 to 9"),
            (number, "10", "found 10,"),
            (number, "-1", "found -1,"),
            (number, r#""5""#, r#"found "5","#),
            (number, "1.5", "found 1.5,"),
            (span, "30", "found 30, allowed: a duration from 1s to 1m"),
            (span, r#""999ms""#, r#"found "999ms","#),
            (span, r#""61s""#, r#"found "61s","#),
            (span, r#""soon""#, r#"found "soon","#),
            (Kind::Boolean, r#""yes""#, "allowed: true or false"),
            (Kind::Choice(&["a", "b"]), r#""c""#, r#"found "c", allowed: "a" or "b""#),
            (Kind::Folder, r#""""#, "allowed: the path of a folder"),
            (Kind::Listen, r#""localhost:1""#, "allowed: an IP address with a port"),
            (Kind::Word { max: 3 }, r#""a.b""#, "allowed: 1 to 3 of"),
            (Kind::Word { max: 3 }, r#""abcd""#, "allowed: 1 to 3 of"),
            (Kind::Word { max: 3 }, r#""""#, "allowed: 1 to 3 of"),
            (AMQP, r#""amqp://a,amqp://b,amqp://c""#, "found 3 addresses"),
            (AMQP, r#""redis://a""#, "begins with redis:"),
            (AMQP, r#""amqp://a/b/c""#, "more than one part"),
            (AMQP, r#""""#, "can't be read"),
            (AMQP, r#""embedded:""#, "found embedded: without the name of a file, allowed: amqp://"),
            (AMQP, r#""embedded:a\nb""#, "without the name of a file"),
            (AMQP, r#""other:x""#, "or embedded:FILE"),
            (AMQP, "7", "found 7"),
            (AMQP, r#"{ env = "NONE" }"#, "the environment variable NONE is not set"),
            (REDIS, r#""redis://h/x""#, "not the number of a database"),
            (REDIS, r#""rediss://h/0#insecure""#, "certificates are always checked, and ca_file"),
            (REDIS, r#""redis://h/0#""#, "with a part behind #"),
            (AMQP, r#""amqps://h/%2f?verify=verify_none""#, "with verify, which has no effect"),
            (AMQP, r#""amqps://h,amqps://g?heartbeat=5&cacertfile=x""#, "(number 2) with cacertfile"),
            (Kind::Roots, "5", "found 5, allowed: the path of a PEM file"),
            (Kind::Roots, r#""none.pem""#, "the file none.pem: can't be read"),
        ];
        for (kind, toml, expected) in cases {
            let problem = parse(&kind, &leaf(toml), &context()).err().unwrap_or_default();
            assert!(problem.contains(expected), "{toml}: {problem}");
        }
    }

    #[test]
    fn no_problem_shows_a_credential() {
        let cases = [
            (Kind::Secret, r#""hunter2""#),
            (Kind::Secret, r#"{ plain = "hunter2" }"#),
            (AMQP, r#""amqp://u:hunter2@h/a/b""#),
            (AMQP, r#""http://u:hunter2@h""#),
            (AMQP, r#""amqp://u:hunter2@h:99999""#),
            (REDIS, r#""redis://u:hunter2@h/x""#),
        ];
        for (kind, toml) in cases {
            let problem = parse(&kind, &leaf(toml), &context()).err().unwrap_or_default();
            assert!(!problem.is_empty() && !problem.contains("hunter2"), "{toml}: {problem}");
        }
    }

    #[test]
    fn credentials_come_from_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("good", "t0p\r\n");
        write("empty", "\n");
        write("two", "a\nb\n");
        let file = folder.path().join("paceline.toml");
        let context =
            source("", Some(&file), &Environment::of([("TOKEN", "t0p"), ("EMPTY", ""), ("BROKEN", "a\nb")]))
                .unwrap_or_else(|e| panic!("{e:?}"))
                .1;
        let cases: [(&str, Result<&str, &str>); 9] = [
            (r#"{ env = "TOKEN" }"#, Ok("t0p")),
            (r#"{ file = "good" }"#, Ok("t0p")),
            (r#"{ env = "NONE" }"#, Err("the environment variable NONE is not set")),
            (r#"{ env = "EMPTY" }"#, Err("EMPTY: is empty")),
            (r#"{ env = "BROKEN" }"#, Err("control character")),
            (r#"{ file = "none" }"#, Err("none: can't be read")),
            (r#"{ file = "empty" }"#, Err("is empty")),
            (r#"{ file = "two" }"#, Err("control character")),
            (r#"{ env = "TOKEN", file = "good" }"#, Err("allowed: { env = \"NAME\" }")),
        ];
        for (toml, expected) in cases {
            let parsed = parse(&Kind::Secret, &leaf(toml), &context);
            match expected {
                Ok(text) => assert_eq!(parsed, Ok(Parsed::Secret(Secret::new(text))), "{toml}"),
                Err(part) => {
                    let problem = parsed.err().unwrap_or_default();
                    assert!(problem.contains(part), "{toml}: {problem}");
                }
            }
        }
    }

    #[test]
    fn a_variable_gives_its_own_text_where_a_text_is_wanted() {
        let from_variable = |value| Leaf { value, text: Some("007".into()) };
        let number = from_variable(Value::Integer(7));
        assert_eq!(parse(&Kind::Text, &number, &context()), Ok(Parsed::Text("007".into())));
        assert_eq!(parse(&Kind::Secret, &number, &context()), Ok(Parsed::Secret(Secret::new("007"))));
    }
}
