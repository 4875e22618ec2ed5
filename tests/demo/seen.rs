//! What a person sees in a terminal.

use crate::capture;
use crate::terminal::Terminal;

/// An empty environment: where programs are, and a home.
const EMPTY: [(&str, &str); 2] = [("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent")];

/// What gives a terminal back: wrapping, the cursor, the first screen.
const GIVEN_BACK: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The number behind a word of the picture, such as `low 1,204`.
fn number(text: &str, word: &str) -> Option<u64> {
    let rest = text.split_once(&format!("{word} "))?.1;
    let digits: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    digits.replace(',', "").parse().ok()
}

/// The numbers of a row of the table: each account's, and all.
fn row(text: &str, word: &str) -> Vec<u64> {
    let line = text.lines().find(|line| line.trim_start().starts_with(word));
    let line = line.unwrap_or_else(|| panic!("no row {word} in\n{text}"));
    let numbers = line.trim_start()[word.len()..].split_whitespace();
    numbers.map(|number| number.replace(',', "").parse().expect("a number")).collect()
}

fn assert_given_back(terminal: &Terminal) {
    let screen = terminal.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{}", screen.contents());
    let written = terminal.written();
    assert!(written.windows(GIVEN_BACK.len()).any(|part| part == GIVEN_BACK));
}

#[test]
fn a_stranger_with_nothing_installed_sees_the_whole_system_and_that_every_promise_held() {
    let mut terminal = Terminal::start((80, 24), &["demo", "--duration", "26s"], &EMPTY);
    let backlog = terminal.wait_for("a backlog, and the limit being used", |text| {
        number(text, "low").is_some_and(|waiting| waiting > 100) && text.contains("█") && text.contains("✓")
    });
    assert!(backlog.alternate_screen() && backlog.hide_cursor());
    let text = backlog.contents();
    for part in
        ["paceline demo", "shop  pushwoosh, 600 requests a minute", "┃", "of 600", "in a request", "s left"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    for (word, lanes) in [("used", 2), ("sent  ", 2), ("wait  retry", 2), ("● sending", 2)] {
        assert_eq!(text.matches(word).count(), lanes, "{word}\n{text}");
    }
    let outage = terminal
        .wait_for("the outage", |text| text.contains("● circuit open") && text.contains("probe 1 of shop"));
    let text = outage.contents();
    assert!(text.contains("pushwoosh answers 503") && text.contains("▸ An outage"), "{text}");
    capture::keep("running", &outage);
    terminal.wait_for("the pause that a provider asked for", |text| text.contains("● told to slow down"));
    terminal.wait_for("the answer that was lost", |text| text.contains("none pushed twice"));
    let status = terminal.wait();
    let last = terminal.replayed(80);
    capture::keep("summary", &last);
    let text = last.contents();
    assert!(status.success() && text.contains("every promise held"), "{status:?}\n{text}");
    assert_given_back(&terminal);
    let ends = ["delivered", "duplicate", "expired", "dead, invalid", "dead, rejected"]
        .map(|word| row(&text, word)[2]);
    assert_eq!(row(&text, "published")[2], ends.iter().sum::<u64>(), "{text}");
    assert_eq!(ends[1..], [1, 1, 1, 1], "{text}");
    for part in
        ["sent twice: 0,", "limit 600, none refused", "nothing lost:", "What to try next", "demo --speed 10"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(!text.contains('✗'), "{text}");
}

#[test]
fn ctrl_c_drains_and_gives_the_terminal_and_the_summary_so_far() {
    let variables = [EMPTY[0], EMPTY[1], ("NO_COLOR", "1")];
    let mut terminal = Terminal::start((80, 24), &["demo", "--duration", "10m"], &variables);
    terminal.wait_for("sends", |text| number(text, "delivered").is_some_and(|delivered| delivered > 20));
    terminal.interrupt();
    let status = terminal.wait();
    let text = terminal.replayed(80).contents();
    assert!(status.success(), "{status:?}\n{text}");
    assert!(text.contains("interrupted, drained") && text.contains("every promise held"), "{text}");
    assert_given_back(&terminal);
    // NO_COLOR: not one sequence that colours.
    let written = String::from_utf8_lossy(&terminal.written()).into_owned();
    let coloured = written.split('\x1b').filter(|part| part.starts_with('[') && part.contains('m'));
    let coloured: Vec<&str> =
        coloured.filter(|part| part[1..].split('m').next().is_some_and(is_numbers)).collect();
    assert!(coloured.is_empty(), "{coloured:?}");
}

fn is_numbers(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || c == ';')
}

#[test]
fn a_small_terminal_shows_what_fits_and_a_larger_one_is_filled() {
    let mut terminal = Terminal::start((44, 12), &["demo", "--duration", "10m"], &EMPTY);
    let small = terminal.wait_for("a small picture", |text| {
        number(text, "low").is_some_and(|waiting| waiting > 0) && text.contains("news")
    });
    let text = small.contents();
    assert!(text.contains("published") && text.contains("shop") && !text.contains("in a request"), "{text}");
    assert!(small.cell(0, 1).is_some_and(vt100::Cell::bold), "coloured\n{text}");
    terminal.resize((110, 32));
    let large = terminal.wait_for("a large picture", |text| {
        text.contains("in a request") && text.lines().last().is_some_and(|line| line.contains("published"))
    });
    let rule = large.contents().lines().find(|line| line.contains(&"─".repeat(100))).map(str::to_owned);
    assert!(rule.is_some(), "{}", large.contents());
    terminal.interrupt();
    assert!(terminal.wait().success());
    assert_given_back(&terminal);
}
