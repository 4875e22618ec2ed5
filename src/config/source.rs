//! Where values come from: the file, the environment, and which of them won.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::{Table, Value};

use super::ConfigError;
use super::keys::{ACCOUNTS, SECTIONS};

/// What a variable's name begins with when it overrides a key.
pub const OVERRIDE: &str = "PACELINE__";

/// The environment variables, passed in so that tests need not change the process's own.
///
/// They hold credentials: no `Debug`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own variables; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// These variables.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// One variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", content = "name", rename_all = "lowercase")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(String),
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A key that an environment variable set.
#[derive(Clone)]
pub struct Override {
    /// The variable's name.
    pub variable: String,
    /// Its value as it stands, for keys that want a text where TOML would read a number.
    pub text: String,
}

/// What is needed to tell where a value came from and to look up a credential.
#[derive(Clone, Default)]
pub struct Context {
    file: Option<PathBuf>,
    overrides: BTreeMap<String, Override>,
    environment: Environment,
}

impl Context {
    /// The origin of a key that was found.
    pub fn origin(&self, path: &str) -> Origin {
        let inside = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        let found = self.overrides.iter().find(|(key, _)| *key == path || inside(key));
        match (found, &self.file) {
            (Some((_, set)), _) => Origin::Environment(set.variable.clone()),
            (None, Some(file)) => Origin::File(file.display().to_string()),
            (None, None) => Origin::Default,
        }
    }

    /// The text of the variable that set exactly this key.
    pub fn text_of(&self, path: &str) -> Option<&str> {
        self.overrides.get(path).map(|set| set.text.as_str())
    }

    /// An environment variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name)
    }

    /// A path as the file means it: relative to the file's own folder.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let folder = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        folder.join(path)
    }

    /// An error about a key.
    pub fn error(&self, path: &str, problem: impl Into<String>) -> ConfigError {
        let origin = match (self.origin(path), &self.file) {
            (Origin::Default, _) => "defaults and environment, no file".to_owned(),
            (origin @ (Origin::File(_) | Origin::Environment(_)), _) => origin.to_string(),
        };
        ConfigError { key: path.to_owned(), problem: problem.into(), origin }
    }
}

/// Reads the file, if there is one, and lays the environment over it.
pub fn read(file: Option<&Path>, environment: &Environment) -> Result<(Table, Context), Vec<ConfigError>> {
    let text = match file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            vec![ConfigError {
                key: "--config".into(),
                problem: format!("the file can't be read: {error}"),
                origin: format!("file {}", path.display()),
            }]
        })?,
    };
    parse(&text, file, environment)
}

/// The same for a file's text; `file` is its name.
pub fn parse(
    text: &str,
    file: Option<&Path>,
    environment: &Environment,
) -> Result<(Table, Context), Vec<ConfigError>> {
    let mut table = text.parse::<Table>().map_err(|error| vec![syntax_error(text, file, &error)])?;
    let mut context =
        Context { file: file.map(Path::to_owned), environment: environment.clone(), ..Context::default() };
    let errors: Vec<ConfigError> = environment
        .0
        .iter()
        .filter_map(|(name, value)| Some((name, name.strip_prefix(OVERRIDE)?, value)))
        .filter_map(|(name, path, value)| lay_over(&mut table, &mut context, name, path, value).err())
        .collect();
    if errors.is_empty() { Ok((table, context)) } else { Err(errors) }
}

/// The parser's own message quotes the line, which may hold a secret: only its place is given.
fn syntax_error(text: &str, file: Option<&Path>, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    ConfigError {
        key: format!("line {line}"),
        problem: format!("this is not TOML: {}", error.message()),
        origin: file.map_or_else(String::new, |path| format!("file {}", path.display())),
    }
}

fn lay_over(
    table: &mut Table,
    context: &mut Context,
    variable: &str,
    path: &str,
    text: &str,
) -> Result<(), ConfigError> {
    let error = |problem: String| ConfigError {
        key: variable.to_owned(),
        problem,
        origin: format!("environment variable {variable}"),
    };
    let segments: Vec<&str> = path.split("__").collect();
    if segments.len() < 2 || segments.iter().any(|segment| segment.is_empty()) {
        return Err(error("names no key; the form is PACELINE__SECTION__KEY".into()));
    }
    let (last, parents) = segments.split_last().expect("two or more"); // checked just above
    let mut at = table;
    let mut names: Vec<String> = Vec::new();
    for segment in parents {
        let name = match_name(at, &names, segment).map_err(error)?;
        names.push(name.clone());
        at = table_at(at, name);
    }
    let name = match_name(at, &names, last).map_err(error)?;
    names.push(name.clone());
    let full = names.join(".");
    if let Some(other) = context.overrides.get(&full) {
        return Err(error(format!("sets {full}, which {} sets too", other.variable)));
    }
    at.insert(name, value_of(text));
    context.overrides.insert(full, Override { variable: variable.to_owned(), text: text.to_owned() });
    Ok(())
}

/// The table of this name; a value that stands in its place gives way.
fn table_at(table: &mut Table, name: String) -> &mut Table {
    let entry = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    entry.as_table_mut().expect("a table") // made one just above
}

/// The name that a segment of a variable means in the table `parents`: variables are written in
/// capitals and can't hold a `-`, so both are compared without.
fn match_name(table: &Table, parents: &[String], segment: &str) -> Result<String, String> {
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = fold(segment);
    let present: Vec<&String> = table.keys().filter(|key| fold(key) == wanted).collect();
    match present.as_slice() {
        [] => {}
        [one] => return Ok((*one).clone()),
        [one, two, ..] => return Err(format!("{segment} could be {one} or {two}")),
    }
    let known = || SECTIONS.iter().map(|section| section.name).chain([ACCOUNTS]);
    let section = if parents.is_empty() { known().find(|name| *name == wanted) } else { None };
    Ok(section.map_or_else(|| segment.to_ascii_lowercase(), str::to_owned))
}

/// A number, boolean or inline table as TOML reads it, anything else as the text that it is.
fn value_of(text: &str) -> Value {
    let parsed = format!("value = {}", text.trim()).parse::<Table>().ok();
    let only = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match only {
        Some(value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Table(_))) => value,
        Some(Value::String(_) | Value::Datetime(_) | Value::Array(_)) | None => Value::String(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(text: &str, environment: Environment) -> (Table, Context) {
        parse(text, Some(Path::new("some/file.toml")), &environment).unwrap_or_else(|e| panic!("{e:?}"))
    }

    #[test]
    fn a_variable_finds_its_key_without_case_and_dashes() {
        let text = "[accounts.My-Shop]\nprovider = \"x\"\n[queue]\nprefix = \"a\"";
        let (table, context) = laid(
            text,
            Environment::of([
                ("PACELINE__QUEUE__PREFIX", "b"),
                ("PACELINE__ACCOUNTS__MY_SHOP__REQUESTS_PER_MINUTE", "30"),
                ("PACELINE__ACCOUNTS__OTHER__PROVIDER", "y"),
                ("PACELINE_CONFIG", "not an override"),
            ]),
        );
        assert_eq!(table["queue"]["prefix"].as_str(), Some("b"));
        assert_eq!(table["accounts"]["My-Shop"]["requests_per_minute"].as_integer(), Some(30));
        assert_eq!(table["accounts"]["other"]["provider"].as_str(), Some("y"));
        assert_eq!(context.origin("queue.prefix"), Origin::Environment("PACELINE__QUEUE__PREFIX".into()));
        assert_eq!(context.origin("accounts.My-Shop.provider"), Origin::File("some/file.toml".into()));
    }

    #[test]
    fn values_are_read_as_toml_only_where_they_are_no_text() {
        let cases = [
            ("600", Value::Integer(600)),
            ("true", Value::Boolean(true)),
            ("01", Value::String("01".into())),
            ("7d", Value::String("7d".into())),
            ("2026-01-01", Value::String("2026-01-01".into())),
            ("1\nother = 2", Value::String("1\nother = 2".into())),
            ("\"quoted\"", Value::String("\"quoted\"".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(value_of(text), expected, "{text}");
        }
        assert_eq!(value_of("{ env = \"X\" }")["env"].as_str(), Some("X"));
    }

    #[test]
    fn variables_that_name_nothing_or_two_things_are_errors() {
        let two = "[accounts.a-b]\n[accounts.a_b]";
        let cases = [
            ("", Environment::of([("PACELINE__QUEUE", "x")]), "names no key"),
            ("", Environment::of([("PACELINE__QUEUE__", "x")]), "names no key"),
            ("", Environment::of([("PACELINE__queue__url", "x"), ("PACELINE__QUEUE__URL", "y")]), "sets too"),
            (two, Environment::of([("PACELINE__ACCOUNTS__A_B__X", "x")]), "could be a-b or a_b"),
        ];
        for (text, environment, expected) in cases {
            let errors = parse(text, None, &environment).err().unwrap_or_default();
            assert_eq!(errors.len(), 1, "{expected}");
            assert!(errors[0].problem.contains(expected), "{}", errors[0]);
        }
    }

    #[test]
    fn a_syntax_error_gives_its_line_and_not_its_content() {
        let text = "[queue]\nurl = \"amqp://user:hunter2@host\nprefix = 1";
        let errors =
            parse(text, Some(Path::new("f.toml")), &Environment::default()).err().unwrap_or_default();
        let shown = errors[0].to_string();
        assert!(shown.contains("line 2") && shown.contains("f.toml"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let errors =
            read(Some(Path::new("/nowhere/x.toml")), &Environment::default()).err().unwrap_or_default();
        assert!(errors[0].to_string().contains("/nowhere/x.toml"), "{}", errors[0]);
    }
}
