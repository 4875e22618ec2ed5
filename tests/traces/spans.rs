//! Spans as a collector reads them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::listener::Listener;

/// The spans that a collector was sent so far.
pub fn of(collector: &Listener) -> Vec<Span> {
    batches(collector)
        .into_iter()
        .flat_map(|batch| batch.resource_spans)
        .flat_map(|of_resource| of_resource.scope_spans)
        .flat_map(|of_scope| of_scope.spans)
        .collect()
}

/// The values that resources give to a name, one for each batch.
pub fn resources(collector: &Listener, name: &str) -> Vec<String> {
    let batches = batches(collector).into_iter().flat_map(|batch| batch.resource_spans);
    let resources = batches.filter_map(|of_resource| of_resource.resource);
    resources.filter_map(|resource| value(&resource.attributes, name)).collect()
}

fn batches(collector: &Listener) -> Vec<ExportTraceServiceRequest> {
    let seen = collector.seen();
    assert!(seen.iter().all(|seen| seen.path == "/v1/traces"));
    seen.into_iter().map(|seen| ExportTraceServiceRequest::decode(seen.body).expect("OTLP")).collect()
}

/// An attribute of a span, as a text.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    value(&span.attributes, name)
}

fn value(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

/// The spans of a delivery's attempts, in the order in which they began.
pub fn attempts<'s>(spans: &'s [Span], delivery: &str) -> Vec<&'s Span> {
    let mut found: Vec<&Span> = spans
        .iter()
        .filter(|span| attribute(span, "paceline.delivery.id").as_deref() == Some(delivery))
        .collect();
    found.sort_by_key(|span| span.start_time_unix_nano);
    found
}

/// The spans below another.
pub fn below<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.parent_span_id == parent.span_id).collect()
}

/// The spans that a span points to.
pub fn pointed_to(span: &Span) -> Vec<Vec<u8>> {
    span.links.iter().map(|link| link.span_id.clone()).collect()
}

/// A span as `traceparent` names it, when it is recorded.
pub fn parent_text(span: &Span) -> String {
    format!("00-{}-{}-01", hex::encode(&span.trace_id), hex::encode(&span.span_id))
}
