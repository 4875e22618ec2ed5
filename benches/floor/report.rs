//! What the rounds came to.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::figures::{Figure, percentile};
use crate::program::Floor;
use crate::turn::{Program, Seen};

/// What each program came to in one round.
pub type Round = BTreeMap<Program, Seen>;

/// The floor that gives the same guarantees.
const SAME: Program = Program::Floor(Floor::C);

const LEAST_RATE: f64 = 0.85;
const MOST_PROCESSOR: f64 = 1.3;
const MOST_WAIT: f64 = 1.3;

/// One turn in one line.
pub fn line(seen: &Seen) -> String {
    format!(
        "{:.0} jobs/s; processor seconds for 1,000 jobs: {:.3}, broker {:.3}, store {:.3}; {:.1} MiB; wait p50 {}, p99 {}",
        seen.rate,
        seen.processor.program,
        seen.processor.broker,
        seen.processor.store,
        mib(seen),
        milliseconds(percentile(&seen.waits, 50)),
        milliseconds(percentile(&seen.waits, 99)),
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

fn mib(seen: &Seen) -> f64 {
    seen.peak_kib as f64 / 1_024.0
}

fn wait(seen: &Seen, percent: usize) -> f64 {
    percentile(&seen.waits, percent).as_secs_f64()
}

/// All figures.
pub fn figures(rounds: &[Round], load: String) -> Vec<Figure> {
    let mut figures = vec![Figure::told("rounds", rounds.len().to_string())];
    let programs = rounds.iter().take(1).flat_map(|round| round.keys());
    figures.extend(programs.flat_map(|program| of_program(rounds, *program)));
    let ratio = |of: fn(&Seen) -> f64| {
        median(rounds.iter().map(|round| of(&round[&Program::Worker]) / of(&round[&SAME])).collect())
    };
    let (rate, processor, p50, p99) = (
        ratio(|seen| seen.rate),
        ratio(|seen| seen.processor.program),
        ratio(|seen| wait(seen, 50)),
        ratio(|seen| wait(seen, 99)),
    );
    figures.extend([
        Figure::bound(
            "jobs a second, worker : floor (c)",
            format!("{rate:.2}"),
            format!(">= {LEAST_RATE}"),
            rate >= LEAST_RATE,
        ),
        Figure::bound(
            "processor time, worker : floor (c)",
            format!("{processor:.2}"),
            format!("<= {MOST_PROCESSOR}"),
            processor <= MOST_PROCESSOR,
        ),
        Figure::told(
            "processor time of the broker, worker : floor (c)",
            format!("{:.2}", ratio(|seen| seen.processor.broker)),
        ),
        Figure::told(
            "processor time of the store, worker : floor (c)",
            format!("{:.2}", ratio(|seen| seen.processor.store)),
        ),
        Figure::bound(
            "wait from publishing to arrival, p50, worker : floor (c)",
            format!("{p50:.2}"),
            format!("<= {MOST_WAIT}"),
            p50 <= MOST_WAIT,
        ),
        Figure::told("wait from publishing to arrival, p99, worker : floor (c)", format!("{p99:.2}")),
        Figure::told("processes that wanted to run (1 min mean) on how many processors", load),
    ]);
    figures
}

fn of_program(rounds: &[Round], program: Program) -> Vec<Figure> {
    let of = |value: fn(&Seen) -> f64| median(rounds.iter().map(|round| value(&round[&program])).collect());
    let name = program.name();
    let told = |what: &str, text: String| Figure::told(format!("{name}: {what}"), text);
    vec![
        told("jobs a second", format!("{:.0}", of(|seen| seen.rate))),
        told("processor time for 1,000 jobs", format!("{:.3} s", of(|seen| seen.processor.program))),
        told("  of the broker", format!("{:.3} s", of(|seen| seen.processor.broker))),
        told("  of the store", format!("{:.3} s", of(|seen| seen.processor.store))),
        told("most memory", format!("{:.1} MiB", of(mib))),
        told("wait at 200 jobs a second, p50", format!("{:.2} ms", of(|seen| wait(seen, 50)) * 1_000.0)),
        told("wait at 200 jobs a second, p99", format!("{:.2} ms", of(|seen| wait(seen, 99)) * 1_000.0)),
    ]
}

/// The middle one; of an even number the lower of the two. Not of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}
