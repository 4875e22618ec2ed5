//! Whom paceline trusts, what it gives away, and what hostile input does to it.

mod answers;
mod injection;
mod printing;
mod secrets;
mod tls;

use std::sync::LazyLock;

use paceline::config::{Config, Environment, load_text};
use paceline::providers::ALL;

/// An account of each provider.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let environment = Environment::of([
        ("PUSHWOOSH_TOKEN", "token"),
        ("MOENGAGE_PUSH_KEY", "push-key"),
        ("MOENGAGE_CAMPAIGN_KEY", "campaign-key"),
    ]);
    let loaded = load_text(include_str!("../config/full.toml"), None, &environment, &ALL);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).config
});
