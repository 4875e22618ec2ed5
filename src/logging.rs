//! The log: events on standard error, as lines for people or as JSON objects.

use anyhow::Context as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::{Environment, LogConfig, LogFormat};

/// The variables that override the level, first one first; each may set levels by module, such as
/// `warn,paceline::worker=debug`.
pub const VARIABLES: [&str; 2] = ["PACELINE_LOG", "RUST_LOG"];

/// Libraries that log what an operator can't act on. The broker's adapter tells itself what its library
/// meets, which logs an error for each connection that ends.
const QUIETER: &str = "lapin=off,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,redis=warn,h2=warn";

/// Where the broker's library logs messages that come back, whole.
const NEVER_LOGGED: &str = "lapin::returned_messages";

/// Whether an event can't hold what belongs in no log, whatever level anybody asks for. Below `info`
/// libraries print what goes through them: addresses with passwords, frames with bodies and tokens.
fn is_harmless(metadata: &tracing::Metadata<'_>) -> bool {
    let target = metadata.target();
    let ours = target == OURS || target.strip_prefix(OURS).is_some_and(|rest| rest.starts_with("::"));
    ours || (*metadata.level() <= tracing::Level::INFO && !target.starts_with(NEVER_LOGGED))
}

const OURS: &str = env!("CARGO_CRATE_NAME");

/// Makes this process log to standard error. Once in a process; a second time is an error, as is a
/// variable that can't be read.
pub fn install(config: &LogConfig, environment: &Environment) -> anyhow::Result<()> {
    let filter = filter(&config.level, environment)?;
    let subscriber = subscriber(config.format, filter, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).context("the log is installed already")
}

fn filter(level: &str, environment: &Environment) -> anyhow::Result<EnvFilter> {
    let set = |name: &&str| environment.get(name).is_some_and(|text| !text.trim().is_empty());
    let Some(name) = VARIABLES.into_iter().find(set) else {
        return EnvFilter::try_new(quieter(level)).context("log.level");
    };
    let text = environment.get(name).unwrap_or_default();
    EnvFilter::try_new(text).with_context(|| format!("the environment variable {name}"))
}

/// A library's own `info` is asked for by name in a variable.
fn quieter(level: &str) -> String {
    if level == "error" { level.to_owned() } else { format!("{level},{QUIETER}") }
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = match format {
        LogFormat::Human => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            fmt::layer().with_ansi(colours).with_writer(writer).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    Box::new(registry().with(layer).with(filter).with(filter_fn(is_harmless)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, environment: &Environment) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = filter(level, environment).unwrap();
        tracing::subscriber::with_default(subscriber(format, filter, move || writer.clone()), || {
            tracing::info!(target: "paceline::worker", account = "shop", "an account was paused");
            tracing::info!(target: "lapin::channel", "a frame");
            tracing::debug!(target: "paceline::worker", "a detail");
            tracing::error!(target: "lapin::returned_messages", "a whole message");
            tracing::debug!(target: "lapin::channels", "a whole message in a frame");
            tracing::trace!(target: "paceline_like::library", "a whole message of another");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn events_are_lines_or_objects() {
        let text = logged(LogFormat::Human, "info", &Environment::default());
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("an account was paused") && text.contains("account=\"shop\""), "{text}");
        let text = logged(LogFormat::Json, "info", &Environment::default());
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (event["message"].as_str(), event["account"].as_str()),
            (Some("an account was paused"), Some("shop"))
        );
        assert_eq!((event["level"].as_str(), event["timestamp"].is_string()), (Some("INFO"), true));
    }

    #[test]
    fn a_variable_overrides_the_level() {
        let cases = [
            ("warn", Environment::default(), 0),
            ("debug", Environment::default(), 2),
            ("warn", Environment::of([("PACELINE_LOG", "debug")]), 3),
            ("warn", Environment::of([("RUST_LOG", "lapin=info")]), 1),
            ("info", Environment::of([("PACELINE_LOG", "error"), ("RUST_LOG", "debug")]), 0),
            ("info", Environment::of([("PACELINE_LOG", "")]), 1),
            ("info", Environment::of([("PACELINE_LOG", "lapin::returned_messages=trace")]), 0),
            ("info", Environment::of([("PACELINE_LOG", "trace")]), 3),
            ("info", Environment::of([("PACELINE_LOG", "lapin=trace")]), 1),
        ];
        for (level, environment, expected) in cases {
            let text = logged(LogFormat::Human, level, &environment);
            assert_eq!(text.lines().count(), expected, "{level}: {text}");
            assert!(!text.contains("a whole message"), "{level}: {text}");
        }
        let error = filter("info", &Environment::of([("PACELINE_LOG", "worker=loud")])).err().unwrap();
        assert!(format!("{error:#}").contains("PACELINE_LOG"), "{error:#}");
    }
}
