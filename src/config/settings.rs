//! Reading one table of the configuration key by key; what nobody asked for is an unknown key.

use std::time::Duration;

use toml::{Table, Value};

use super::keys::{Key, Kind};
use super::source::{Context, Origin};
use super::value::{self, Leaf, Parsed};
use super::{ConfigError, Secret, Shown};

/// One table of the configuration, from which its reader takes its own keys. For an account that
/// is its provider.
///
/// Every method takes the key out of the table and gives `None` when it is absent. The methods'
/// errors name the key with its full path, what was found, what is allowed and where it stands.
pub struct Settings<'a> {
    path: String,
    table: &'a mut Table,
    context: &'a Context,
    asked: Vec<String>,
    shown: Vec<Shown>,
}

impl<'a> Settings<'a> {
    /// The table at `path` (such as `accounts.shop`).
    pub fn new(path: impl Into<String>, table: &'a mut Table, context: &'a Context) -> Self {
        Self { path: path.into(), table, context, asked: Vec::new(), shown: Vec::new() }
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        self.take_as(
            key,
            &Kind::Text,
            |parsed| {
                if let Parsed::Text(text) = parsed { Some(text) } else { None }
            },
        )
    }

    /// A whole number within bounds, both included.
    pub fn integer(&mut self, key: &str, min: u64, max: u64) -> Result<Option<u64>, ConfigError> {
        self.take_as(key, &Kind::Integer { min, max }, |parsed| {
            if let Parsed::Integer(number) = parsed { Some(number) } else { None }
        })
    }

    /// A duration within bounds, both included.
    pub fn duration(
        &mut self,
        key: &str,
        min: Duration,
        max: Duration,
    ) -> Result<Option<Duration>, ConfigError> {
        self.take_as(key, &Kind::Duration { min, max }, |parsed| {
            if let Parsed::Duration(duration) = parsed { Some(duration) } else { None }
        })
    }

    /// True or false.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.take_as(key, &Kind::Boolean, |parsed| {
            if let Parsed::Boolean(value) = parsed { Some(value) } else { None }
        })
    }

    /// A credential from the environment or a file; never empty, without control characters.
    pub fn secret(&mut self, key: &str) -> Result<Option<Secret>, ConfigError> {
        self.take_as(key, &Kind::Secret, |parsed| {
            if let Parsed::Secret(secret) = parsed { Some(secret) } else { None }
        })
    }

    /// A limit: a whole number of at least 2, or `"unlimited"` (then `None` inside).
    pub fn limit(&mut self, key: &str) -> Result<Option<Option<u32>>, ConfigError> {
        self.take_as(
            key,
            &Kind::Limit,
            |parsed| {
                if let Parsed::Limit(limit) = parsed { Some(limit) } else { None }
            },
        )
    }

    /// An error about one of the table's keys, with its full path and origin.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        self.context.error(&self.full(key), problem)
    }

    /// A key of the table of keys: its value, its default, or `None` where it is absent and has
    /// no default.
    pub(super) fn key(&mut self, key: &Key) -> Result<Option<Parsed>, ConfigError> {
        if let Some(parsed) = self.take(key.name, &key.kind)? {
            return Ok(Some(parsed));
        }
        let Some(default) = key.default else {
            self.remember(key.name, None, Origin::Default);
            return Ok(None);
        };
        let parsed = Leaf::default_of(default)
            .and_then(|leaf| value::parse(&key.kind, &leaf, self.context))
            .map_err(|problem| self.error(key.name, problem))?;
        self.remember(key.name, Some(parsed.shown()), Origin::Default);
        Ok(Some(parsed))
    }

    /// Ends the reading: the values that were found, and an error for each key that nobody asked
    /// for. When the reading failed, most keys were not asked for yet; then only those are named
    /// that look like the one that was missed.
    pub(super) fn finish(self, failed: Option<&ConfigError>) -> (Vec<Shown>, Vec<ConfigError>) {
        let missed = failed.map(|error| error.key.rsplit('.').next().unwrap_or_default());
        let mut errors = Vec::new();
        for name in self.table.keys() {
            let full = self.full(name);
            let likely = closest(name, self.asked.iter().map(String::as_str));
            if missed.is_none() || (likely.is_some() && likely == missed) {
                errors.push(self.context.error(&full, unknown(likely)));
            }
        }
        let mut shown = self.shown;
        for name in self.asked {
            let path = format!("{}.{name}", self.path);
            if !shown.iter().any(|value| value.key == path) {
                shown.push(Shown { key: path, value: None, origin: Origin::Default });
            }
        }
        (shown, errors)
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn leaf(&mut self, key: &str) -> Option<Leaf> {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
        let value = self.table.remove(key)?;
        Some(Leaf { value, text: self.context.text_of(&self.full(key)).map(str::to_owned) })
    }

    fn take(&mut self, key: &str, kind: &Kind) -> Result<Option<Parsed>, ConfigError> {
        let Some(leaf) = self.leaf(key) else { return Ok(None) };
        let parsed = value::parse(kind, &leaf, self.context).map_err(|problem| self.error(key, problem))?;
        let points_to = leaf.value.as_table().map(pointer).unwrap_or_default();
        self.show(key, format!("{}{points_to}", parsed.shown()));
        Ok(Some(parsed))
    }

    /// `take` gives the variant of its kind, so `pick` never fails; if it did, that is reported.
    fn take_as<T>(
        &mut self,
        key: &str,
        kind: &Kind,
        pick: impl Fn(Parsed) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(parsed) = self.take(key, kind)? else { return Ok(None) };
        pick(parsed).map(Some).ok_or_else(|| self.error(key, "was read as another kind (a bug)"))
    }

    fn show(&mut self, key: &str, value: String) {
        let origin = self.context.origin(&self.full(key));
        self.remember(key, Some(value), origin);
    }

    fn remember(&mut self, key: &str, value: Option<String>, origin: Origin) {
        let key = self.full(key);
        self.shown.push(Shown { key, value, origin });
    }
}

/// Where a credential comes from, for people.
fn pointer(table: &Table) -> String {
    let parts = table.iter().filter_map(|(name, target)| Some(format!("{name} {}", target.as_str()?)));
    format!(" from {}", parts.collect::<Vec<_>>().join(", "))
}

/// The text of an unknown key's error.
pub(super) fn unknown(likely: Option<&str>) -> String {
    match likely {
        Some(likely) => format!("unknown key; did you mean {likely}?"),
        None => "unknown key".to_owned(),
    }
}

/// The name that was likely meant: within two slips of the pen, or a third of its length.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_ascii_lowercase();
    let far = (name.len() / 3).clamp(1, 3);
    known
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether a value is a table, else what is wrong with it.
pub(super) fn as_table(value: Value) -> Result<Table, String> {
    match value {
        Value::Table(table) => Ok(table),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => Err("found a value, allowed: a table of keys".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Environment, parse};

    fn with<T>(text: &str, read: impl FnOnce(&mut Settings<'_>) -> T) -> T {
        let environment = Environment::of([("TOKEN", "t0p")]);
        let (mut table, context) = parse(text, None, &environment).unwrap_or_else(|e| panic!("{e:?}"));
        read(&mut Settings::new("accounts.shop", &mut table, &context))
    }

    #[test]
    fn limits_are_numbers_from_two_or_unlimited() {
        type Expected = Result<Option<Option<u32>>, &'static str>;
        let cases: [(&str, Expected); 7] = [
            ("", Ok(None)),
            ("l = 2", Ok(Some(Some(2)))),
            ("l = \"unlimited\"", Ok(Some(None))),
            ("l = 1", Err("found 1, allowed: a whole number from 2 to 10000000, or \"unlimited\"")),
            ("l = -5", Err("found -5")),
            ("l = 10000001", Err("found 10000001")),
            ("l = \"none\"", Err("found \"none\"")),
        ];
        for (text, expected) in cases {
            let found = with(text, |settings| settings.limit("l"));
            match expected {
                Ok(limit) => assert_eq!(found, Ok(limit), "{text}"),
                Err(part) => {
                    let error = found.err().map(|e| e.to_string()).unwrap_or_default();
                    assert!(error.contains(part) && error.contains("accounts.shop.l"), "{text}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_method_takes_its_key_and_leaves_the_others() {
        let text = "t = \"x\"\nn = 5\nd = \"3s\"\nb = true\ns = { env = \"TOKEN\" }\nother = 1";
        with(text, |settings| {
            assert_eq!(settings.text("t"), Ok(Some("x".to_owned())));
            assert_eq!(settings.integer("n", 1, 5), Ok(Some(5)));
            let span = settings.duration("d", Duration::ZERO, Duration::from_secs(3));
            assert_eq!(span, Ok(Some(Duration::from_secs(3))));
            assert_eq!(settings.boolean("b"), Ok(Some(true)));
            assert_eq!(settings.secret("s"), Ok(Some(Secret::new("t0p"))));
            assert_eq!(settings.text("absent"), Ok(None));
            assert_eq!(settings.table.keys().collect::<Vec<_>>(), ["other"]);
        });
    }

    #[test]
    fn the_likely_name_is_within_a_few_slips() {
        let known = ["lease", "hold", "drain", "request_timeout", "connect_timeout"];
        let cases = [
            ("leese", Some("lease")),
            ("LEASE", Some("lease")),
            ("request_timeouts", Some("request_timeout")),
            ("request-timeout", Some("request_timeout")),
            ("hodl", Some("hold")),
            ("colour", None),
        ];
        for (name, expected) in cases {
            assert_eq!(closest(name, known.into_iter()), expected, "{name}");
        }
    }
}
