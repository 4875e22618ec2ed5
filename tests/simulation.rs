//! Whole runs of several workers, the queue, the store and both providers in one process, in a time
//! of their own, each driven by a seed: `cargo test --test simulation`.
//!
//! Producers publish jobs of all nine operations: exempt and counted, of one notification and of several
//! of which one may be faulty, campaigns of both kinds, scheduled and expiring ones, invalid ones, with
//! reply queues that work, are gone, or are paceline's own. A person pauses and resumes accounts and
//! publishes dead letters again.
//!
//! # Faults
//!
//! - A worker's process dies before or after any effect: a message published, acked or put back, a
//!   trip to the store, a request to a provider; what it held goes back to its queues later. It is
//!   also told to drain, at any time.
//! - A request stands still for up to a minute, longer than its lease: between its claim or its permit
//!   and the way out, or between the answer and what follows from it. A whole process stands still for
//!   up to a minute and a half, loses its connection to the broker meanwhile, and then goes on.
//! - A published message is lost; its confirm is lost; a message comes out of a delay queue twice; an
//!   ack is lost with its connection; a connection ends while its messages are being sent; the broker
//!   is away.
//! - A producer publishes a message twice under one name, or a job twice under two; a dead letter is
//!   published again twice.
//! - A trip to the store is lost on the way there or back, or takes seconds; the store is away; in a
//!   fifth of the runs its data is lost, or an older state comes back.
//! - All hosts of workers are off for minutes or for a day; a person pauses all accounts for minutes.
//! - A provider can't be connected to; a request or its answer is lost, late, cut short, or replaced by
//!   something else; the provider answers 401, 429, 500, 502, 503, hangs or resets, before or after it
//!   took the request.
//! - The hosts' clocks step by seconds, and by up to twenty minutes; the clock by which the store judges
//!   leases, pauses and duplicate windows is anywhere within 5 s of true time.
//!
//! # Moods
//!
//! Some faults do harm only together: an answer lost *and* nothing going on for longer than the provider
//! recognises a second request; a claim taken over *and* its holder going on; a limiter that forgets
//! *while* more waits than the limit allows. By chance alone these meet in one run of a thousand, so each
//! seed also draws a mood ([`mood`]), which sets limits, loads, odds and lengths:
//!
//! | mood | of 100 runs | what it is about |
//! | --- | --- | --- |
//! | usual | 51 | a bit of everything |
//! | saturated | 20 | more waits than the limit allows, and the limiter's state is lost again and again |
//! | standing still | 16 | holders of claims stand still, others take over, the holders go on |
//! | minutes long | 10 | answers are lost, then nothing goes on for up to 12 minutes |
//! | a day long | 3 | the same for a day, of what is recognised for a day |
//!
//! The judge was tried on deliberate mistakes, each by itself, for a hundred seeds: a worker that goes on
//! after its claim was fenced, a store that fences nobody, a duplicate window that nobody looks at, a
//! limiter that begins at once after a loss, deliveries of one job that share a name, a dead end without
//! its letter. It found each of them.
//!
//! # Not among the faults
//!
//! The broker loses nothing that it confirmed. A request, once written, reaches the provider once, within
//! the limiter's jitter, or never; an answer belongs to its request (HTTP sees to both). The store's
//! clock is never so far off that the 15 s kept free of a duplicate window don't cover it, and does not
//! step for permits (their own model in `tests/contract` does that). Nobody alters a message.
//!
//! # What is judged less strictly
//!
//! - A producer's message during whose reading alone workers died four times ends unread, by no claim;
//!   it must have that end, and what it holds is taken once at most, but a copy of the message may end
//!   for itself as well. Bodies that really kill who reads them have no such copies.
//! - A delivery that only reads is told before its end is kept, since the answer is kept nowhere else:
//!   where another publishing of it took over in between, it may be told both as delivered and as the
//!   other one's duplicate.
//! - Where the store lost data, what it forgot may be done and told again. The window bound, and that
//!   nothing is lost or invented, holds all the same.
//!
//! # What is not deterministic
//!
//! The order in which tasks are woken that wait for one `tokio::sync::watch` (a server that is back, a
//! worker told to drain): tokio draws it, and can't be given a seed in a stable build. All else
//! repeats itself: one thread, a paused clock, every draw from the seed, and in the worker no choice
//! between two ready branches that is left to chance. So a failing seed is run many times over.
//!
//! # One file
//!
//! The same jobs, faults of providers and of processes, and the same judge once more with one worker on
//! one file: the adapter itself, in the place of the models of broker and store. It loses nothing.
//!
//! `PACELINE_SIMULATION_SEEDS=N` runs the first N seeds (1,000 by default, 200 on a file),
//! `PACELINE_SIMULATION_SEED=S` only the one, fifty times, as a failing run says.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "simulation/broker.rs"]
mod broker;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/file.rs"]
mod file;
#[path = "simulation/ground.rs"]
mod ground;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/jobs.rs"]
mod kinds;
#[path = "simulation/life.rs"]
mod life;
#[path = "simulation/mood.rs"]
mod mood;
#[path = "simulation/provider.rs"]
mod provider;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/store.rs"]
mod store;

#[path = "support/jobs.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod jobs;

use ground::Kind;
use run::Tally;

/// How often a single seed is run: see what is not deterministic.
const AGAIN: usize = 50;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn one(seed: u64, kind: Kind) -> Tally {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(run::run(seed, kind))
}

#[test]
fn every_delivery_ends_once_whatever_goes_wrong() {
    run_all(Kind::Servers, 1_000);
}

/// The adapter of one file itself, in the place of the models of broker and store.
#[test]
fn every_delivery_ends_once_on_a_file_whatever_goes_wrong() {
    run_all(Kind::File, 200);
}

fn run_all(kind: Kind, usual: u64) {
    if let Some(seed) = number("PACELINE_SIMULATION_SEED") {
        tell(&(0..AGAIN).map(|_| one(seed, kind)).collect::<Vec<_>>());
        return;
    }
    let seeds = number("PACELINE_SIMULATION_SEEDS").unwrap_or(usual);
    let next = AtomicU64::new(0);
    let tallies = Mutex::new(Vec::new());
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    // The panic itself says what does not hold; the other seeds go on.
                    match std::panic::catch_unwind(|| one(seed, kind)) {
                        Ok(tally) => tallies.lock().expect("nobody panics with it").push(tally),
                        Err(_) => failed.lock().expect("nobody panics with it").push(seed),
                    }
                }
            });
        }
    });
    tell(&tallies.into_inner().expect("all threads ended"));
    let failed = failed.into_inner().expect("all threads ended");
    assert!(
        failed.is_empty(),
        "failing seeds: {failed:?}; PACELINE_SIMULATION_SEED=S runs one of them alone"
    );
}

fn tell(tallies: &[Tally]) {
    let deliveries: usize = tallies.iter().map(|tally| tally.deliveries).sum();
    let crashes: u64 = tallies.iter().map(|tally| tally.crashes).sum();
    let lossy = tallies.iter().filter(|tally| tally.lossy).count();
    let twice: usize = tallies.iter().map(|tally| tally.accepted_twice).sum();
    let replayed: usize = tallies.iter().map(|tally| tally.replayed).sum();
    let unread: usize = tallies.iter().map(|tally| tally.unread).sum();
    let mut moods: BTreeMap<&str, usize> = BTreeMap::new();
    for tally in tallies {
        *moods.entry(tally.mood).or_default() += 1;
    }
    eprintln!(
        "{} runs {moods:?}, {lossy} of them with a store that lost data: {deliveries} deliveries, {crashes} crashes, \
         {replayed} letters published again, {twice} deliveries taken twice where that is allowed, {unread} \
         messages ended unread",
        tallies.len()
    );
}
