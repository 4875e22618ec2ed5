use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn lanes(waiting: [u64; 4]) -> Vec<Lane> {
    ["retry", "high", "normal", "low"]
        .into_iter()
        .zip(waiting)
        .map(|(name, waiting)| Lane { name, waiting })
        .collect()
}

fn picture() -> Picture {
    let shop = AccountPicture {
        name: "shop".to_owned(),
        provider: "pushwoosh",
        limit: 600,
        used: 300,
        most: 583,
        sends: vec![0, 100, 200, 200, 50, 0, 0, 200],
        per_second: 204,
        per_request: 3.94,
        lanes: lanes([12, 0, 60, 1_204]),
        health: Health::Open(seconds(2.14)),
    };
    let news = AccountPicture {
        name: "news".to_owned(),
        provider: "moengage",
        limit: 900,
        used: 900,
        most: 900,
        sends: vec![75; 8],
        per_second: 75,
        per_request: 0.0,
        lanes: lanes([0, 1, 0, 320]),
        health: Health::Well,
    };
    let event = |at, mark, text: &str| Event { at: seconds(at), mark, text: text.to_owned() };
    Picture {
        seed: 7,
        minute: seconds(12.0),
        elapsed: seconds(22.3),
        length: seconds(40.0),
        showing: "An outage: the circuit opens".to_owned(),
        accounts: vec![shop, news],
        events: vec![
            event(0.0, Mark::Act, "the first one"),
            event(17.5, Mark::Ended, "taxi-1 is expired"),
            event(20.1, Mark::Trouble, "pushwoosh answers 503"),
            event(22.0, Mark::Good, "news goes on"),
        ],
        totals: Totals {
            published: 4_812,
            delivered: 3_700,
            expired: 1,
            dead: [("invalid".to_owned(), 1), ("rejected".to_owned(), 1)].into(),
            ..Totals::default()
        },
        twice: 0,
    }
}

fn plain(width: usize, height: usize) -> String {
    let lines = screen(&picture(), width, height);
    lines.iter().map(Line::plain).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_person_sees_it_on_one_screen() {
    let expected = " paceline demo  all in one process, a provider's minute lasts 12s        seed 7
 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━─────────────────────────────── 18 s left
 ▸ An outage: the circuit opens

 shop  pushwoosh, 600 requests a minute          ● circuit open, probe in 2.1 s
   used  █████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░┃   300 of 600  50 %
   sent   ▅██▃  █                                       204/s, 3.9 in a request
   wait  retry 12 ▏  high 0  normal 60 ▎  low 1,204 ██████

 news  moengage, 900 requests a minute                                ● sending
   used  ██████████████████████████████████████████████████┃   900 of 900 100 %
   sent  ████████                                        75/s, 1.0 in a request
   wait  retry 0  high 1 ▏  normal 0  low 320 ███████

   0.0 ▸ the first one
  17.5 × taxi-1 is expired
  20.1 ! pushwoosh answers 503
  22.0 ✓ news goes on



 ──────────────────────────────────────────────────────────────────────────────
 sent twice 0   most in any minute: shop 583 of 600  news 900 of 900
 published 4,812  delivered 3,700  duplicate 0  expired 1  dead 2  open 1,109";
    let text = plain(80, 24);
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn every_size_shows_what_fits_and_no_more() {
    for width in [1, 10, 20, 40, 60, 80, 100, 200] {
        for height in [1, 3, 8, 12, 20, 24, 50] {
            let lines = screen(&picture(), width, height);
            assert_eq!(lines.len(), height.min(lines.len()), "{width} {height}");
            assert!(
                lines.len() <= height && lines.iter().all(|line| line.width() <= width),
                "{width} {height}"
            );
        }
    }
    let small = plain(50, 14);
    for part in ["shop", "circuit open", "retry 12", "300 of 600", "news", "published 4,812", "news goes on"]
    {
        assert!(small.contains(part), "no {part} in\n{small}");
    }
}

#[test]
fn more_than_the_limit_is_seen() {
    let mut picture = picture();
    picture.accounts[0].used = 601;
    picture.accounts[0].most = 601;
    let lines = screen(&picture, 80, 24);
    assert!(lines[5].plain().contains("█┃██ 601 of 600 100 %"), "{}", lines[5].plain());
    assert!(lines[5].written(true).contains("\x1b[1;31m███"), "in the tone of what is wrong");
    assert!(lines.iter().any(|line| line.written(true).contains("\x1b[1;31m601 of 600")));
}

#[test]
fn bars_and_sparklines_show_anything_above_nothing() {
    for (share, expected) in
        [(0.0, ""), (0.0001, "▏"), (0.5, "██"), (0.54, "██▏"), (1.0, "████"), (2.0, "████")]
    {
        assert_eq!(bar(share, 4), expected, "{share}");
    }
    assert_eq!(sparkline(&[0, 1, 50, 100]), " ▂▅█");
    assert_eq!(sparkline(&[0, 0]), "  ");
}

#[test]
fn the_time_left_ends_and_then_the_rest_is_sent() {
    let mut picture = picture();
    picture.elapsed = seconds(41.0);
    let line = progress(&picture, 60).plain();
    assert!(line.ends_with("sending the rest") && line.contains('━') && !line.contains('─'), "{line}");
}

#[test]
fn every_state_of_an_account_has_words() {
    for (state, expected) in [
        (Health::Well, "● sending"),
        (Health::Open(seconds(1.26)), "● circuit open, probe in 1.3 s"),
        (Health::Probing, "● circuit open, a probe is under way"),
        (Health::Throttled(seconds(0.9)), "● told to slow down, 0.9 s left"),
        (Health::Stopped("operator"), "● paused: operator"),
    ] {
        assert_eq!(health(state).plain(), expected);
    }
}
