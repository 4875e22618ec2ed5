//! The workers' reports, on every store.

use jiff::Timestamp;
use paceline::job::{Line, Pool, Priority};
use paceline::ports::{Held, Load, Place, PoolKey, Sighting, Sightings};

use super::stores::{Bench, on_every_store, started};
use crate::support::jobs::account;
use crate::support::redis::{RedisServer, connect, settings};

fn sighting(waiting: u64) -> Sighting {
    let oldest = Timestamp::from_millisecond(1_763_758_326_123).unwrap();
    let held = |place| Held { place, waiting, oldest };
    let campaigns = Pool::beside("campaigns").line();
    Sighting {
        held: vec![
            held(Place::Jobs(account("shop"))),
            held(Place::Retry(account("news"), campaigns)),
            held(Place::Lane(account("shop"), Line::MAIN, Priority::Low)),
        ],
        loads: vec![Load { pool: PoolKey("x".into()), deliveries_per_request: 2.5 }],
    }
}

on_every_store! {
    a_report_replaces_the_one_before_and_an_empty_one_takes_it_back,
}

async fn a_report_replaces_the_one_before_and_an_empty_one_takes_it_back<B: Bench>() {
    let (bench, one) = started::<B>(|_| ()).await;
    let two = bench.connect().await;
    assert_eq!(one.sightings().await.unwrap(), []);
    one.report("one", &sighting(1)).await.unwrap();
    one.report("one", &sighting(2)).await.unwrap();
    two.report("two", &sighting(3)).await.unwrap();
    let mut found: Vec<_> = one.sightings().await.unwrap().into_iter().map(|one| one.sighting).collect();
    found.sort_by_key(|sighting| sighting.held[0].waiting);
    assert_eq!(found, [sighting(2), sighting(3)]);
    one.report("one", &Sighting::default()).await.unwrap();
    let left = two.sightings().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].sighting, sighting(3));
    assert!(left[0].age.as_secs() < 20, "{:?}", left[0].age);
}

#[tokio::test]
async fn what_is_old_or_unreadable_is_passed_over_and_thrown_away_by_the_next_report() {
    let server = RedisServer::start().await;
    let store = connect(settings(&server.url()), Vec::new()).await;
    let mut connection = server.connection().await;
    for (field, value) in [("dead", "1763758326123 {}"), ("strange", "what?"), ("newer", "9999999999999 {}")]
    {
        redis::cmd("HSET")
            .arg("{test:sightings}")
            .arg(field)
            .arg(value)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
    assert_eq!(store.sightings().await.unwrap(), []);
    store.report("w", &sighting(1)).await.unwrap();
    let mut fields: Vec<String> =
        redis::cmd("HKEYS").arg("{test:sightings}").query_async(&mut connection).await.unwrap();
    fields.sort();
    assert_eq!(fields, ["newer", "w"]);
    let rest: i64 = redis::cmd("PTTL").arg("{test:sightings}").query_async(&mut connection).await.unwrap();
    assert!((1_100_000..=1_200_000).contains(&rest), "{rest}");
}
