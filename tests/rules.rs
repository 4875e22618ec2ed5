//! Every documented rule that can be checked before a request is made, as one table for each
//! provider (`tests/rules/*.jsonl`), valid and invalid side by side.
//!
//! A line is one JSON object. A *base* is a valid payload under a name:
//! `{"base": "notification", "operation": "createMessage", "payload": {…}, "at": "/notifications/0"}`.
//! A *row* changes it and says what is found:
//! `{"rule": "2.3 send_date", "on": "notification", "with": {"send_date": "soon"}, "finds": ["/send_date"]}`.
//!
//! `with` sets members of the object at the base's `at` (empty: the payload itself), `without`
//! (a list of names) takes some away. `finds` are the places of the findings, in order, relative to
//! `at`, or to the payload where they begin with `^`; empty for a valid job. `warns` are the places
//! of warnings; absent where a row is not about them. `account` sets keys of the account.
//! A row with `class` (`counted`, `exempt`) also says what its first delivery is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paceline::config::{Account, Environment, load_text};
use paceline::job::{AccountName, Class, Finding, Job, Object, TransactionId};
use paceline::providers::{ALL, Provider};
use serde::Deserialize;
use serde_json::{Value, json};

const CONFIG: &str = include_str!("../config/full.toml");

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Base(Base),
    Row(Row),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    base: String,
    operation: String,
    payload: Object,
    #[serde(default)]
    at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    rule: String,
    on: String,
    #[serde(default)]
    with: Object,
    #[serde(default)]
    without: Vec<String>,
    finds: Vec<String>,
    warns: Option<Vec<String>>,
    #[serde(default)]
    account: BTreeMap<String, toml::Value>,
    class: Option<String>,
}

/// What was found in a row's job.
struct Found {
    findings: Vec<Finding>,
    warnings: Vec<Finding>,
    class: Option<&'static str>,
}

#[test]
fn every_provider_keeps_to_its_table() {
    for provider in ALL {
        let table = table(provider).unwrap_or_else(|problem| panic!("{}: {problem}", provider.name()));
        let keys = account_keys(provider).unwrap_or_else(|problem| panic!("{}: {problem}", provider.name()));
        let operations = check(&table, &account(keys));
        let without_rows = without_rows(provider.operations(), &operations);
        assert!(without_rows.is_empty(), "{}: no rows for {without_rows:?}", provider.name());
    }
}

#[test]
fn an_operation_without_rows_is_named() {
    for provider in ALL {
        let base = json!({"base": "b", "operation": provider.operations()[0], "payload": {}});
        let read = check(&base.to_string(), &account(account_keys(provider).unwrap()));
        assert_eq!(without_rows(provider.operations(), &read), provider.operations(), "{}", provider.name());
    }
}

/// A provider's own table; read when the test runs, so that a provider without one is named.
fn table(provider: &dyn Provider) -> Result<String, String> {
    let path = format!("{}/tests/rules/{}.jsonl", env!("CARGO_MANIFEST_DIR"), provider.name());
    std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
}

/// The operations that no row is about.
fn without_rows<'a>(operations: &[&'a str], checked: &BTreeSet<String>) -> Vec<&'a str> {
    operations.iter().copied().filter(|operation| !checked.contains(*operation)).collect()
}

/// The provider's block of the full configuration, every credential being the variable `SECRET`.
fn account_keys(provider: &dyn Provider) -> Result<toml::Table, String> {
    let config: toml::Table = CONFIG.parse().map_err(|error| format!("{error}"))?;
    let mut blocks = config["accounts"].as_table().into_iter().flatten();
    let (_, block) = blocks
        .find(|(_, block)| block.get("provider").and_then(toml::Value::as_str) == Some(provider.name()))
        .ok_or("no account in config/full.toml")?;
    let mut keys = block.as_table().cloned().ok_or("its account is no table")?;
    for value in keys.iter_mut().filter_map(|(_, value)| value.as_table_mut()) {
        value.insert("env".into(), "SECRET".into());
    }
    Ok(keys)
}

/// Makes an account from its own keys and more.
fn account(keys: toml::Table) -> impl Fn(&BTreeMap<String, toml::Value>) -> Arc<Account> {
    move |more| {
        let mut keys = keys.clone();
        keys.extend(more.clone());
        let accounts = toml::Table::from_iter([("test".to_owned(), keys.into())]);
        let file = toml::Table::from_iter([("accounts".to_owned(), accounts.into())]).to_string();
        let environment = Environment::of([("SECRET", "a-secret")]);
        let loaded = load_text(&file, None, &environment, &ALL).unwrap();
        loaded.config.accounts[&AccountName::new("test").unwrap()].clone()
    }
}

/// Checks every row; returns the operations that rows are about.
fn check(table: &str, account: &impl Fn(&BTreeMap<String, toml::Value>) -> Arc<Account>) -> BTreeSet<String> {
    let mut operations = BTreeSet::new();
    let mut bases: BTreeMap<String, Base> = BTreeMap::new();
    let mut sides: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, text) in table.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = serde_json::from_str(text).unwrap_or_else(|error| panic!("line {}: {error}", number + 1));
        match line {
            Line::Base(base) => {
                assert!(bases.insert(base.base.clone(), base).is_none(), "line {}", number + 1)
            }
            Line::Row(row) => {
                let side = sides.entry(row.rule.clone()).or_default();
                if row.finds.is_empty() {
                    side.0 += 1
                } else {
                    side.1 += 1
                }
                let base = bases.get(&row.on).unwrap_or_else(|| panic!("line {}: no base", number + 1));
                operations.insert(base.operation.clone());
                if let Err(problem) = check_row(&row, base, &account(&row.account)) {
                    wrong.push(format!("line {}, {}: {problem}", number + 1, row.rule));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    let one_sided: Vec<_> =
        sides.iter().filter(|(_, (valid, invalid))| *valid == 0 || *invalid == 0).collect();
    assert!(one_sided.is_empty(), "rules without a valid or without an invalid row: {one_sided:?}");
    operations
}

fn check_row(row: &Row, base: &Base, account: &Account) -> Result<(), String> {
    let found = find(account, &base.operation, changed(row, base));
    let places = |findings: &[Finding]| findings.iter().map(|one| one.pointer.clone()).collect::<Vec<_>>();
    let expected = |list: &[String]| list.iter().map(|place| absolute(place, &base.at)).collect::<Vec<_>>();
    let told = |findings: &[Finding]| findings.iter().map(ToString::to_string).collect::<Vec<_>>();
    if places(&found.findings) != expected(&row.finds) {
        return Err(format!("expected {:?}, found {:?}", row.finds, told(&found.findings)));
    }
    if let Some(warns) = &row.warns
        && places(&found.warnings) != expected(warns)
    {
        return Err(format!("expected the warnings {warns:?}, found {:?}", told(&found.warnings)));
    }
    if row.class.is_some() && row.class.as_deref() != found.class {
        return Err(format!("expected {:?}, is {:?}", row.class, found.class));
    }
    let silent =
        found.findings.iter().chain(&found.warnings).find(|one| {
            [&one.found, &one.allowed].into_iter().any(String::is_empty) || one.source.is_empty()
        });
    silent.map_or(Ok(()), |finding| Err(format!("a finding that does not say all: {finding:?}")))
}

fn absolute(place: &str, at: &str) -> String {
    match place.strip_prefix('^') {
        Some(whole) => format!("/payload{whole}"),
        None => format!("/payload{at}{place}"),
    }
}

fn changed(row: &Row, base: &Base) -> Object {
    let mut payload = Value::Object(base.payload.clone());
    let target =
        payload.pointer_mut(&base.at).and_then(Value::as_object_mut).expect("the base has an object there");
    for name in &row.without {
        assert!(target.shift_remove(name).is_some(), "the base has no {name}");
    }
    target.extend(row.with.clone());
    match payload {
        Value::Object(payload) => payload,
        _ => unreachable!("it was one"),
    }
}

fn find(account: &Account, operation: &str, payload: Object) -> Found {
    let job = Job {
        transaction_id: TransactionId::new("t-1").unwrap(),
        account: account.name.clone(),
        operation: operation.to_owned(),
        payload: payload.into(),
        priority: Default::default(),
        not_before: None,
        expires_at: None,
        meta: None,
    };
    let warnings = account.gateway.warnings(&job);
    let mut class = None;
    let findings = match account.gateway.plan(&job) {
        Err(findings) => findings,
        Ok(planned) => {
            let (fit, unfit): (Vec<_>, Vec<_>) = planned.into_iter().partition(Result::is_ok);
            class = fit
                .into_iter()
                .flatten()
                .next()
                .map(|delivery| if is_limited(account, delivery.class) { "counted" } else { "exempt" });
            unfit.into_iter().filter_map(Result::err).flat_map(|unfit| unfit.findings).collect()
        }
    };
    Found { findings, warnings, class }
}

/// Whether it uses up a limit: a pool without windows is none.
fn is_limited(account: &Account, class: Class) -> bool {
    match class {
        Class::Counted(named) => {
            account.gateway.pools().iter().any(|(pool, _, windows)| *pool == named && !windows.is_empty())
        }
        Class::Exempt => false,
    }
}
