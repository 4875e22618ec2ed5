//! Any bytes as the body of a message: read, or refused with findings; what is read is the same
//! after being written; whatever is a job is judged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paceline::pipeline::decode::{decode_body, encode, mask_credentials};

#[path = "../../tests/validation/judge.rs"]
#[allow(dead_code, reason = "shared with the properties, which use all of it")]
mod judge;

fuzz_target!(|body: &[u8]| {
    match decode_body(body) {
        Ok(job) => assert_eq!(decode_body(&encode(&job)).as_ref(), Ok(&job)),
        Err(unreadable) => assert!(!unreadable.findings.is_empty()),
    }
    mask_credentials(body);
    judge::judge(body);
});
