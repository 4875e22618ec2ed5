//! The reference of all keys, for people, as Markdown: made from the tables that the configuration is
//! read by, so that it can't say anything else.

use super::keys::{ACCOUNTS, Key, PROVIDER, SECTIONS};
use super::value::allowed;
use crate::providers::Provider;

const HEAD: &str = "\
# Every key of the configuration

Made by `paceline config reference`; a test holds it to the code. A file needs only what differs from
the defaults. Any key can be overridden by a variable of the environment: `PACELINE__QUEUE__PREFIX=other`.
Durations are written as `\"200ms\"`, `\"30s\"`, `\"4m\"`, `\"1h 30m\"`, `\"7d\"`. An unknown key is an error.
`paceline config check` says whether a file can be used, `paceline config show` what will be in force.
";

/// The whole of it.
pub fn markdown(providers: &[&'static dyn Provider]) -> String {
    let mut text = HEAD.to_owned();
    for section in SECTIONS {
        let heading = format!("`[{}]`", section.name);
        table(&mut text, &heading, section.meaning, section.keys);
    }
    for provider in providers {
        let heading = format!("`[{ACCOUNTS}.NAME]` with `{PROVIDER} = \"{}\"`", provider.name());
        let meaning = "An account of this provider. NAME stands in queue names, routing keys and metrics.";
        table(&mut text, &heading, meaning, provider.keys());
    }
    text
}

fn table(text: &mut String, heading: &str, meaning: &str, keys: &[Key]) {
    text.push_str(&format!("\n## {heading}\n\n{meaning}\n\n"));
    text.push_str(
        "| key | default | what it takes | meaning | why this default |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in keys {
        let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
        let cells =
            [format!("`{}`", key.name), default, allowed(&key.kind), key.meaning.into(), key.reason.into()];
        text.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::Kind;
    use crate::config::source::Context;
    use crate::config::value::{self, Leaf};
    use crate::config::{Environment, load_text};
    use crate::providers::ALL;

    #[test]
    fn the_reference_in_the_repository_is_the_one_of_the_code() {
        let kept = include_str!("../../config/reference.md");
        assert!(markdown(&ALL) == kept, "please run: cargo run -- config reference > config/reference.md");
    }

    #[test]
    fn the_keys_of_an_account_are_those_that_its_provider_reads() {
        let names = ["PUSHWOOSH_TOKEN", "MOENGAGE_PUSH_KEY", "MOENGAGE_CAMPAIGN_KEY"];
        let environment = Environment::of(names.map(|name| (name, "secret")));
        let loaded = load_text(include_str!("../../config/full.toml"), None, &environment, &ALL);
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        for account in loaded.config.accounts.values() {
            let provider = ALL.into_iter().find(|provider| provider.name() == account.provider);
            let mut told: Vec<&str> =
                provider.expect("a provider").keys().iter().map(|key| key.name).collect();
            let prefix = format!("{ACCOUNTS}.{}.", account.name);
            let read = loaded.values.iter().filter_map(|shown| shown.key.strip_prefix(&prefix));
            let mut read: Vec<&str> = read.filter(|name| *name != PROVIDER).collect();
            told.sort_unstable();
            read.sort_unstable();
            assert_eq!(told, read, "{}", account.provider);
        }
    }

    #[test]
    fn the_defaults_of_accounts_are_values_of_their_kind() {
        for key in ALL.into_iter().flat_map(|provider| provider.keys()) {
            assert!(key.meaning.ends_with('.') && key.reason.ends_with('.'), "{}", key.name);
            let Some(default) = key.default else { continue };
            let leaf = Leaf::default_of(default).expect("TOML");
            let parsed = value::parse(&key.kind, &leaf, &Context::default());
            assert!(parsed.is_ok() && key.kind != Kind::Secret, "{}: {parsed:?}", key.name);
        }
    }
}
