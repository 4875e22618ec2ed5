use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::ports::{Pause, PauseCause, Usage};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lane(label: &str, waiting: Option<u64>, age: Option<u64>) -> Lane {
    Lane { label: label.to_owned(), waiting, age: age.map(seconds) }
}

fn limit(
    name: Option<&str>,
    windows: &[(u32, u64)],
    used: u32,
    lanes: [(u64, Option<u64>); 4],
) -> LimitPicture {
    let labels = ["retry", "high", "normal", "low"];
    let suffix = name.map(|name| format!(".{name}")).unwrap_or_default();
    LimitPicture {
        name: name.map(str::to_owned),
        windows: windows
            .iter()
            .map(|(requests, length)| Window { requests: *requests, length: seconds(*length) })
            .collect(),
        usage: Some(Usage { last_minute: used, next_slot: Duration::from_millis(130), ..Usage::default() }),
        lanes: labels
            .into_iter()
            .zip(lanes)
            .map(|(label, (waiting, age))| lane(&format!("{label}{suffix}"), Some(waiting), age))
            .collect(),
        pause: None,
        drain: Drain::Empty,
    }
}

const QUIET: [(u64, Option<u64>); 4] = [(0, None); 4];

fn picture() -> Picture {
    let shop = LimitPicture {
        drain: Drain::In(seconds(571)),
        ..limit(None, &[(600, 60)], 594, [(0, None), (2, Some(1)), (5_711, Some(552)), (20, None)])
    };
    let news = LimitPicture {
        pause: Some(Pause { wait: seconds(42), cause: PauseCause::Throttled }),
        drain: Drain::In(seconds(61)),
        ..limit(None, &[(10_000, 60)], 812, [(12, Some(30)), (0, None), (0, None), (0, None)])
    };
    let campaigns = limit(Some("campaigns"), &[(10, 1), (100, 60), (6_000, 3_600)], 3, QUIET);
    Picture {
        at: Timestamp::from_second(1_795_530_602).unwrap(),
        broker: true,
        store: true,
        dead: Some(1_203),
        delayed: Some(12),
        accounts: vec![
            AccountPicture {
                name: "news".to_owned(),
                provider: "moengage",
                jobs: lane("jobs", Some(0), None),
                limits: vec![news, campaigns],
            },
            AccountPicture {
                name: "shop".to_owned(),
                provider: "pushwoosh",
                jobs: lane("jobs", Some(7), Some(3)),
                limits: vec![shop, limit(Some("calls"), &[], 0, QUIET)],
            },
        ],
        problems: vec![],
    }
}

#[test]
fn a_person_sees_it_on_one_screen() {
    let text = text(&picture());
    let expected = "\
2026-11-24 14:30:02Z   broker up   store up   dead letters 1,203   delayed 12

ACCOUNT  LIMIT                         USED 60s   NEXT  JOBS  RETRY   HIGH    NORMAL       LOW   DRAINED IN
news     10000/min                     812 (8%)   0.1s  -     12 30s  -       -            -     1m1s
         campaigns 10/s 100/min 6000/h  3 (3%)     0.1s        -       -       -            -     -
shop     600/min                       594 (99%)  0.1s  7 3s  -       2 1s  5,711 9m12s  20 ?  9m31s
! news is paused (throttled) for 42s more: the provider asked for it. Does somebody else use this credential, or is the limit set too high?
! 1,203 dead letters wait for a person: paceline dead list tells whose and why
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&text), squeezed(expected), "\n{text}");
    let table: Vec<&str> =
        text.lines().filter(|line| line.contains("/min") || line.starts_with("ACCOUNT")).collect();
    let column = |line: &str, heading: &str| {
        let at = table[0].find(heading).unwrap();
        line[at..].split("  ").next().unwrap().trim().to_owned()
    };
    assert_eq!(column(table[3], "NORMAL"), "5,711 9m12s", "columns are aligned\n{text}");
    assert!(text.lines().all(|line| !line.ends_with(' ')));
}

#[test]
fn what_can_not_be_asked_is_said_and_the_rest_shown() {
    let mut broken = picture();
    (broken.store, broken.dead) = (false, None);
    broken.accounts[1].limits[0].usage = None;
    broken.accounts[1].limits[0].drain = Drain::Unknown;
    broken.accounts[1].jobs.waiting = None;
    broken.problems = vec!["the store can't be asked".to_owned()];
    let text = text(&broken);
    assert!(text.contains("store DOWN   dead letters ?"), "{text}");
    assert!(text.contains("! the store can't be asked"), "{text}");
    let shop = text.lines().find(|line| line.starts_with("shop")).unwrap();
    assert_eq!(shop.split_whitespace().collect::<Vec<_>>()[1..5], ["600/min", "?", "?", "?"], "{text}");
    assert!(!text.contains("are workers running"), "{text}");
}

#[test]
fn work_that_no_worker_tells_of_raises_the_question() {
    let mut silent = picture();
    let question = "? no worker told of what waits there: are workers running?";
    assert!(!text(&silent).contains(question), "one lane of many was only not told of yet");
    let shop = &mut silent.accounts[1];
    shop.jobs.age = None;
    shop.limits.iter_mut().flat_map(|limit| &mut limit.lanes).for_each(|lane| lane.age = None);
    assert!(text(&silent).contains(question));
    silent.store = false;
    assert!(!text(&silent).contains(question), "it is known why");
}

#[test]
fn every_pause_says_what_to_do() {
    for (cause, wait, expected) in [
        (PauseCause::Operator, 10, "! shop calls is paused (operator) until a person resumes it"),
        (PauseCause::Credentials, 30, "(credentials) for 30s, then tried again: the provider refuses"),
        (PauseCause::Circuit, 0, "(circuit) and one request at a time tries"),
        (PauseCause::Throttled, 90, "(throttled) for 1m30s more: the provider asked"),
    ] {
        let picture = picture();
        let note = pause_note(
            &picture.accounts[1].name,
            picture.accounts[1].limits[1].name.as_deref(),
            Pause { wait: seconds(wait), cause },
        );
        assert!(note.contains(expected), "{note}");
    }
}

#[test]
fn a_program_gets_numbers() {
    let line = json(&picture());
    assert_eq!(line.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&line).unwrap();
    let shop = &value["accounts"][1];
    assert_eq!(shop["jobs"], json!({"waiting": 7, "oldestAgeSeconds": 3.0}));
    let main = &shop["limits"][0];
    assert_eq!(main["limit"], "main");
    assert_eq!(main["windows"], json!([{"requests": 600, "seconds": 60.0}]));
    assert_eq!((&main["usedLast60s"], &main["nextSlotSeconds"]), (&json!(594), &json!(0.13)));
    assert_eq!(main["lanes"]["normal"], json!({"waiting": 5711, "oldestAgeSeconds": 552.0}));
    assert_eq!((&main["paused"], &main["drainSeconds"]), (&Value::Null, &json!(571.0)));
    assert_eq!(value["accounts"][0]["limits"][0]["paused"], json!({"cause": "throttled", "seconds": 42.0}));
    assert_eq!(value["accounts"][0]["limits"][1]["lanes"]["high"]["waiting"], 0);
    assert_eq!((&value["deadLetters"], &value["delayed"]), (&json!(1203), &json!(12)));
}
