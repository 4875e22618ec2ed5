//! The tests that need neither several workers nor a broker's own client, once more on a file in the
//! place of the servers, and what only a file does.

use std::process::Stdio;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::embedded::on_a_file;
use crate::support::world::{Options, World};

on_a_file![
    batches::a_faulty_notification_at_each_position_harms_no_other,
    batches::waiting_notifications_share_requests,
    commands::publish_names_bad_lines_and_sends_the_others,
    commands::the_sample_jobs_end_as_they_should,
    dead::letters_are_listed_by_page_shown_masked_and_dropped_into_a_file,
    dead::a_refused_delivery_is_mended_replayed_and_delivered,
    dead::what_would_end_at_once_again_stays,
    dead::a_replay_that_comes_twice_is_sent_once_and_told_alike,
    dead::a_replay_that_is_killed_twice_loses_and_doubles_nothing,
    dead::two_replays_at_once_lose_and_double_nothing,
    delivery::jobs_of_both_providers_are_delivered_and_told,
    delivery::metrics_and_health_tell_what_happened,
    delivery::a_ceiling_spreads_exempt_requests_over_time,
    duplicates::an_id_may_be_sent_again_after_an_end_that_was_no_push,
    duplicates::a_message_that_comes_twice_is_one_end,
    duplicates::a_dead_letter_published_again_as_it_is_is_sent,
    hostile::what_is_no_job_is_kept_byte_for_byte_and_nothing_is_sent,
    hostile::a_credential_in_a_payload_makes_it_invalid_and_is_kept_nowhere,
    hostile::headers_of_nonsense_harm_nobody,
    operations::create_message_tells_unknown_devices_and_that_there_is_no_code,
    operations::create_targeted_message_shares_the_limit_and_is_sent_once,
    operations::delete_message_takes_away_what_is_scheduled_and_nothing_else,
    operations::cancel_message_stops_what_is_not_finished,
    operations::get_push_history_is_read_page_by_page,
    operations::campaigns_are_made_updated_and_found,
    operations::a_backlog_of_campaign_calls_holds_up_no_push,
    operations::a_refused_campaign_key_pauses_campaign_calls_and_no_push,
    operations::a_look_up_that_the_provider_refuses_or_throttles_holds_up_no_push,
    operations::what_was_read_is_told_once_with_its_answer_although_its_message_comes_twice,
    outcomes::what_was_not_processed_is_tried_again,
    outcomes::throttling_uses_up_no_retry_and_is_waited_for_to_the_second,
    outcomes::retry_after_is_honoured_to_the_second,
    outcomes::retries_run_out,
    outcomes::an_unknown_outcome_is_sent_again_only_where_the_provider_recognises_it,
    outcomes::a_duplicate_campaign_name_after_an_unknown_attempt_is_a_delivery,
    outcomes::a_refused_credential_pauses_the_account_and_buries_nothing,
    pausing::a_person_stops_an_account_for_all_workers_and_lets_it_go_on,
    reloading::a_new_configuration_is_in_force_without_a_restart_and_nothing_is_dropped,
    status::what_waits_is_shown_with_its_age_its_limit_and_its_pause,
    times::nothing_is_sent_before_its_time_or_after_it,
];

/// A world without servers.
async fn world() -> World {
    World::with(Options { embedded: true, ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_on_the_file_is_refused_and_harms_nobody() {
    let mut world = world().await;
    world.start_worker().await;
    let second = world.command(&["worker"]).env("PACELINE__ADMIN__LISTEN", "off").output().await.unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another worker runs on") && said.contains("jobs.db"), "{said}");
    world.publish(&[exempt_job("e"), counted_job("c", "high")]).await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_published_before_a_worker_runs_and_by_another_process_while_it_runs_are_sent() {
    let mut world = world().await;
    let folder = tempfile::tempdir().unwrap();
    for round in ["before", "while"] {
        let file = folder.path().join(round);
        let jobs: Vec<String> = (0..20).map(|n| exempt_job(&format!("{round}-{n}")).to_string()).collect();
        std::fs::write(&file, jobs.join("\n")).unwrap();
        let mut publish = world.command(&["publish", file.to_str().unwrap()]);
        let published = publish.stdout(Stdio::null()).status().await.unwrap();
        assert!(published.success(), "{round}");
        world.expect_more(20);
        if round == "before" {
            world.start_worker().await;
        }
        world.settle().await;
    }
    assert_eq!(world.count("delivered"), 40);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_of_a_file_that_is_not_there_says_so_and_makes_none() {
    let world = world().await;
    let missing = "embedded:nowhere.db";
    let mut status = world.command(&["status"]);
    let status = status.env("PACELINE__QUEUE__URL", missing).env("PACELINE__STORE__URL", missing);
    let output = status.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no file") && said.contains("nowhere.db"), "{said}");
    assert!(!world.config_file().with_file_name("nowhere.db").exists());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_of_a_file_names_its_queues() {
    let world = world().await;
    let output = world.command(&["topology"]).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for name in ["jobs.shop", "high.news", "dead", "due"] {
        assert!(said.contains(name) && said.contains("jobs.db"), "no {name} in {said}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_worker_waits_before_its_first_permit() {
    // Slots are 1.02 s apart, and the first one comes 0.3 s later than that.
    let shop = "requests_per_minute = 60";
    let mut world = World::with(Options { embedded: true, shop, ..Options::default() }).await;
    for round in 1..=2 {
        world.publish(&[counted_job(&format!("round-{round}"), "high")]).await;
        let before = Instant::now();
        world.launch_worker().await;
        world.settle().await;
        let waited = before.elapsed();
        assert!(waited >= Duration::from_millis(1_320), "round {round} waited {waited:?} only");
        world.kill_worker(0).await;
    }
    world.finish().await;
}
