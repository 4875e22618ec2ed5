//! Twice the input, at most twice the effort. Effort is what is allocated, which needs no clock and
//! is the same in every run; `cargo bench --bench validate` measures the time.

use std::sync::Once;

use allocation_counter::{AllocationInfo, measure};
use paceline::job::MAX_JOB_BYTES;

use crate::hostile::{Family, bodies, deep_values, long_lists, long_texts};
use crate::judge::{judge, samples};

/// What may be allocated whatever the size.
const BASE: u64 = 64 * 1024;

/// What may be allocated for each byte of input. A list of zeros, two bytes each, becomes values of
/// 72 bytes, in a list that grows by doubling, and is copied into its delivery.
const PER_BYTE: u64 = 256;

/// Twice the size may cost so many times as much: lists grow by doubling, so a little more than 2.
const MOST_FOR_TWICE: f64 = 2.6;

fn effort(body: &[u8]) -> AllocationInfo {
    static MADE: Once = Once::new();
    // What is made at its first use and kept is no body's effort, whichever test comes first.
    MADE.call_once(|| samples().iter().for_each(|sample| drop(judge(sample.to_string().as_bytes()))));
    measure(|| drop(std::hint::black_box(judge(body))))
}

/// What is wrong with how a family grows.
fn problem(family: &Family, size: usize, effort: impl Fn(&[u8]) -> AllocationInfo) -> Option<String> {
    let (half, whole) = (family.of(size / 2), family.of(size));
    let (small, large) = (effort(&half).bytes_total, effort(&whole).bytes_total);
    let times = large.saturating_sub(BASE) as f64 / small.max(1) as f64;
    let within = large <= BASE + PER_BYTE * whole.len() as u64;
    let sizes = format!("{} and {} bytes allocate {small} and {large}", half.len(), whole.len());
    (times > MOST_FOR_TWICE || !within).then(|| format!("{}: {sizes}", family.name))
}

fn problems(families: &[Family], size: usize) -> Vec<String> {
    assert!(families.len() > 5, "{} families", families.len());
    families.iter().filter_map(|family| problem(family, size, effort)).collect()
}

#[test]
fn bodies_that_are_no_jobs() {
    let problems = problems(&bodies(), MAX_JOB_BYTES - 1000);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn long_texts_in_every_place() {
    let problems = problems(&long_texts(&["x", "(", "\"", "T(\"a\",EQ,1)+", "{{", "\u{e4} "]), 100_000);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn texts_as_long_as_a_job_may_be_in_every_place() {
    let problems = problems(&long_texts(&["xy"]), MAX_JOB_BYTES - 2000);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn long_lists_and_objects_in_every_place() {
    let problems = problems(&long_lists(&["0", "\"x\"", "{}", "[\"a\",\"EQ\",1]"]), 100_000);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn nesting_is_read_to_a_depth_and_refused_beyond() {
    for (name, body) in deep_values(100) {
        // Whatever comes of it, it ends.
        assert!(effort(&body).bytes_total <= BASE + PER_BYTE * body.len() as u64, "{name}");
    }
    for (name, body) in deep_values(200) {
        let found: Vec<String> = judge(&body).findings.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains("recursion limit"), "{name}: {found:?}");
    }
}

#[test]
fn what_is_not_linear_is_found_out() {
    let quadratic = |body: &[u8]| {
        measure(|| {
            for length in (0..body.len()).step_by(64) {
                drop(std::hint::black_box(body[..length].to_vec()));
            }
        })
    };
    let heavy = |body: &[u8]| measure(|| drop(std::hint::black_box(vec![1_u8; body.len() * 300])));
    for effort in [&quadratic as &dyn Fn(&[u8]) -> AllocationInfo, &heavy] {
        let found = problem(&bodies()[0], 100_000, effort);
        assert!(found.is_some());
    }
}
