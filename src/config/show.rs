//! What is in force, for `config show`: every value with its origin, credentials masked.

use serde_json::{Value, json};

use super::load::{Loaded, limits};

/// As text in TOML's form; the comment behind each value says where it came from.
pub fn as_text(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut table = "";
    for shown in &loaded.values {
        let (head, name) = shown.key.rsplit_once('.').unwrap_or(("", &shown.key));
        if head != table {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{head}]\n"));
            table = head;
        }
        let line = match &shown.value {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name}: not set"),
        };
        text.push_str(&format!("{line:<50} # {}\n", shown.origin));
    }
    for limit in pools(loaded) {
        text.push_str(&format!("\n# limit of {limit}"));
    }
    if !loaded.config.accounts.is_empty() {
        text.push('\n');
    }
    text
}

/// As one JSON document.
pub fn as_json(loaded: &Loaded) -> Value {
    json!({ "origin": loaded.origin, "values": loaded.values, "limits": pools(loaded) })
}

/// The limits as the gateways will ask for them, defaults included.
fn pools(loaded: &Loaded) -> Vec<String> {
    let accounts = loaded.config.accounts.values();
    accounts
        .flat_map(|account| {
            let name = &account.name;
            account.gateway.pools().into_iter().map(move |(pool, _, windows)| {
                format!("account {name}, {}: {}", pool.name(), limits(&windows))
            })
        })
        .collect()
}
