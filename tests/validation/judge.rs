//! What the properties and the fuzz targets (`fuzz/`) share: samples, and everything that is done
//! with a body before anything is sent.

use std::sync::LazyLock;

use paceline::config::{Config, Environment, load_text};
use paceline::job::{Delivery, Finding};
use paceline::pipeline::decode::{decode_body, mask_credentials};
use paceline::providers::ALL;
use serde_json::Value;

/// Accounts for the samples of every provider.
pub static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let mut text: toml::Table = include_str!("../../config/full.toml").parse().expect("TOML");
    let accounts = text.remove("accounts").expect("it has accounts");
    let mut accounts: toml::Table = accounts.try_into().expect("tables");
    let blocks = accounts.iter_mut().filter_map(|(_, block)| block.as_table_mut());
    for credential in blocks.flat_map(|block| block.iter_mut().filter_map(|(_, value)| value.as_table_mut()))
    {
        credential.insert("env".into(), "SECRET".into());
    }
    let text = toml::Table::from_iter([("accounts".to_owned(), accounts.into())]).to_string();
    let loaded = load_text(&text, None, &Environment::of([("SECRET", "a-secret")]), &ALL);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).config
});

/// All samples of all providers.
pub fn samples() -> &'static [Value] {
    static SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
        let texts = ALL.into_iter().flat_map(|provider| provider.samples());
        texts.map(|text| serde_json::from_str(text).expect("a sample is JSON")).collect()
    });
    &SAMPLES
}

/// Everything that is done with a body before anything is sent.
#[derive(Debug, Default)]
pub struct Judged {
    pub findings: Vec<Finding>,
    pub warnings: Vec<Finding>,
    pub deliveries: Vec<Delivery>,
}

pub fn judge(body: &[u8]) -> Judged {
    let job = match decode_body(body) {
        Ok(job) => job,
        Err(unreadable) => {
            // What its dead letter would hold.
            std::hint::black_box(mask_credentials(body));
            return Judged { findings: unreadable.findings, ..Judged::default() };
        }
    };
    let Some(account) = CONFIG.accounts.get(&job.account) else { return Judged::default() };
    let mut judged = Judged { warnings: account.gateway.warnings(&job), ..Judged::default() };
    match account.gateway.plan(&job) {
        Err(findings) => judged.findings = findings,
        Ok(planned) => {
            for planned in planned {
                match planned {
                    Ok(delivery) => judged.deliveries.push(delivery),
                    Err(unfit) => judged.findings.extend(unfit.findings),
                }
            }
        }
    }
    judged
}

/// The places of all values inside a value, itself included, as JSON pointers.
pub fn places(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            members.iter().map(|(name, value)| (escaped(name), value)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (name, value) in members {
        found.extend(places(value).into_iter().map(|place| format!("/{name}{place}")));
    }
    found
}

/// A sample with the value at a place replaced.
pub fn replaced(sample: &Value, place: &str, by: Value) -> Value {
    let mut changed = sample.clone();
    *changed.pointer_mut(place).expect("the place is the sample's own") = by;
    changed
}
