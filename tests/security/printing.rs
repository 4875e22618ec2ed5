//! What holds a secret prints without it, or can't be printed at all.

use std::fmt::Debug;

use paceline::adapters::http::HttpWire;
use paceline::adapters::redis::StoreSettings;
use paceline::config::source::{self, Context, Override};
use paceline::config::value::{self, Leaf, Parsed};
use paceline::config::{Environment, Secret, Settings, keys, load_text};
use paceline::ports::WireRequest;
use paceline::providers::{ALL, Gateway};
use paceline::simulator::{Call, Request};

/// Fails to compile when one of the types can be printed.
macro_rules! never_printed {
    ($($type:ty),+ $(,)?) => {
        $(const _: fn() = || {
            trait Unclear<Which> {
                fn which() {}
            }
            struct Printable;
            impl<T: ?Sized> Unclear<()> for T {}
            impl<T: ?Sized + Debug> Unclear<Printable> for T {}
            // With one implementation the choice is clear; for what can be printed there are two.
            let _ = <$type as Unclear<_>>::which;
        };)+
    };
}

never_printed!(Call, Context, Environment, HttpWire, Leaf, Override, Request, Settings<'static>, WireRequest);
never_printed!(dyn Gateway);

const HUSH: &str = "hu5h";

fn text_of(printed: &dyn Debug) -> String {
    format!("{printed:?} {printed:#?}")
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let environment = Environment::of([
        ("PUSHWOOSH_TOKEN", HUSH),
        ("MOENGAGE_PUSH_KEY", HUSH),
        ("MOENGAGE_CAMPAIGN_KEY", HUSH),
        ("PACELINE__QUEUE__URL", "amqps://user:hu5h@broker/%2f,amqp://user:hu5h@other/"),
        ("PACELINE__STORE__URL", "rediss://user:hu5h@store/0?x=hu5h"),
    ]);
    let text = include_str!("../../config/full.toml");
    let loaded = load_text(text, None, &environment, &ALL).unwrap_or_else(|errors| panic!("{errors}"));
    let config = &loaded.config;
    assert_eq!(config.queue.urls[0].expose().matches(HUSH).count(), 1, "the secrets are in there");
    let settings = StoreSettings::from(config);
    assert!(settings.url.expose().contains(HUSH));
    let mut printed = vec![
        text_of(&loaded),
        text_of(config),
        text_of(&config.queue),
        text_of(&config.store),
        text_of(&config.accounts),
        text_of(&loaded.values),
        text_of(&settings),
        text_of(&Secret::new(HUSH)),
        text_of(&Some(Secret::new(HUSH))),
        text_of(&[Secret::new(HUSH)]),
    ];
    let context = source::parse("", None, &environment).unwrap_or_else(|errors| panic!("{errors:?}")).1;
    let addresses = keys::Kind::Addresses { schemes: &["amqp", "amqps"], most: 2 };
    for (kind, toml) in [
        (keys::Kind::Secret, "{ env = \"PUSHWOOSH_TOKEN\" }"),
        (addresses, "{ env = \"PACELINE__QUEUE__URL\" }"),
        (addresses, "\"amqp://u:hu5h@h/%2f\""),
    ] {
        let parsed = value::parse(&kind, &Leaf::default_of(toml).unwrap(), &context);
        let parsed: Parsed = parsed.unwrap_or_else(|problem| panic!("{toml}: {problem}"));
        printed.push(text_of(&parsed));
        printed.push(parsed.shown());
    }
    for text in printed {
        assert!(!text.contains(HUSH), "{text}");
    }
}
