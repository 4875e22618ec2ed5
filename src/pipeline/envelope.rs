//! What travels with a delivery from queue to queue, as message properties and headers.
//!
//! Every hop writes the whole envelope anew from these fields, so nothing that a broker adds on
//! its way (`x-death`, whose copies make RabbitMQ 3.10 lose messages) is ever carried on.

use jiff::Timestamp;

use crate::job::{DeliveryId, Instance, TransactionId};
use crate::pipeline::trace::{self, Context, Parent};
use crate::pipeline::trail::Trail;
use crate::ports::{Chance, History, Place, Properties};
use crate::verdict::Outcome;

/// Header: which publishing of the delivery this is. Its presence marks a message of paceline's
/// own, with exactly one delivery in it.
pub const INSTANCE: &str = "paceline-instance";
/// Header: time of publishing, in milliseconds since 1970.
pub const PUBLISHED_AT: &str = "paceline-published-at";
/// Header: the dead id that a replay overrides.
pub const REPLAY: &str = "paceline-replay";
const REQUESTS: &str = "paceline-requests";
const RETRIES: &str = "paceline-retries";
const FIRST_ATTEMPT: &str = "paceline-first-attempt";
const UNRESOLVED: &str = "paceline-unresolved";
const ALONE: &str = "paceline-alone";
const COUNTED: &str = "paceline-counted";
const CRASHES: &str = "paceline-crashes";
/// Header: the attempts behind it, for people; see [`Trail`].
pub const HISTORY: &str = "paceline-history";
const ATTEMPTED: &str = "paceline-attempt-trace";
const OUTCOME: &str = "paceline-outcome";
const DUE_AT: &str = "paceline-due-at";
const DUE_TO: &str = "paceline-due-to";
const DUE_ACCOUNT: &str = "paceline-due-account";
const DELIVERY: &str = "paceline-delivery";
const JOB: &str = "paceline-job";
const OPERATION: &str = "paceline-operation";
const READS: &str = "paceline-reads";
/// What the names of paceline's own headers begin with.
const OWN: &str = "paceline-";
/// The longest header that is carried on; W3C allows a tracestate of 512.
const MAX_HEADER_BYTES: usize = 1_024;
/// The longest outcome that travels in a header: with all else below what AMQP carries (128 KiB).
const MAX_OUTCOME_BYTES: usize = 60_000;
/// The highest count of attempts that is believed.
const MAX_COUNT: u32 = 1_000_000;
const TRACE: [&str; 2] = [trace::PARENT, trace::STATE];

/// Whether a header carries the trace, which is a producer's and goes wherever its job goes.
pub fn is_trace(name: &str) -> bool {
    TRACE.contains(&name)
}

/// A producer's wish to get the receipts of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The queue they also go to.
    pub queue: String,
    /// Echoed.
    pub correlation_id: Option<String>,
}

/// When and where a waiting delivery comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Not earlier.
    pub at: Timestamp,
    /// The queue it then goes to.
    pub to: Place,
}

/// What a message of paceline's own says of its delivery beside its body, so that it can be ended in
/// its own name without being read: reading it may be what brings workers down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The delivery's identity.
    pub id: DeliveryId,
    /// Its job's.
    pub job: TransactionId,
    /// The operation.
    pub operation: String,
    /// Whether the operation only reads.
    pub reads: bool,
}

/// Everything that travels with a delivery beside its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Which publishing of the delivery this is.
    pub instance: Instance,
    /// Whether paceline itself wrote the message (then it holds exactly one delivery).
    pub internal: bool,
    /// The producer's name for the message.
    pub message_id: Option<String>,
    /// Time of publishing, else of intake.
    pub published_at: Timestamp,
    /// Where the receipts go besides the exchange.
    pub reply: Option<Reply>,
    /// W3C trace context, as it came; of a delivery that came without, its first attempt that was traced.
    pub trace: Vec<(String, String)>,
    /// The span of its last attempt, where that was traced.
    pub attempted: Option<Parent>,
    /// The dead id that this message overrides.
    pub replay: Option<String>,
    /// The attempts behind it, for a store that forgot them.
    pub remembered: History,
    /// Must not share a request.
    pub alone: bool,
    /// Exempt by itself, but the provider throttled it: goes through the lanes.
    pub counted: bool,
    /// Redeliveries behind it that the broker no longer counts, because it was published anew while
    /// somebody, perhaps a dead worker of its own, held its claim.
    pub crashes: u32,
    /// Its attempts so far, for people.
    pub trail: Trail,
    /// How it ended, where that is known but could not be written to the store in time.
    pub outcome: Option<Outcome>,
    /// Where it goes after a wait.
    pub due: Option<Due>,
    /// What it says of its delivery; `None` for a producer's message.
    pub label: Option<Label>,
}

impl Envelope {
    /// Reads the properties of a message. Headers that can't be read count as absent: they are
    /// hints of ours, or a producer's whims.
    pub fn read(properties: &Properties, now: Timestamp, chance: &dyn Chance) -> Self {
        let own_instance = bounded(properties, INSTANCE);
        let message_id = properties.message_id.clone().filter(|id| !id.is_empty());
        let instance = match (own_instance, &message_id) {
            (Some(text), _) => Instance::from_header(text),
            (None, Some(id)) => Instance::of(id, 0),
            (None, None) => Instance::of(&chance.unique(), 0),
        };
        let internal = own_instance.is_some();
        Self {
            instance,
            internal,
            message_id,
            published_at: millis(properties.header(PUBLISHED_AT)).or(properties.timestamp).unwrap_or(now),
            reply: properties.reply_to.as_ref().map(|queue| Reply {
                queue: queue.clone(),
                correlation_id: properties.correlation_id.clone(),
            }),
            trace: TRACE
                .iter()
                .filter_map(|name| {
                    bounded(properties, name).map(|value| ((*name).to_owned(), value.to_owned()))
                })
                .collect(),
            attempted: bounded(properties, ATTEMPTED).filter(|_| internal).and_then(Parent::read),
            replay: bounded(properties, REPLAY).map(str::to_owned),
            remembered: if internal { read_history(properties) } else { History::default() },
            alone: internal && properties.header(ALONE).is_some(),
            counted: internal && properties.header(COUNTED).is_some(),
            crashes: carried_crashes(properties),
            trail: bounded(properties, HISTORY).filter(|_| internal).map(Trail::read).unwrap_or_default(),
            outcome: properties
                .header(OUTCOME)
                .filter(|_| internal)
                .and_then(|text| serde_json::from_str(text).ok()),
            due: read_due(properties),
            label: read_label(properties).filter(|_| internal),
        }
    }

    /// The span that an attempt continues.
    pub fn context(&self) -> Option<Context> {
        Context::read(&self.trace)
    }

    /// Remembers that it is being attempted under this span. Whoever named none that can be read gets
    /// this one, so that all attempts are in one trace.
    pub fn remember_attempt(&mut self, span: &Context) {
        if self.context().is_none() {
            self.trace = span.headers().map(|(name, value)| (name.to_owned(), value)).collect();
        }
        self.attempted = Some(span.parent);
    }

    /// The envelope of delivery `index` of a job with several.
    pub fn nth(&self, index: usize) -> Self {
        let base = self.instance.as_str();
        let base = base.rsplit_once('/').map_or(base, |(head, _)| head);
        Self { instance: Instance::of(base, index), ..self.clone() }
    }

    /// The properties of a message that carries this envelope.
    pub fn write(&self) -> Properties {
        let mut properties = self.write_outside();
        properties.set_header(INSTANCE, self.instance.as_str());
        properties.set_header(PUBLISHED_AT, self.published_at.as_millisecond().to_string());
        if let Some(replay) = &self.replay {
            properties.set_header(REPLAY, replay);
        }
        if self.remembered.requests > 0 {
            properties.set_header(REQUESTS, self.remembered.requests.to_string());
        }
        if self.remembered.retries > 0 {
            properties.set_header(RETRIES, self.remembered.retries.to_string());
        }
        if let Some(at) = self.remembered.first_attempt_ms {
            properties.set_header(FIRST_ATTEMPT, at.to_string());
        }
        if let Some(at) = self.remembered.unresolved_ms {
            properties.set_header(UNRESOLVED, at.to_string());
        }
        for (name, set) in [(ALONE, self.alone), (COUNTED, self.counted)] {
            if set {
                properties.set_header(name, "1");
            }
        }
        if self.crashes > 0 {
            properties.set_header(CRASHES, self.crashes.to_string());
        }
        if let Some(span) = self.attempted {
            properties.set_header(ATTEMPTED, span.to_string());
        }
        if let Some(text) = self.trail.written() {
            properties.set_header(HISTORY, text);
        }
        if let Some(text) = self.outcome.as_ref().and_then(outcome_text) {
            properties.set_header(OUTCOME, text);
        }
        if let Some(due) = &self.due {
            write_due(&mut properties, due);
        }
        if let Some(label) = &self.label {
            write_label(&mut properties, label);
        }
        properties
    }

    /// The part of the envelope that leaves paceline's own queues: with a dead letter, which must
    /// start afresh when it is published again.
    pub fn write_outside(&self) -> Properties {
        Properties {
            message_id: self.message_id.clone(),
            reply_to: self.reply.as_ref().map(|reply| reply.queue.clone()),
            correlation_id: self.reply.as_ref().and_then(|reply| reply.correlation_id.clone()),
            timestamp: Some(self.published_at),
            content_type: Some("application/json".to_owned()),
            headers: self.trace.clone(),
        }
    }
}

/// A header of sane length. A longer one is a producer's whim; carried on, it could make a message
/// that no broker takes.
fn bounded<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    properties.header(name).filter(|value| value.len() <= MAX_HEADER_BYTES)
}

/// The properties of a message that came from outside: the headers that say what paceline knows of a
/// delivery are not a producer's to set, since a forged one could end a delivery that was never sent.
/// What is left of them is the replay, which is documented.
pub fn from_outside(mut properties: Properties) -> Properties {
    properties.headers.retain(|(name, _)| !name.starts_with(OWN) || name == REPLAY);
    properties
}

/// Whether a worker held the message before and gave it back, with the time of its publishing.
pub fn was_given_back(properties: &Properties) -> bool {
    properties.header(PUBLISHED_AT).is_some()
}

/// The properties of a message that goes back to its queue as it is, with the headers that mean
/// something here and the time of its publishing: a producer may have said none, and then it was
/// the time of intake.
pub fn given_back(properties: &Properties, intake: Timestamp, chance: &dyn Chance) -> Properties {
    let published_at = Envelope::read(properties, intake, chance).published_at;
    let mut kept = properties.clone();
    kept.headers.retain(|(name, value)| {
        let ours = name.starts_with(OWN) || TRACE.contains(&name.as_str());
        ours && value.len() <= if name == OUTCOME { MAX_OUTCOME_BYTES } else { MAX_HEADER_BYTES }
    });
    kept.set_header(PUBLISHED_AT, published_at.as_millisecond().to_string());
    kept
}

/// An outcome as far as a header carries it: without what the provider said at length.
fn outcome_text(outcome: &Outcome) -> Option<String> {
    // An outcome is plain data: writing it as JSON can't fail.
    let text = serde_json::to_string(outcome).ok()?;
    if text.len() <= MAX_OUTCOME_BYTES {
        return Some(text);
    }
    let mut shorter = outcome.clone();
    shorter.acceptance.unknown_devices.clear();
    shorter.acceptance.response = None;
    serde_json::to_string(&shorter).ok()
}

/// What the one delivery of a message, or the message of a producer, is called on all its hops; `None`
/// for one that has no name yet. Deliveries of one job have names of their own: what one of them does
/// must not be counted against the others.
pub fn message_name(properties: &Properties) -> Option<Instance> {
    let own = bounded(properties, INSTANCE).map(Instance::from_header);
    let producers = || properties.message_id.as_deref().filter(|id| !id.is_empty());
    own.or_else(|| producers().map(|id| Instance::of(id, 0)))
}

/// Attempts, as a message of ours remembers them. Bounded, so that no arithmetic on them overflows
/// whatever a header says.
fn read_history(properties: &Properties) -> History {
    let count = |name| number(properties.header(name)).unwrap_or(0).min(MAX_COUNT);
    let moment = |name| millis(properties.header(name)).map(Timestamp::as_millisecond);
    History {
        requests: count(REQUESTS),
        retries: count(RETRIES),
        first_attempt_ms: moment(FIRST_ATTEMPT),
        unresolved_ms: moment(UNRESOLVED),
    }
}

/// [`Envelope::crashes`], without reading the rest: the message may be one that must be read alone.
pub fn carried_crashes(properties: &Properties) -> u32 {
    let own = properties.header(INSTANCE).is_some();
    number(properties.header(CRASHES)).filter(|_| own).unwrap_or(0).min(MAX_COUNT)
}

/// Adds what the broker counted for a message, where that is one of ours, to what it carries: it is
/// about to be published anew, which the broker does not count on.
pub fn keep_crashes(properties: &mut Properties, redeliveries: u32) {
    if properties.header(INSTANCE).is_some() {
        let crashes = carried_crashes(properties).saturating_add(redeliveries).min(MAX_COUNT);
        properties.set_header(CRASHES, crashes.to_string());
    }
}

fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

fn millis(text: Option<&str>) -> Option<Timestamp> {
    Timestamp::from_millisecond(number(text)?).ok()
}

fn read_due(properties: &Properties) -> Option<Due> {
    let at = millis(properties.header(DUE_AT))?;
    let account = crate::job::AccountName::new(properties.header(DUE_ACCOUNT)?)?;
    Some(Due { at, to: Place::of_label(account, properties.header(DUE_TO)?)? })
}

fn read_label(properties: &Properties) -> Option<Label> {
    let job = TransactionId::new(properties.header(JOB)?).ok()?;
    let id = DeliveryId::own(&job, properties.header(DELIVERY)?, None).ok()?;
    let operation = bounded(properties, OPERATION)?.to_owned();
    Some(Label { id, job, operation, reads: properties.header(READS).is_some() })
}

fn write_label(properties: &mut Properties, label: &Label) {
    properties.set_header(DELIVERY, label.id.as_str());
    properties.set_header(JOB, label.job.as_str());
    properties.set_header(OPERATION, &label.operation);
    if label.reads {
        properties.set_header(READS, "1");
    }
}

fn write_due(properties: &mut Properties, due: &Due) {
    // What is no account's is never a place to come back to; the due mover buries a message without
    // a target.
    let Some(account) = due.to.account() else { return };
    properties.set_header(DUE_AT, due.at.as_millisecond().to_string());
    properties.set_header(DUE_TO, due.to.label());
    properties.set_header(DUE_ACCOUNT, account.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AccountName, Line, Pool, Priority};
    use crate::pipeline::settle::Ending;
    use crate::verdict::Status;

    struct Fixed;
    impl Chance for Fixed {
        fn unit(&self) -> f64 {
            0.5
        }
        fn unique(&self) -> String {
            "unique".into()
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn a_producers_message_gets_its_instance_from_the_message_id_or_a_unique_one() {
        let named = Properties { message_id: Some("m-1".into()), ..Properties::default() };
        let nameless = Properties { message_id: Some(String::new()), ..Properties::default() };
        let cases = [(named, "m-1/0"), (nameless, "unique/0"), (Properties::default(), "unique/0")];
        for (properties, expected) in cases {
            let envelope = Envelope::read(&properties, now(), &Fixed);
            assert_eq!(envelope.instance.as_str(), expected);
            assert!(!envelope.internal);
            assert_eq!(envelope.published_at, now());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let account = AccountName::new("shop").unwrap();
        for to in [
            Place::Jobs(account.clone()),
            Place::Retry(account.clone(), Line::MAIN),
            Place::Lane(account.clone(), Pool::beside("campaigns").line(), Priority::Low),
        ] {
            let envelope = Envelope {
                instance: Instance::of("m-1", 7),
                internal: true,
                message_id: Some("m-1".into()),
                published_at: Timestamp::from_millisecond(1_800_000_000_123).unwrap(),
                reply: Some(Reply { queue: "answers".into(), correlation_id: Some("c".into()) }),
                trace: vec![("traceparent".into(), "00-1-2-01".into())],
                attempted: Some(Parent { trace: 1, span: 2, flags: 1 }),
                replay: Some("d-1".into()),
                remembered: History {
                    requests: 3,
                    retries: 2,
                    first_attempt_ms: Some(5),
                    unresolved_ms: Some(6),
                },
                alone: true,
                counted: true,
                crashes: 2,
                trail: Trail::default().with(5, "failed").with(6, "not_sent"),
                outcome: Some(Ending::unsent(Status::Expired, 1).at(now())),
                due: Some(Due { at: Timestamp::from_millisecond(9).unwrap(), to }),
                label: Some(Label {
                    id: DeliveryId::nth(&TransactionId::new("job").unwrap(), 7),
                    job: TransactionId::new("job").unwrap(),
                    operation: "createMessage".into(),
                    reads: true,
                }),
            };
            assert_eq!(Envelope::read(&envelope.write(), now(), &Fixed), envelope);
        }
    }

    #[test]
    fn headers_of_nonsense_count_as_absent() {
        let mut properties = Properties::default();
        for name in [
            REQUESTS,
            RETRIES,
            FIRST_ATTEMPT,
            UNRESOLVED,
            PUBLISHED_AT,
            ATTEMPTED,
            DUE_AT,
            DUE_TO,
            DUE_ACCOUNT,
        ] {
            properties.set_header(name, "not a number");
        }
        let envelope = Envelope::read(&properties, now(), &Fixed);
        assert_eq!(envelope.remembered, History::default());
        assert_eq!((envelope.crashes, envelope.due, envelope.attempted), (0, None, None));
        assert_eq!(envelope.published_at, now());
    }

    #[test]
    fn only_our_own_messages_bring_a_history_and_no_more_than_arithmetic_bears() {
        let mut properties = Properties::default();
        for name in [REQUESTS, RETRIES, CRASHES] {
            properties.set_header(name, u32::MAX.to_string());
        }
        properties.set_header(UNRESOLVED, i64::MIN.to_string());
        let foreign = Envelope::read(&properties, now(), &Fixed);
        assert_eq!((foreign.remembered, foreign.crashes), (History::default(), 0));
        let mut kept = properties.clone();
        keep_crashes(&mut kept, 3);
        assert_eq!(kept, properties, "somebody else's header");
        let mut own = Properties::default();
        own.set_header(INSTANCE, "m/0");
        keep_crashes(&mut own, 2);
        keep_crashes(&mut own, 3);
        assert_eq!(carried_crashes(&own), 5);
        properties.set_header(INSTANCE, "m/0");
        let ours = Envelope::read(&properties, now(), &Fixed);
        assert_eq!((ours.remembered.requests, ours.remembered.unresolved_ms), (MAX_COUNT, None));
        assert_eq!(ours.crashes, MAX_COUNT);
    }

    #[test]
    fn of_our_own_headers_a_producer_can_set_only_the_replay() {
        let mut properties = Properties { message_id: Some("m".into()), ..Properties::default() };
        let forged = [
            INSTANCE,
            PUBLISHED_AT,
            REQUESTS,
            RETRIES,
            FIRST_ATTEMPT,
            UNRESOLVED,
            ALONE,
            COUNTED,
            CRASHES,
            HISTORY,
            ATTEMPTED,
            OUTCOME,
            DUE_AT,
            DUE_TO,
            DUE_ACCOUNT,
            DELIVERY,
            JOB,
            OPERATION,
            READS,
        ];
        for name in forged.into_iter().chain([REPLAY, "traceparent", "theirs"]) {
            properties.set_header(name, "1");
        }
        let left = from_outside(properties).headers;
        let names: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [REPLAY, "traceparent", "theirs"]);
    }

    #[test]
    fn each_delivery_has_a_name_of_its_own_that_its_hops_keep() {
        let published = Properties { message_id: Some("m".into()), ..Properties::default() };
        let envelope = Envelope::read(&published, now(), &Fixed);
        let name = message_name(&published);
        assert_eq!(name, message_name(&envelope.write()));
        assert_eq!(name, message_name(&envelope.nth(0).write()));
        assert_ne!(name, message_name(&envelope.nth(1).write()));
        assert_eq!(message_name(&Properties::default()), None);
    }

    #[test]
    fn an_attempt_is_remembered_and_the_producer_s_trace_is_kept() {
        let span = |n| Context { parent: Parent { trace: 1, span: n, flags: 1 }, state: None };
        let traced = |text: &str| {
            let mut properties = Properties { message_id: Some("m".into()), ..Properties::default() };
            properties.set_header("traceparent", text);
            let mut envelope = Envelope::read(&properties, now(), &Fixed);
            for n in [5, 6] {
                envelope.remember_attempt(&span(n));
            }
            let again = Envelope::read(&envelope.write(), now(), &Fixed);
            let parent = again.context().map(|context| context.parent);
            // A letter is published again as a new message: it has no attempt behind it.
            assert!(envelope.write_outside().header(ATTEMPTED).is_none());
            (parent.map(|parent| parent.span), again.attempted.map(|span| span.span))
        };
        let producers = Parent { trace: 1, span: 3, flags: 1 }.to_string();
        assert_eq!(traced(&producers), (Some(3), Some(6)));
        assert_eq!(traced("nonsense"), (Some(5), Some(6)));
    }

    #[test]
    fn what_goes_back_fits_into_a_message() {
        let mut properties = Properties::default();
        properties.set_header("x-producer", "v".repeat(119_000));
        properties.set_header("tracestate", "v".repeat(2_000));
        properties.set_header("traceparent", "00-1-2-01");
        let kept = given_back(&properties, now(), &Fixed);
        let names: Vec<&str> = kept.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["traceparent", PUBLISHED_AT]);

        let mut outcome = Ending::unsent(Status::Expired, 1).at(now());
        outcome.acceptance.unknown_devices = vec!["d".repeat(150); 1_000];
        outcome.acceptance.message_code = Some("C".into());
        let read: Outcome = serde_json::from_str(&outcome_text(&outcome).unwrap()).unwrap();
        assert_eq!(
            (read.acceptance.message_code.as_deref(), read.acceptance.unknown_devices.len()),
            (Some("C"), 0)
        );
    }

    #[test]
    fn several_deliveries_of_one_message_are_told_apart() {
        let properties = Properties { message_id: Some("a/b".into()), ..Properties::default() };
        let envelope = Envelope::read(&properties, now(), &Fixed);
        assert_eq!(envelope.nth(3).instance.as_str(), "a/b/3");
        assert_eq!(envelope.nth(0).instance, envelope.instance);
    }
}
