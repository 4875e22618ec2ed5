//! Properties of arbitrary input.

use paceline::job::Finding;
use paceline::pipeline::decode::{decode_body, encode};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::judge::{CONFIG, Judged, judge, places, replaced, samples};

/// What every text of a generated value begins with: no finding may hold it.
const HUSH: &str = "hu5h";

/// Texts that look like something.
const NEARLY: [&str; 12] = [
    "now",
    "2026-02-30 10:00",
    "2026-02-28 10:00",
    "All Users",
    "12/31/2099",
    "08:00 AM",
    "T(\"Age\", EQ, 5",
    "A(\"AAAAA-00000\") * T(\"City\", IN, [\"Rome\"])",
    "CODE_NOT_AVAILABLE",
    "{{name}}",
    "https://",
    "",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (-3_i64..40).prop_map(Value::from),
        any::<String>().prop_map(|text| format!("{HUSH}{text}").into()),
        proptest::sample::select(&NEARLY[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((name(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Names of members: those of the samples, and any.
fn name() -> impl Strategy<Value = String> {
    let known: Vec<String> = samples()
        .iter()
        .flat_map(places)
        .filter_map(|place| place.rsplit('/').next().map(str::to_owned))
        .filter(|name| !name.is_empty() && name.parse::<usize>().is_err())
        .collect();
    prop_oneof![3 => proptest::sample::select(known), 1 => any::<String>(), 1 => Just("auth".to_owned())]
}

/// A sample in which a few values are replaced, and perhaps a member added.
fn spoilt_sample() -> impl Strategy<Value = Value> {
    let change = (any::<proptest::sample::Index>(), value(), proptest::option::of(name()));
    (proptest::sample::select(samples()), proptest::collection::vec(change, 1..4)).prop_map(
        |(mut sample, changes)| {
            for (index, value, name) in changes {
                let places = places(&sample);
                let place = &places[index.index(places.len())];
                match (sample.pointer_mut(place), name) {
                    (Some(Value::Object(members)), Some(name)) => drop(members.insert(name, value)),
                    (_, _) if place.is_empty() => {}
                    (_, _) => sample = replaced(&sample, place, value),
                }
            }
            sample
        },
    )
}

/// Whether a finding says where it is, what is wrong, what would be right, and who says so.
fn says_all(finding: &Finding, job: &Value) -> Result<(), String> {
    let parent = finding.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    if job.pointer(&finding.pointer).is_none() && job.pointer(parent).is_none() {
        return Err(format!("it points at nothing: {finding:?}"));
    }
    if finding.found.is_empty() || finding.allowed.is_empty() || finding.source.is_empty() {
        return Err(format!("it does not say all: {finding:?}"));
    }
    let shown = format!("{} {} {}", finding.pointer, finding.found, finding.allowed);
    if shown.contains(HUSH) || shown.chars().any(char::is_control) {
        return Err(format!("it gives away what the job holds: {finding:?}"));
    }
    Ok(())
}

/// Each delivery is carried through queues as a job of its own, and must be the same there.
fn survives_queues(judged: &Judged) -> Result<(), String> {
    for delivery in &judged.deliveries {
        let body = encode(&delivery.job);
        let job = decode_body(&body).map_err(|unreadable| format!("{:?}", unreadable.findings))?;
        let again =
            CONFIG.accounts[&job.account].gateway.plan(&job).map_err(|findings| format!("{findings:?}"))?;
        let [Ok(again)] = &again[..] else { return Err(format!("{again:?}")) };
        if (&again.id, again.class, &again.batch) != (&delivery.id, delivery.class, &delivery.batch) {
            return Err(format!("{delivery:?}\nbecame {again:?}"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!judge(&body).findings.is_empty());
    }

    #[test]
    fn text_is_read_or_refused(body in r#"[\[\]{}",:\\a0.eE+-]{0,60}"#) {
        prop_assert!(!judge(body.as_bytes()).findings.is_empty());
    }

    #[test]
    fn values_are_read_or_refused(value in value()) {
        let body = value.to_string();
        let judged = judge(body.as_bytes());
        prop_assert!(!judged.findings.is_empty());
        for finding in &judged.findings {
            says_all(finding, &value).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn spoilt_samples_are_judged_without_giving_anything_away(sample in spoilt_sample()) {
        let judged = judge(sample.to_string().as_bytes());
        for finding in judged.findings.iter().chain(&judged.warnings) {
            says_all(finding, &sample).map_err(TestCaseError::fail)?;
        }
        survives_queues(&judged).map_err(TestCaseError::fail)?;
    }
}
