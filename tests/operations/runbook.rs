//! The runbook: a section for each alert, and commands that exist.

use std::collections::BTreeSet;
use std::process::Command;

use super::files::{run, text};
use super::rules;

const RUNBOOK: &str = "deploy/runbook.md";

/// The sections, as (heading, text).
fn sections() -> Vec<(String, String)> {
    let runbook = text(RUNBOOK);
    let parts = runbook.split("\n## ").skip(1).map(|part| part.split_once('\n').expect("a heading"));
    parts.map(|(heading, text)| (heading.trim().to_owned(), text.to_owned())).collect()
}

/// Commands of paceline in a text: whole lines of blocks, and what stands between single back quotes.
fn commands(text: &str) -> Vec<String> {
    let is_ours = |words: &&str| words.starts_with("paceline ") && !words.starts_with("paceline-");
    let lines = text.lines().map(|line| line.trim_start_matches("$ "));
    let inline = text.lines().filter(|line| !line.starts_with("$ ")).collect::<Vec<_>>().join(" ");
    let quoted: Vec<&str> = inline.split('`').skip(1).step_by(2).collect();
    let all = lines.filter(is_ours).chain(quoted.into_iter().filter(is_ours));
    all.map(str::to_owned).collect()
}

/// The help of the command that these words call, with the words behind it.
fn help_of(words: &[&str]) -> (String, Vec<String>) {
    let mut path: Vec<&str> = Vec::new();
    let mut help = help(&[]);
    let mut rest = words;
    while let Some((word, behind)) = rest.split_first()
        && has_command(&help, word)
    {
        path.push(word);
        help = self::help(&path);
        rest = behind;
    }
    assert!(!path.is_empty(), "there is no paceline {}", words.join(" "));
    (help, rest.iter().map(|word| (*word).to_owned()).collect())
}

fn help(path: &[&str]) -> String {
    run(Command::new(env!("CARGO_BIN_EXE_paceline")).args(path).arg("--help"))
}

/// Whether a help lists a command.
fn has_command(help: &str, word: &str) -> bool {
    let listed = help.split("Commands:").nth(1).unwrap_or_default();
    listed
        .lines()
        .any(|line| line.strip_prefix("  ").is_some_and(|line| line.split(' ').next() == Some(word)))
}

#[test]
fn every_alert_has_its_section_and_every_section_its_alert() {
    let headings: BTreeSet<String> = sections().into_iter().map(|(heading, _)| heading).collect();
    let alerts = rules::alerts();
    let names: BTreeSet<String> = alerts.iter().map(|alert| rules::name(alert).to_owned()).collect();
    assert_eq!(headings, names);
    assert_eq!(alerts.len(), sections().len(), "each once");
}

#[test]
fn every_section_says_what_it_means_how_to_look_and_what_to_do() {
    for (heading, text) in sections() {
        let places: Vec<usize> = ["**It means.**", "**Look.**", "**Do.**"]
            .iter()
            .map(|part| text.find(part).unwrap_or_else(|| panic!("{heading}: no {part}")))
            .collect();
        assert!(places.is_sorted(), "{heading}");
        let [look, act] = [&text[places[1]..places[2]], &text[places[2]..]];
        assert!(look.contains('`') || look.contains("dashboard"), "{heading} does not say how to look");
        assert!(act.matches("\n- ").count() + act.matches("\n1. ").count() >= 1, "{heading}");
    }
}

#[test]
fn every_command_exists_with_its_options() {
    let found = commands(&text(RUNBOOK));
    assert!(found.len() > 20, "{found:?}");
    for command in found {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        if words == ["COMMAND"] {
            continue;
        }
        let (help, rest) = help_of(&words);
        for option in rest.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option.as_str()), "{command}: it has no {option}\n{help}");
        }
    }
}

#[test]
fn samples_of_status_are_in_its_own_words() {
    let words = concat!(
        include_str!("../../src/cli/status/render.rs"),
        include_str!("../../src/status/told.rs"),
        include_str!("../../src/status/gather.rs"),
    );
    let runbook = text(RUNBOOK);
    let mut notes = 0;
    for line in runbook.lines().filter(|line| line.starts_with("! ") || line.starts_with("? ")) {
        let told = line.split_once(": ").filter(|_| line.starts_with("! ")).map_or(line, |(_, why)| why);
        assert!(words.contains(told), "status does not say: {told}");
        notes += 1;
    }
    assert!(notes >= 4, "{notes} notes");
    for table in runbook.lines().filter(|line| line.starts_with("ACCOUNT ")) {
        for heading in table.split("  ").map(str::trim).filter(|heading| !heading.is_empty()) {
            assert!(words.contains(&format!("\"{heading}\"")), "no column {heading}");
        }
    }
}
