//! Traces of attempts, for people: OpenTelemetry over OTLP, in builds with the feature `otlp`.
//!
//! Everything else knows of tracing only [`start`], [`Attempt`] and [`Call`]. Without the feature they
//! hold nothing and do nothing; with it they do nothing until the environment names a collector.
//! Spans never hold what a job says to a device: its tokens, its content, nor credentials.
//!
//! An attempt at a delivery is a span of its own, which continues the span that the message names and
//! points to the attempt before. The request is a span below it; one that carries several deliveries is
//! below one of their attempts, and it and each of them point to each other.

use reqwest::Url;

use crate::config::Environment;
use crate::job::Delivery;
use crate::pipeline::envelope::Envelope;
use crate::ports::Place;

#[cfg(feature = "otlp")]
mod collector;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use off::{Attempt, Call, Export, start};
#[cfg(feature = "otlp")]
pub use otlp::{Attempt, Call, Export, start};

/// Where collectors receive OTLP over HTTP by the standard.
const USUAL_COLLECTOR: &str = "http://localhost:4318";
/// Where traces go below a collector's address.
const TRACES: &str = "v1/traces";
/// The one form of OTLP that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// What keeps the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// A broker.
    RabbitMq,
    /// One file.
    File,
}

/// What is told of an attempt when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the names of paceline's queues begin with.
    pub prefix: &'a str,
    /// The queue that the message came from.
    pub place: &'a Place,
    /// What travels with the delivery.
    pub envelope: &'a Envelope,
    /// The delivery.
    pub delivery: &'a Delivery,
    /// Requests that were made for it before.
    pub requests: u32,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// A word for what becomes of the delivery.
    pub outcome: &'static str,
    /// A word for what was wrong; `None` where nothing was.
    pub error: Option<&'static str>,
}

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    /// No traces.
    Nothing,
    /// Traces, to this address.
    Export(Url),
    /// Traces in a way that is not possible; what is wrong.
    Unusable(String),
}

/// Reads the standard variables of OpenTelemetry that say whether, where to and how.
fn wish(environment: &Environment) -> Wish {
    if set(environment, "OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Wish::Nothing;
    }
    let exporter = set(environment, "OTEL_TRACES_EXPORTER");
    match exporter {
        None | Some("otlp") => {}
        Some("none") => return Wish::Nothing,
        Some(_) => return Wish::Unusable("OTEL_TRACES_EXPORTER knows otlp and none".to_owned()),
    }
    let Some((name, address)) = address(environment, exporter.is_some()) else { return Wish::Nothing };
    let protocols = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    if let Some((name, protocol)) = first(environment, protocols)
        && protocol != PROTOCOL
    {
        return Wish::Unusable(format!("{name} knows {PROTOCOL} only"));
    }
    // An address may hold a password: it is not repeated.
    match Url::parse(&address) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Wish::Export(url),
        Ok(_) | Err(_) => Wish::Unusable(format!("{name} is no http:// or https:// address")),
    }
}

/// Where spans go, and the variable that says so. Without one only who asks for OTLP by name gets the
/// usual one.
fn address(environment: &Environment, by_name: bool) -> Option<(&'static str, String)> {
    const WHOLE: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    if let Some(address) = set(environment, WHOLE) {
        return Some((WHOLE, address.to_owned()));
    }
    let base = set(environment, BASE).or(by_name.then_some(USUAL_COLLECTOR))?;
    Some((BASE, format!("{}/{TRACES}", base.trim_end_matches('/'))))
}

/// The first of these variables that is set.
fn first<'e>(environment: &'e Environment, names: [&'static str; 2]) -> Option<(&'static str, &'e str)> {
    names.into_iter().find_map(|name| Some((name, set(environment, name)?)))
}

/// A variable's value; an empty one counts as absent.
fn set<'e>(environment: &'e Environment, name: &str) -> Option<&'e str> {
    environment.get(name).map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const EXPORTER: &str = "OTEL_TRACES_EXPORTER";

    fn export(url: &str) -> Wish {
        Wish::Export(url.parse().unwrap())
    }

    #[test]
    fn spans_go_where_the_environment_says() {
        let both = [(ENDPOINT, "http://a:4318"), (TRACES_ENDPOINT, "https://b/own/path")];
        let padded = [(ENDPOINT, "http://a:4318/"), (TRACES_ENDPOINT, " ")];
        let off = [(ENDPOINT, "http://a:4318"), ("OTEL_SDK_DISABLED", "True")];
        let none = [(ENDPOINT, "http://a:4318"), (EXPORTER, "none")];
        let protobuf = [(ENDPOINT, "http://a/x"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
        let nothing = [("OTEL_SERVICE_NAME", "push"), (EXPORTER, "")];
        for (variables, expected) in [
            (both, export("https://b/own/path")),
            (padded, export("http://a:4318/v1/traces")),
            (off, Wish::Nothing),
            (none, Wish::Nothing),
            (protobuf, export("http://a/x/v1/traces")),
            (nothing, Wish::Nothing),
        ] {
            assert_eq!(wish(&Environment::of(variables)), expected, "{variables:?}");
        }
        assert_eq!(wish(&Environment::default()), Wish::Nothing);
        let usual = Environment::of([(EXPORTER, "otlp")]);
        assert_eq!(wish(&usual), export("http://localhost:4318/v1/traces"));
    }

    #[test]
    fn what_is_not_possible_is_said_without_what_may_be_secret() {
        for (variables, named) in [
            (
                [(ENDPOINT, "http://a"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ),
            (
                [(ENDPOINT, "http://a"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json")],
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            ),
            ([(ENDPOINT, "http://a"), (EXPORTER, "zipkin")], EXPORTER),
            ([(ENDPOINT, "user:secret@a:4318"), (EXPORTER, "otlp")], ENDPOINT),
            ([(TRACES_ENDPOINT, "grpc://user:secret@a:4317"), (EXPORTER, "otlp")], TRACES_ENDPOINT),
        ] {
            let Wish::Unusable(problem) = wish(&Environment::of(variables)) else {
                panic!("{variables:?}");
            };
            assert!(problem.starts_with(named) && !problem.contains("secret"), "{problem}");
        }
    }
}
