//! Inputs made to cost, in any size.

use paceline::providers::ALL;
use serde_json::{Value, json};

use crate::judge::{places, replaced, samples};

/// A family of inputs: a body of roughly this many bytes.
pub struct Family {
    pub name: String,
    make: Box<dyn Fn(usize) -> Vec<u8>>,
}

impl Family {
    fn new(name: impl Into<String>, make: impl Fn(usize) -> Vec<u8> + 'static) -> Self {
        Self { name: name.into(), make: Box::new(make) }
    }

    pub fn of(&self, bytes: usize) -> Vec<u8> {
        (self.make)(bytes)
    }
}

/// Bodies that are no jobs.
pub fn bodies() -> Vec<Family> {
    let raw =
        |name: &str, piece: &'static str| Family::new(name, |bytes| piece.repeat(bytes / piece.len()).into());
    vec![
        raw("opening brackets", "["),
        raw("opening braces", "{\"a\":"),
        raw("brackets", "[]"),
        raw("quotes", "\""),
        raw("digits", "9"),
        raw("bytes that are not UTF-8", "\u{e9}\u{0}"),
        Family::new("unknown fields", |bytes| object(bytes, "0").to_string().into_bytes()),
        Family::new("one field many times", |bytes| {
            format!("{{{}\"a\":0}}", "\"auth\":0,".repeat(bytes / 9)).into()
        }),
        Family::new("one long name", |bytes| json!({ "a".repeat(bytes): 0 }).to_string().into_bytes()),
    ]
}

/// The samples with each text, in turn, made long.
pub fn long_texts(pieces: &'static [&'static str]) -> Vec<Family> {
    let families = each_kind_of_place().into_iter().flat_map(move |(name, sample, place)| {
        let pieces = if sample.pointer(&place).is_some_and(Value::is_string) { pieces } else { &[] };
        pieces.iter().map(move |piece| {
            let (sample, place) = (sample.clone(), place.clone());
            Family::new(format!("{name}: {piece:?} and so on"), move |bytes| {
                replaced(&sample, &place, piece.repeat(bytes / piece.len()).into()).to_string().into_bytes()
            })
        })
    });
    families.collect()
}

/// The samples with each list and object, in turn, made long, of each of these items.
pub fn long_lists(items: &'static [&'static str]) -> Vec<Family> {
    let families = each_kind_of_place().into_iter().flat_map(move |(name, sample, place)| {
        let value = sample.pointer(&place).cloned().unwrap_or_default();
        let items = if (value.is_array() || value.is_object()) && !place.is_empty() { items } else { &[] };
        items.iter().map(move |item| {
            let (sample, place, list) = (sample.clone(), place.clone(), value.is_array());
            Family::new(format!("{name}: {item} and so on"), move |bytes| {
                let long = if list { array(bytes, item) } else { object(bytes, item) };
                replaced(&sample, &place, long).to_string().into_bytes()
            })
        })
    });
    families.collect()
}

/// The samples with each value, in turn, nested as deep as can be.
pub fn deep_values(depth: usize) -> Vec<(String, Vec<u8>)> {
    let deep = (0..depth).fold(json!(0), |inner, _| json!([inner]));
    let places = each_kind_of_place().into_iter().filter(|(_, _, place)| !place.is_empty());
    places
        .map(|(name, sample, place)| (name, replaced(&sample, &place, deep.clone()).to_string().into()))
        .collect()
}

/// Every place of every operation's samples once: items of one list are alike.
fn each_kind_of_place() -> Vec<(String, Value, String)> {
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for sample in samples() {
        for place in places(sample) {
            let alike: Vec<&str> =
                place.split('/').map(|step| if step.parse::<usize>().is_ok() { "*" } else { step }).collect();
            let name = format!("{} {}", sample["operation"].as_str().unwrap_or_default(), alike.join("/"));
            if seen.insert(name.clone()) {
                found.push((name, sample.clone(), place));
            }
        }
    }
    assert!(ALL.iter().flat_map(|provider| provider.operations()).all(|operation| {
        found.iter().any(|(name, _, _)| name.starts_with(&format!("{operation} /payload/")))
    }));
    found
}

fn array(bytes: usize, item: &str) -> Value {
    let item: Value = serde_json::from_str(item).expect("an item is JSON");
    let length = item.to_string().len() + 1;
    vec![item; bytes / length].into()
}

fn object(bytes: usize, item: &str) -> Value {
    let item: Value = serde_json::from_str(item).expect("an item is JSON");
    let length = item.to_string().len() + 12;
    let members = (0..bytes / length).map(|index| (format!("m{index:07}"), item.clone()));
    Value::Object(members.collect())
}
