//! Properties of messages, to AMQP and from it.

use std::fmt;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::ports::Properties;

/// How often a quorum queue gave a message out before.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// The most bytes that a message's headers may take. They travel in one frame, 128 KiB at
/// RabbitMQ's default `frame_max`, and a larger one would end the connection.
const HEADERS_MAX_BYTES: usize = 120_000;

/// AMQP's mark for a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// A property that AMQP can't carry. Names it, never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// More than 255 bytes.
    TooLong(&'static str),
    /// Headers that would not fit into a frame.
    Headers,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(name) => write!(f, "AMQP can't carry a {name} of more than 255 bytes"),
            Self::Headers => write!(f, "AMQP can't carry headers of more than {HEADERS_MAX_BYTES} bytes"),
        }
    }
}

/// Whether a header is the broker's own. A copy of it in a message that is published again makes
/// RabbitMQ 3.10 lose that message in a ladder of delay queues, so it goes neither in nor out.
fn is_brokers(name: &str) -> bool {
    matches!(name, "x-death" | DELIVERY_COUNT | "x-acquired-count")
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

/// Reads the properties of a message that came.
pub fn from_amqp(amqp: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let headers = amqp.headers().iter().flat_map(|table| table.inner());
    Properties {
        message_id: text(amqp.message_id()),
        reply_to: text(amqp.reply_to()),
        correlation_id: text(amqp.correlation_id()),
        timestamp: amqp.timestamp().and_then(to_timestamp),
        content_type: text(amqp.content_type()),
        headers: headers
            .filter(|(name, _)| !is_brokers(name.as_str()))
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), to_text(value)?)))
            .collect(),
    }
}

/// How often the queue gave a message out before; absent means never. What a message says that is
/// given out for the first time is its producer's word, and not the broker's.
pub fn redeliveries(amqp: &BasicProperties, redelivered: bool) -> u32 {
    if !redelivered {
        return 0;
    }
    let count = amqp.headers().as_ref().and_then(|table| table.inner().get(DELIVERY_COUNT));
    let count = count.and_then(to_text).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

/// Writes the properties of a message that goes: always persistent. Its texts are moved.
pub fn to_amqp(properties: Properties) -> Result<BasicProperties, Unfit> {
    let mut amqp = BasicProperties::default().with_delivery_mode(PERSISTENT);
    if let Some(id) = properties.message_id {
        amqp = amqp.with_message_id(short("message_id", id)?);
    }
    if let Some(queue) = properties.reply_to {
        amqp = amqp.with_reply_to(short("reply_to", queue)?);
    }
    if let Some(id) = properties.correlation_id {
        amqp = amqp.with_correlation_id(short("correlation_id", id)?);
    }
    if let Some(content_type) = properties.content_type {
        amqp = amqp.with_content_type(short("content_type", content_type)?);
    }
    if let Some(seconds) = properties.timestamp.and_then(|at| u64::try_from(at.as_second()).ok()) {
        amqp = amqp.with_timestamp(seconds);
    }
    Ok(amqp.with_headers(header_table(properties.headers)?))
}

fn header_table(headers: Vec<(String, String)>) -> Result<FieldTable, Unfit> {
    if headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum::<usize>() > HEADERS_MAX_BYTES {
        return Err(Unfit::Headers);
    }
    let mut table = FieldTable::default();
    for (name, value) in headers.into_iter().filter(|(name, _)| !is_brokers(name)) {
        table.insert(short("header name", name)?, AMQPValue::LongString(value.into()));
    }
    Ok(table)
}

fn short(what: &'static str, text: String) -> Result<ShortString, Unfit> {
    ShortString::try_new(text).map_err(|_| Unfit::TooLong(what))
}

fn to_timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn to_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::ShortShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortShortUInt(number) => Some(number.to_string()),
        AMQPValue::ShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortUInt(number) => Some(number.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::LongUInt(number) => Some(number.to_string()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_headers(headers: Vec<(&str, AMQPValue)>) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn headers_come_as_texts_and_numbers() {
        let cases: [(AMQPValue, Option<&str>); 12] = [
            (AMQPValue::LongString("text".into()), Some("text")),
            (AMQPValue::ShortString("short".into()), Some("short")),
            (AMQPValue::LongString(vec![0xff, 0xfe].into()), None),
            (AMQPValue::ShortShortInt(-1), Some("-1")),
            (AMQPValue::ShortShortUInt(255), Some("255")),
            (AMQPValue::ShortInt(-300), Some("-300")),
            (AMQPValue::ShortUInt(65_535), Some("65535")),
            (AMQPValue::LongInt(-70_000), Some("-70000")),
            (AMQPValue::LongUInt(4_000_000_000), Some("4000000000")),
            (AMQPValue::LongLongInt(i64::MIN), Some("-9223372036854775808")),
            (AMQPValue::Boolean(true), None),
            (AMQPValue::Void, None),
        ];
        for (value, expected) in cases {
            let read = from_amqp(&with_headers(vec![("name", value.clone())]));
            assert_eq!(read.header("name"), expected, "{value:?}");
        }
    }

    #[test]
    fn the_brokers_own_headers_go_neither_in_nor_out() {
        let own =
            ["x-death", "x-first-death-queue", "x-last-death-reason", DELIVERY_COUNT, "x-acquired-count"];
        let kept = ["x-death-note", "traceparent"];
        let both = || own.iter().chain(&kept).map(|name| (*name, AMQPValue::LongString("1".into())));
        let read = from_amqp(&with_headers(both().collect()));
        let mut names: Vec<&str> = read.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["traceparent", "x-death-note"]);

        let headers = own.iter().chain(&kept).map(|name| ((*name).into(), "1".into())).collect();
        let written = to_amqp(Properties { headers, ..Properties::default() }).unwrap();
        let written: Vec<&str> =
            written.headers().as_ref().unwrap().inner().keys().map(ShortString::as_str).collect();
        assert_eq!(written, ["traceparent", "x-death-note"]);
    }

    #[test]
    fn redeliveries_are_what_the_queue_counts() {
        let cases = [
            (None, 0),
            (Some(AMQPValue::LongLongInt(0)), 0),
            (Some(AMQPValue::LongLongInt(7)), 7),
            (Some(AMQPValue::ShortShortUInt(3)), 3),
            (Some(AMQPValue::LongLongInt(-1)), 0),
            (Some(AMQPValue::LongLongInt(i64::MAX)), u32::MAX),
            (Some(AMQPValue::LongString("no number".into())), 0),
        ];
        for (value, expected) in cases {
            let headers = value.clone().map(|value| (DELIVERY_COUNT, value)).into_iter().collect();
            let amqp = with_headers(headers);
            assert_eq!(redeliveries(&amqp, true), expected, "{value:?}");
            assert_eq!(redeliveries(&amqp, false), 0, "{value:?} of a producer");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let properties = Properties {
            message_id: Some("m-1".into()),
            reply_to: Some("theirs".into()),
            correlation_id: Some("c-1".into()),
            timestamp: Some(Timestamp::from_second(1_700_000_000).unwrap()),
            content_type: Some("application/json".into()),
            headers: vec![("a".into(), "1".into()), ("b".into(), "ü".into())],
        };
        let amqp = to_amqp(properties.clone()).unwrap();
        assert_eq!(*amqp.delivery_mode(), Some(2));
        assert_eq!(from_amqp(&amqp), properties);
    }

    #[test]
    fn what_amqp_cannot_carry_is_named_without_its_value() {
        let long = "x".repeat(256);
        let some = || Some(long.clone());
        let none = Properties::default;
        let cases = [
            (Properties { message_id: some(), ..none() }, Unfit::TooLong("message_id")),
            (Properties { reply_to: some(), ..none() }, Unfit::TooLong("reply_to")),
            (Properties { correlation_id: some(), ..none() }, Unfit::TooLong("correlation_id")),
            (Properties { content_type: some(), ..none() }, Unfit::TooLong("content_type")),
            (
                Properties { headers: vec![(long.clone(), "v".into())], ..none() },
                Unfit::TooLong("header name"),
            ),
            (
                Properties { headers: vec![("n".into(), "v".repeat(HEADERS_MAX_BYTES))], ..none() },
                Unfit::Headers,
            ),
        ];
        for (properties, expected) in cases {
            let unfit = to_amqp(properties).unwrap_err();
            assert_eq!(unfit, expected);
            assert!(!unfit.to_string().contains("xxx"));
        }
    }
}
