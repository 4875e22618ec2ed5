//! How many notifications a limit of requests carries when each may carry twenty.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use paceline::simulator::DeliveryOutcome;

use crate::figures::{Figure, count_between, most_within};
use crate::load::machine_load;
use crate::support::jobs::counted_job;
use crate::support::world::{Options, World, eventually};

const WINDOW: Duration = Duration::from_secs(60);
const LIMIT: usize = 600;
const PER_REQUEST: usize = 20;
/// Notifications in a minute.
const LEAST: usize = 11_500;
const SHOP: &str = "requests_per_minute = 600\nnotifications_per_request = 20";
/// The backlog outlasts the watched time by this and by the time in which it gets into the lanes.
const BEYOND: Duration = Duration::from_secs(35);

/// Two workers with a backlog for one application.
pub async fn measure(watched: Duration) -> Vec<Figure> {
    let options = Options { own_broker: true, shop: SHOP, short_times: false, ..Options::default() };
    let mut world = World::with(options).await;
    let jobs = LIMIT * PER_REQUEST * (watched + BEYOND).as_secs() as usize / WINDOW.as_secs() as usize;
    let ids: Vec<usize> = (0..jobs).collect();
    for chunk in ids.chunks(500) {
        let jobs: Vec<Value> = chunk.iter().map(|n| counted_job(&format!("shared-{n}"), "normal")).collect();
        world.publish(&jobs).await;
    }
    eprintln!("{jobs} jobs published; starting two workers that share requests");
    world.launch_worker().await;
    world.launch_worker().await;
    eventually("the job queue is empty", || async {
        let depths = world.depths().await;
        depths.iter().filter(|(name, _)| name.starts_with("Jobs(")).all(|(_, depth)| *depth == 0)
    })
    .await;
    let from = world.provider.now();
    sleep(watched).await;
    let load = machine_load();
    world.wait_for_ends_within(jobs, Duration::from_secs(200)).await;
    let figures = figures(&world, from, watched, load);
    world.finish().await;
    figures
}

fn figures(world: &World, from: Duration, watched: Duration, load: String) -> Vec<Figure> {
    let entries = world.provider.ledger();
    let counted = || entries.iter().filter(|entry| entry.counted);
    let requests: Vec<Duration> = counted().map(|entry| Duration::from_micros(entry.at_us)).collect();
    let accepted: Vec<Duration> = counted()
        .flat_map(|entry| {
            let taken = entry.deliveries.iter().filter(|d| d.outcome == DeliveryOutcome::Accepted);
            taken.map(|_| Duration::from_micros(entry.at_us))
        })
        .collect();
    let most = most_within(&requests, WINDOW);
    let fullest = most_within(&accepted, WINDOW);
    let mean = count_between(&accepted, from, from + watched) as f64 * 60.0 / watched.as_secs_f64();
    let at_least = format!(">= {LEAST}");
    vec![
        Figure::bound("most requests in any 60 s", most.to_string(), format!("<= {LIMIT}"), most <= LIMIT),
        Figure::bound(
            "notifications in the fullest minute",
            fullest.to_string(),
            at_least.clone(),
            fullest >= LEAST,
        ),
        Figure::bound(
            "notifications in the mean minute",
            format!("{mean:.0}"),
            at_least,
            mean >= LEAST as f64,
        ),
        Figure::told("processes that wanted to run (1 min mean) on how many processors", load),
    ]
}
