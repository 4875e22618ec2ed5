//! A sample of any provider with one value replaced: the first byte chooses the sample, the second
//! the place, the rest is the value (JSON, else a text).

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[path = "../../tests/validation/judge.rs"]
#[allow(dead_code, reason = "shared with the properties, which use all of it")]
mod judge;

fuzz_target!(|data: &[u8]| {
    let [sample, place, value @ ..] = data else { return };
    let samples = judge::samples();
    let sample = &samples[usize::from(*sample) % samples.len()];
    let places = judge::places(sample);
    let place = &places[usize::from(*place) % places.len()];
    let value = serde_json::from_slice(value)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(value).into_owned()));
    judge::judge(judge::replaced(sample, place, value).to_string().as_bytes());
});
