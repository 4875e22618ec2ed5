//! Whole runs of several workers, the queue, the store and both providers in one process, in a time
//! of their own, each driven by a seed: `cargo test --test simulation`.
//!
//! # Faults
//!
//! - A worker's process dies before or after any effect: a message published, acked or put back, a
//!   trip to the store, a request to a provider; what it held goes back to its queues later. It is
//!   also told to drain, at any time.
//! - A published message is lost; its confirm is lost; a message comes out of a delay queue twice; an
//!   ack is lost with its connection; a connection ends; the broker is away.
//! - A producer publishes a message twice under one name, or a job twice under two.
//! - A trip to the store is lost on the way there or back, or takes seconds; the store is away; in a
//!   fifth of the runs its data is lost, or an older state comes back.
//! - A provider can't be connected to; a request or its answer is lost, late, cut or garbled; the
//!   provider answers 401, 429, 500, 502, 503, hangs or resets, before or after it took the request.
//! - A process stands still between its permit and its request. The hosts' clocks step by seconds.
//!
//! # Not among the faults
//!
//! The broker loses nothing that it confirmed. A request, once written, reaches the provider within
//! the limiter's jitter or never. The store's clock does not step (the permits' own model does that).
//! Nobody alters a message.
//!
//! # What is judged less strictly
//!
//! A delivery whose message was ended unread, because workers died again and again with nothing else
//! in hand, must have an end and be taken once at most; copies of its message may end for themselves.
//!
//! # What is not deterministic
//!
//! The order in which tasks are woken that wait for one `tokio::sync::watch` (a server that is back, a
//! worker told to drain): tokio draws it, and can't be given a seed in a stable build. All else
//! repeats itself: one thread, a paused clock, every draw from the seed, and in the worker no choice
//! between two ready branches that is left to chance. So a failing seed is run many times over.
//!
//! `PACELINE_SIMULATION_SEEDS=N` runs the first N seeds (1,000 by default), `PACELINE_SIMULATION_SEED=S`
//! only the one, fifty times, as a failing run says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "simulation/broker.rs"]
mod broker;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/jobs.rs"]
mod kinds;
#[path = "simulation/life.rs"]
mod life;
#[path = "simulation/provider.rs"]
mod provider;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/store.rs"]
mod store;

#[path = "support/jobs.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod jobs;

use run::Tally;

/// How often a single seed is run: see what is not deterministic.
const AGAIN: usize = 50;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn one(seed: u64) -> Tally {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(run::run(seed))
}

#[test]
fn every_delivery_ends_once_whatever_goes_wrong() {
    if let Some(seed) = number("PACELINE_SIMULATION_SEED") {
        tell(&(0..AGAIN).map(|_| one(seed)).collect::<Vec<_>>());
        return;
    }
    let seeds = number("PACELINE_SIMULATION_SEEDS").unwrap_or(1_000);
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
                    match std::panic::catch_unwind(|| one(seed)) {
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
    let unread: usize = tallies.iter().map(|tally| tally.unread).sum();
    eprintln!(
        "{} runs, {lossy} of them with a store that lost data: {deliveries} deliveries, {crashes} crashes, \
         {twice} taken twice where that is allowed, {unread} ended unread after many crashes",
        tallies.len()
    );
}
