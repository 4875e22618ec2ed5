//! What a run came to, judged.

use std::time::Duration;

use crate::figures::{
    Figure, ceiling, count_between, metric, most_within, percentile, seconds, spread_of, utilisation,
};
use crate::run::{ACCOUNTS, Measured, Outcome, Plan, Seen};

const WINDOW: Duration = Duration::from_secs(60);
/// The limiter's defaults: the width of a slot with the jitter, and the burst.
const SPREAD: Duration = Duration::from_millis(300);
const BURST: u32 = 3;
/// What an urgent job may wait beside its slots.
const ON_THE_WAY: Duration = Duration::from_millis(100);
/// Shares of workers may differ by this part of their mean.
const UNFAIR: f64 = 0.2;

/// The head of the summary.
pub const HEADING: &str = "\
| workers | faults | limit | most in any 60 s | share used | trips for each permit | urgent p50 / p99 / most |
| --- | --- | --- | --- | --- | --- | --- |
";

/// What is measured.
pub fn title(plan: Plan) -> String {
    let faults =
        if plan.faults { "a worker killed every 20 s, the store emptied half-way" } else { "no faults" };
    format!("{} workers, {faults}, watched for {} s", plan.workers, plan.watched.as_secs())
}

/// The lines of a run in the summary, one for each account.
pub fn rows(outcome: &Outcome) -> String {
    let row = |(of, seen): (&Measured, &Seen)| {
        let Plan { workers, faults, .. } = outcome.plan;
        format!(
            "| {workers} | {} | {} | {} | {:.2} % | {:.2} | {} / {} / {} |\n",
            if faults { "yes" } else { "no" },
            of.limit,
            most_within(&seen.counted, WINDOW),
            100.0 * used(outcome, of, seen),
            trips(outcome, of),
            seconds(percentile(&seen.urgent, 50)),
            seconds(percentile(&seen.urgent, 99)),
            seconds(percentile(&seen.urgent, 100)),
        )
    };
    ACCOUNTS.iter().zip(&outcome.seen).map(row).collect()
}

/// All figures of a run.
pub fn figures(outcome: &Outcome) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (of, seen) in ACCOUNTS.iter().zip(&outcome.seen) {
        figures.extend(limit_figures(outcome, of, seen));
        figures.push(trips_figure(outcome, of));
        figures.extend(urgent_figures(outcome, of, seen));
        figures.extend(fairness_figure(outcome, of));
    }
    let refused = outcome.throttled;
    figures.push(Figure::bound(
        "requests refused for a limit",
        refused.to_string(),
        "0".into(),
        refused == 0,
    ));
    figures.push(Figure::told("accepted twice by the provider", outcome.accepted_twice.to_string()));
    figures.push(Figure::told("workers killed", outcome.killed.to_string()));
    figures.push(Figure::told("deliveries that ended, each exactly once", outcome.ends.to_string()));
    figures.push(Figure::told(
        "processes that wanted to run (1 min mean) on how many processors",
        outcome.load.clone(),
    ));
    figures
}

/// The share of the limit that was used, from the first request under watch on.
fn used(outcome: &Outcome, of: &Measured, seen: &Seen) -> f64 {
    let watched = outcome.plan.watched;
    let first = seen.counted.iter().find(|at| **at >= outcome.from).copied().unwrap_or(outcome.from);
    // The first one itself belongs to it.
    let count = 1 + count_between(&seen.counted, first, first + watched);
    utilisation(count, of.limit, WINDOW, watched)
}

fn limit_figures(outcome: &Outcome, of: &Measured, seen: &Seen) -> [Figure; 3] {
    let most = most_within(&seen.counted, WINDOW);
    let share = used(outcome, of, seen);
    let what = format!("{}/min: share used", of.limit);
    let measured = format!("{:.2} %", share * 100.0);
    let best = ceiling(of.limit, BURST, WINDOW, SPREAD);
    [
        Figure::bound(
            format!("{}/min: most in any 60 s, of {} in all", of.limit, seen.counted.len()),
            most.to_string(),
            format!("<= {}", of.limit),
            most <= of.limit as usize,
        ),
        match least(outcome.plan, of) {
            Some(least) => {
                Figure::bound(what, measured, format!(">= {:.1} %", least * 100.0), share >= least)
            }
            None => Figure::told(what, measured),
        },
        Figure::told("  the most that the formula allows", format!("{:.2} %", best * 100.0)),
    ]
}

/// The least share of a limit to be used; a single worker that is killed has nobody beside it.
fn least(plan: Plan, of: &Measured) -> Option<f64> {
    match (plan.faults, plan.workers) {
        (true, 1) => None,
        (true, _) => Some(0.95),
        (false, _) => Some(if of.limit > 600 { 0.98 } else { 0.985 }),
    }
}

/// What all workers together counted under watch.
fn counted(outcome: &Outcome, name: &str, labels: &[(&str, &str)]) -> f64 {
    outcome.told.iter().map(|(first, last)| metric(last, name, labels) - metric(first, name, labels)).sum()
}

fn trips(outcome: &Outcome, of: &Measured) -> f64 {
    let labels = [("account", of.account)];
    let asked = counted(outcome, "paceline_permit_requests_total", &labels);
    asked / counted(outcome, "paceline_permits_granted_total", &labels).max(1.0)
}

fn trips_figure(outcome: &Outcome, of: &Measured) -> Figure {
    let most = if of.limit > 600 { 0.5 } else { 1.2 };
    let trips = trips(outcome, of);
    let what = format!("{}/min: trips to the store for each permit", of.limit);
    if outcome.plan.faults {
        return Figure::told(what, format!("{trips:.2}"));
    }
    Figure::bound(what, format!("{trips:.2}"), format!("<= {most}"), trips <= most)
}

fn urgent_figures(outcome: &Outcome, of: &Measured, seen: &Seen) -> [Figure; 4] {
    let workers = u32::try_from(outcome.plan.workers).expect("few");
    let bound = WINDOW / of.limit * workers * 2 + ON_THE_WAY;
    let p99 = percentile(&seen.urgent, 99);
    let what = format!("{}/min: {} urgent jobs, publishing to arrival, p99", of.limit, seen.urgent.len());
    let labels = [("account", of.account)];
    let mean = counted(outcome, "paceline_permit_wait_seconds_sum", &labels)
        / counted(outcome, "paceline_permit_wait_seconds_count", &labels).max(1.0);
    [
        if outcome.plan.faults {
            Figure::told(what, seconds(p99))
        } else {
            Figure::bound(what, seconds(p99), format!("<= {}", seconds(bound)), p99 <= bound)
        },
        Figure::told("  median", seconds(percentile(&seen.urgent, 50))),
        Figure::told("  longest", seconds(percentile(&seen.urgent, 100))),
        Figure::told(
            "  mean wait for a permit of all deliveries, told by the workers",
            format!("{mean:.3} s"),
        ),
    ]
}

/// How far apart the workers' shares are; where some were killed there is nothing to compare.
fn fairness_figure(outcome: &Outcome, of: &Measured) -> Option<Figure> {
    if outcome.plan.faults || outcome.plan.workers == 1 {
        return None;
    }
    let labels = [("account", of.account), ("class", "counted")];
    let name = "paceline_provider_requests_total";
    let share = |(first, last): &(String, String)| metric(last, name, &labels) - metric(first, name, &labels);
    let shares: Vec<f64> = outcome.told.iter().map(share).collect();
    let spread = spread_of(&shares);
    let what = format!("{}/min: workers' requests differ by", of.limit);
    let measured = format!("{:.1} %", spread * 100.0);
    Some(if outcome.plan.workers == 4 {
        Figure::bound(what, measured, format!("< {:.0} %", UNFAIR * 100.0), spread < UNFAIR)
    } else {
        Figure::told(what, measured)
    })
}
