//! Tracing as it is in a build with the feature `otlp`.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions for messaging (RabbitMQ) and
//! HTTP; what they have no name for begins with `paceline.`. Spans wait in a bounded queue for a thread
//! of their own, which posts them in batches: nothing that delivers waits for it.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context as Scope, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use reqwest::Url;

use super::collector::Collector;
use super::{Ended, Facts, System, Wish, set, wish};
use crate::adapters::rabbitmq::names;
use crate::config::Environment;
use crate::pipeline::trace::{Context, Parent};
use crate::ports::{Place, Sent, WireAnswer, WireRequest};

/// The longest time for the last spans to reach the collector when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What makes the process's spans, once it does.
static TRACER: OnceLock<Spans> = OnceLock::new();

/// Makes spans.
struct Spans {
    tracer: SdkTracer,
    system: System,
}

/// The export of spans; [`Export::end`] sends the last ones.
#[must_use]
#[derive(Debug)]
pub struct Export(Option<SdkTracerProvider>);

/// Starts the export, if the environment asks for it; must be called in the runtime. One that can't be
/// started is said and left out: deliveries do not depend on it.
pub fn start(environment: &Environment, system: System) -> Export {
    let begun = match wish(environment) {
        Wish::Nothing => return Export(None),
        Wish::Unusable(problem) => Err(anyhow::Error::msg(problem)),
        Wish::Export(address) => provider(environment, &address).map(|provider| (provider, address)),
    };
    match begun {
        Ok((provider, address)) => {
            tracing::info!(collector = %plain(&address), "attempts are traced");
            let _ = TRACER.set(Spans { tracer: tracer(&provider), system });
            Export(Some(provider))
        }
        Err(problem) => {
            tracing::warn!("no traces are exported: {problem:#}");
            Export(None)
        }
    }
}

fn provider(environment: &Environment, address: &Url) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(environment)?)
        .with_endpoint(address.as_str())
        .build()?;
    // Sampler, bounds of the queue and resource are the library's to read from the environment.
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(environment))
        .with_batch_exporter(exporter)
        .build())
}

/// Who the spans are from. The library reads `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(environment: &Environment) -> Resource {
    let builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match service_name(environment) {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

/// The service's name, unless it is among the attributes, of which it then has to come.
fn service_name(environment: &Environment) -> Option<String> {
    let attributes = set(environment, "OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut keys = attributes.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.trim()));
    let given = set(environment, "OTEL_SERVICE_NAME");
    let usual = (!keys.any(|key| key == "service.name")).then_some(env!("CARGO_PKG_NAME"));
    given.or(usual).map(str::to_owned)
}

fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
    provider.tracer_with_scope(scope.build())
}

/// An address without what may be secret or differs from request to request.
fn plain(address: &Url) -> Url {
    let mut plain = address.clone();
    // Neither fails for an address that has a host, as every one of http has.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    plain.set_query(None);
    plain.set_fragment(None);
    plain
}

impl Export {
    /// Ends the export: sends the last spans, for a few seconds at most.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ending = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_WORDS));
        if !matches!(ending.await, Ok(Ok(()))) {
            tracing::warn!("the collector did not take the last spans");
        }
    }
}

/// An attempt at a delivery; clones are the same one. It ends with the last of them, if it was not
/// ended before.
#[derive(Clone)]
pub struct Attempt(Option<Scope>);

impl Attempt {
    /// None that is under way.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Begins it.
    pub fn start(facts: &Facts<'_>) -> Self {
        Self(TRACER.get().map(|spans| spans.attempt(facts)))
    }

    /// The span, for others to go on from; `None` where it is not traced.
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().and_then(context_of)
    }

    /// Ends it.
    pub fn end(&self, ended: Ended) {
        let Some(scope) = &self.0 else { return };
        let span = scope.span();
        span.set_attribute(KeyValue::new("paceline.outcome", ended.outcome));
        if let Some(error) = ended.error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A request to a provider.
pub struct Call(Option<Scope>);

impl Call {
    /// Begins it, for these attempts.
    pub fn start<'a>(attempts: impl Iterator<Item = &'a Attempt>, request: &WireRequest) -> Self {
        let scopes: Vec<&Scope> = attempts.filter_map(|attempt| attempt.0.as_ref()).collect();
        Self(TRACER.get().and_then(|spans| spans.call(&scopes, request)))
    }

    /// The span, for the provider to go on from; `None` where it is not traced.
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().and_then(context_of)
    }

    /// Ends it.
    pub fn end(self, sent: &Sent) {
        let Some(scope) = self.0 else { return };
        let span = scope.span();
        if let Sent::Answer(WireAnswer::Response { status, .. }) = sent {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(*status)));
        }
        if let Some(error) = failure(sent) {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A word for what was wrong with a request; its status where it has one.
fn failure(sent: &Sent) -> Option<String> {
    match sent {
        Sent::TooLate => Some("too_late".to_owned()),
        Sent::Answer(WireAnswer::NotSent(_)) => Some("not_sent".to_owned()),
        Sent::Answer(WireAnswer::Lost(_)) => Some("lost".to_owned()),
        Sent::Answer(WireAnswer::Response { status, .. }) => (*status >= 400).then(|| status.to_string()),
    }
}

impl Spans {
    fn attempt(&self, facts: &Facts<'_>) -> Scope {
        let parent = match facts.envelope.context() {
            Some(context) => Scope::new().with_remote_span_context(remote(context)),
            None => Scope::new(),
        };
        let before = facts.envelope.attempted.map(|parent| remote(Context { parent, state: None }));
        let destination = destination(self.system, facts);
        let span = self
            .tracer
            .span_builder(format!("process {destination}"))
            .with_kind(SpanKind::Consumer)
            .with_links(before.map(Link::with_context).into_iter().collect())
            .with_attributes(attempt_attributes(self.system, facts, destination))
            .start_with_context(&self.tracer, &parent);
        Scope::new().with_span(span)
    }

    /// A request is below the attempt that it is made for: of several below one that is recorded.
    fn call(&self, attempts: &[&Scope], request: &WireRequest) -> Option<Scope> {
        let recorded = attempts.iter().find(|scope| scope.span().span_context().is_sampled());
        let parent = recorded.or(attempts.first())?;
        let shared = if attempts.len() > 1 { attempts } else { &[] };
        let links = shared.iter().map(|scope| Link::with_context(scope.span().span_context().clone()));
        let span = self
            .tracer
            .span_builder(request.method.to_string())
            .with_kind(SpanKind::Client)
            .with_links(links.collect())
            .with_attributes(call_attributes(request, attempts.len()))
            .start_with_context(&self.tracer, parent);
        let scope = Scope::new().with_span(span);
        for attempt in shared {
            attempt.span().add_link(scope.span().span_context().clone(), Vec::new());
        }
        Some(scope)
    }
}

/// A queue as the conventions name it where it is consumed: exchange, routing key and queue, of which
/// those that say nothing more are left out.
fn destination(system: System, facts: &Facts<'_>) -> String {
    let queue = names::queue(facts.prefix, facts.place);
    match (system, facts.place) {
        (System::RabbitMq, Place::Jobs(account)) => {
            format!("{}:{account}:{queue}", names::jobs_exchange(facts.prefix))
        }
        (System::RabbitMq, Place::Retry(..) | Place::Lane(..) | Place::Due | Place::Dead)
        | (System::File, _) => queue,
    }
}

fn attempt_attributes(system: System, facts: &Facts<'_>, destination: String) -> Vec<KeyValue> {
    let Facts { prefix: _, place: _, envelope, delivery, requests } = facts;
    let system = match system {
        System::RabbitMq => "rabbitmq",
        // The conventions have no word for it.
        System::File => "paceline",
    };
    let job = &delivery.job;
    let mut attributes = vec![
        KeyValue::new("messaging.system", system),
        KeyValue::new("messaging.destination.name", destination),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("paceline.account", job.account.to_string()),
        KeyValue::new("paceline.operation", job.operation.clone()),
        KeyValue::new("paceline.delivery.id", delivery.id.to_string()),
        KeyValue::new("paceline.job.id", job.transaction_id.to_string()),
        KeyValue::new("paceline.attempt", i64::from(*requests) + 1),
    ];
    attributes.extend(envelope.message_id.clone().map(|id| KeyValue::new("messaging.message.id", id)));
    attributes
}

fn call_attributes(request: &WireRequest, deliveries: usize) -> Vec<KeyValue> {
    let url = &request.url;
    let mut attributes = vec![
        KeyValue::new("http.request.method", request.method.to_string()),
        KeyValue::new("url.full", plain(url).to_string()),
        KeyValue::new("paceline.deliveries", i64::try_from(deliveries).unwrap_or(i64::MAX)),
    ];
    attributes.extend(url.host_str().map(|host| KeyValue::new("server.address", host.to_owned())));
    attributes.extend(url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
    attributes
}

/// A span of somebody else, or of this process in the past.
fn remote(context: Context) -> SpanContext {
    let Context { parent: Parent { trace, span, flags }, state } = context;
    // What it does not take is left out: the standard asks for no more.
    let state = state.and_then(|text| text.parse::<TraceState>().ok()).unwrap_or_default();
    SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::new(flags), true, state)
}

/// A span as others are told of it; `None` for one that was begun after the export had ended.
fn context_of(scope: &Scope) -> Option<Context> {
    let span = scope.span();
    let span = span.span_context();
    if !span.is_valid() {
        return None;
    }
    let parent = Parent {
        trace: u128::from_be_bytes(span.trace_id().to_bytes()),
        span: u64::from_be_bytes(span.span_id().to_bytes()),
        flags: span.trace_flags().to_u8(),
    };
    let state = Some(span.trace_state().header()).filter(|text| !text.is_empty());
    Some(Context { parent, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AccountName, Class, Line, Priority};
    use crate::pipeline::testing::{delivery, envelope};

    #[test]
    fn a_service_has_the_name_that_the_environment_gives_it() {
        const NAME: &str = "OTEL_SERVICE_NAME";
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        for (variables, expected) in [
            ([(NAME, "push"), (ATTRIBUTES, "service.name=other")], Some("push")),
            ([(NAME, ""), (ATTRIBUTES, "a=1, service.name=other")], None),
            ([(NAME, ""), (ATTRIBUTES, "host.name=h,x=service.name=y")], Some("paceline")),
        ] {
            assert_eq!(service_name(&Environment::of(variables)).as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn queues_are_named_by_the_conventions() {
        let shop = AccountName::new("shop").unwrap();
        let (delivery, envelope) = (delivery("t", Class::Exempt), envelope("m"));
        for (system, place, expected) in [
            (System::RabbitMq, Place::Jobs(shop.clone()), "p.jobs:shop:p.jobs.shop"),
            (System::File, Place::Jobs(shop.clone()), "p.jobs.shop"),
            (System::RabbitMq, Place::Retry(shop.clone(), Line::MAIN), "p.retry.shop"),
            (System::RabbitMq, Place::Lane(shop, Line::MAIN, Priority::Low), "p.low.shop"),
        ] {
            let facts =
                Facts { prefix: "p", place: &place, envelope: &envelope, delivery: &delivery, requests: 0 };
            assert_eq!(destination(system, &facts), expected);
        }
    }

    #[test]
    fn an_address_is_told_without_secrets() {
        let address = Url::parse("https://user:secret@host:4318/v1/traces?key=secret#secret").unwrap();
        assert_eq!(plain(&address).as_str(), "https://host:4318/v1/traces");
    }

    #[test]
    fn what_others_say_of_a_span_is_kept() {
        for (state, kept) in [(None, None), (Some("a=1,b=2"), Some("a=1,b=2")), (Some("no list"), None)] {
            let parent = Parent { trace: 5, span: 6, flags: 3 };
            let context = Context { parent, state: state.map(str::to_owned) };
            let scope = Scope::new().with_remote_span_context(remote(context));
            let expected = Context { parent, state: kept.map(str::to_owned) };
            assert_eq!(context_of(&scope), Some(expected), "{state:?}");
        }
        assert_eq!(context_of(&Scope::new()), None);
    }
}
