//! The measurement's arithmetic, tested. A target of its own: one that measures runs no tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use figures::{
    Figure, all_hold, ceiling, count_between, longest_gap, metric, most_within, percentile, seconds,
    spread_of, table, utilisation,
};

use verdicts::{Counts, End, Evidence, Key, Loss, Taken, judge};

mod figures;
mod verdicts;

fn all(ms: &[u64]) -> Vec<Duration> {
    ms.iter().copied().map(Duration::from_millis).collect()
}

#[test]
fn the_most_in_a_stretch_is_found_wherever_it_lies() {
    let length = Duration::from_millis(100);
    for (moments, most) in [
        (vec![], 0),
        (vec![5], 1),
        (vec![0, 100], 2),
        (vec![0, 101], 1),
        (vec![0, 90, 150, 170, 190, 400], 4),
        (vec![0, 0, 0, 500], 3),
    ] {
        assert_eq!(most_within(&all(&moments), length), most, "{moments:?}");
    }
}

#[test]
fn a_count_leaves_out_its_beginning_and_takes_in_its_end() {
    let between =
        |from, to| count_between(&all(&[1, 2, 3, 4]), Duration::from_millis(from), Duration::from_millis(to));
    assert_eq!((between(1, 3), between(0, 9), between(4, 9)), (2, 4, 0));
}

#[test]
fn a_percentile_is_one_of_the_times() {
    let hundred: Vec<u64> = (1..=100).collect();
    for (times, percent, expected) in
        [(&hundred[..], 50, 50), (&hundred, 99, 99), (&hundred[..50], 99, 50), (&hundred[..1], 50, 1)]
    {
        assert_eq!(percentile(&all(times), percent), Duration::from_millis(expected));
    }
}

#[test]
fn the_longest_gap_lies_between_neighbours() {
    assert_eq!(longest_gap(&all(&[0, 5, 25, 30])), Duration::from_millis(20));
    assert_eq!(longest_gap(&all(&[7])), Duration::ZERO);
}

#[test]
fn one_figure_that_falls_short_is_seen() {
    let good = Figure::bound("a", "1".into(), "<= 2".into(), true);
    let told = Figure::told("longer", "many".into());
    assert!(all_hold(&[good, told]));
    let figures =
        [Figure::bound("a", "3".into(), "<= 2".into(), false), Figure::told("longer", "many".into())];
    assert!(!all_hold(&figures));
    assert_eq!(
        table(&figures),
        "figure  measured  required\na              3      <= 2  FALL SHORT\nlonger      many\n"
    );
    assert_eq!(seconds(Duration::from_micros(12_345)), "0.012 s");
}

#[test]
fn utilisation_is_the_share_of_what_the_limit_allows() {
    let second = Duration::from_secs(1);
    for (requests, limit, watched, share) in
        [(1_500, 600, 150, 1.0), (1_425, 600, 150, 0.95), (0, 600, 150, 0.0), (24_500, 10_000, 150, 0.98)]
    {
        let found = utilisation(requests, limit, 60 * second, watched * second);
        assert!((found - share).abs() < 1e-9, "{requests} of {limit}: {found}");
    }
}

#[test]
fn the_ceiling_is_that_of_the_formula() {
    let spread = Duration::from_millis(300);
    for (limit, burst, share) in [(600, 3, 0.9896), (600, 1, 0.9929), (10_000, 3, 0.9942)] {
        let found = ceiling(limit, burst, Duration::from_secs(60), spread);
        assert!((found - share).abs() < 1e-4, "{limit} {burst}: {found}");
    }
}

#[test]
fn shares_are_compared_with_their_mean() {
    for (shares, expected) in [
        (vec![10.0, 10.0], 0.0),
        (vec![9.0, 10.0, 11.0], 0.2),
        (vec![0.0, 20.0], 2.0),
        (vec![0.0], 0.0),
        (vec![], 0.0),
    ] {
        assert!((spread_of(&shares) - expected).abs() < 1e-9, "{shares:?}");
    }
}

#[test]
fn a_metric_is_summed_over_the_series_with_these_labels() {
    let text =
        "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"22\"} 4\na{x=\"2\"} 5\nab{x=\"1\"} 6\nc 7\n";
    for (name, labels, sum) in [
        ("a", &[("x", "1")][..], 7.0),
        ("a", &[("x", "1"), ("y", "2")], 3.0),
        ("a", &[], 12.0),
        ("c", &[], 7.0),
        ("c", &[("x", "1")], 0.0),
        ("none", &[], 0.0),
    ] {
        assert!((metric(text, name, labels) - sum).abs() < 1e-9, "{name} {labels:?}");
    }
}

fn key(account: &str, id: &str) -> Key {
    (account.to_owned(), id.to_owned())
}

/// Ends, told a millisecond after another.
fn ends(of: &[&str]) -> Vec<End> {
    let end = |(text, at): (&&str, u64)| {
        let (status, reason) =
            text.split_once(' ').map_or((*text, None), |(status, reason)| (status, Some(reason)));
        End { status: status.to_owned(), reason: reason.map(str::to_owned), at: Duration::from_millis(at) }
    };
    of.iter().zip(1..).map(end).collect()
}

/// Losses that took half a millisecond.
fn losses(at: &[u64]) -> Vec<Loss> {
    let begun = |at: Duration| Loss { begun: at, over: at + Duration::from_micros(500) };
    all(at).into_iter().map(begun).collect()
}

/// The counts of one delivery of an account: how often it was published, how it ended, when it was
/// taken, and when the store lost its data.
fn counts_of(account: &str, times: usize, told: &[&str], taken: &[u64], lost_at: &[u64]) -> Counts {
    let id = key(account, "a");
    let published = BTreeMap::from([(id.clone(), times)]);
    let ends = if told.is_empty() { BTreeMap::new() } else { BTreeMap::from([(id.clone(), ends(told))]) };
    let taken: Vec<Taken> = all(taken).into_iter().map(|at| Taken { delivery: id.clone(), at }).collect();
    judge(&Evidence {
        published: &published,
        ends: &ends,
        taken: &taken,
        pushes_nothing: &BTreeSet::new(),
        untold_letters: &[],
        losses: &losses(lost_at),
        resending: "loud",
    })
}

#[test]
fn each_publishing_has_one_end_and_each_end_was_published() {
    let id = key("shop", "a");
    for (times, told, taken, lost, invented) in [
        (1, &["delivered"][..], &[1][..], 0, 0),
        (2, &["delivered", "duplicate"], &[1], 0, 0),
        (2, &["delivered"], &[1], 1, 0),
        (1, &[], &[], 1, 0),
        (1, &["delivered", "duplicate"], &[1], 0, 1),
        (1, &["dead rejected"], &[], 0, 0),
    ] {
        let counts = counts_of("shop", times, told, taken, &[]);
        let expected = Counts {
            lost: vec![id.clone(); lost],
            invented: vec![id.clone(); invented],
            ..Counts::default()
        };
        assert_eq!(counts, expected, "{times} times: {told:?}");
    }
}

#[test]
fn an_end_too_many_is_excused_by_a_loss_between_the_ends() {
    let id = key("shop", "a");
    for (told, lost_at, excused) in [
        (&["delivered", "dead rejected"][..], &[][..], false),
        (&["delivered", "dead rejected"], &[0], false),
        (&["delivered", "dead rejected"], &[1], true),
        (&["delivered", "dead rejected"], &[3], false),
        (&["delivered", "duplicate", "dead rejected"], &[2], true),
    ] {
        let counts = counts_of("shop", told.len() - 1, told, &[1], lost_at);
        let found = (counts.ended_across_a_loss, counts.invented);
        let expected = if excused { (vec![id.clone()], vec![]) } else { (vec![], vec![id.clone()]) };
        assert_eq!(found, expected, "{told:?} {lost_at:?}");
    }
}

#[test]
fn what_is_told_as_delivered_on_both_sides_of_a_loss_is_counted() {
    for (told, lost_at, expected) in [
        (&["delivered", "delivered"][..], &[1][..], 1),
        (&["delivered", "delivered"], &[], 0),
        (&["delivered", "delivered"], &[3], 0),
        (&["delivered", "duplicate"], &[1], 0),
        (&["delivered"], &[1], 0),
    ] {
        let counts = counts_of("shop", told.len(), told, &[1], lost_at);
        assert_eq!(counts.delivered_across_a_loss, expected, "{told:?} {lost_at:?}");
    }
}

#[test]
fn a_letter_that_no_receipt_tells_of_is_excused_by_a_loss_after_it() {
    for (written, lost_at, excused, unexcused) in
        [(&[5][..], &[][..], 0, 1), (&[5], &[4], 0, 1), (&[5], &[6], 1, 0), (&[5, 7], &[6], 1, 1)]
    {
        let counts = judge(&Evidence {
            published: &BTreeMap::new(),
            ends: &BTreeMap::new(),
            taken: &[],
            pushes_nothing: &BTreeSet::new(),
            untold_letters: &all(written),
            losses: &losses(lost_at),
            resending: "loud",
        });
        let found = (counts.letters_across_a_loss, counts.untold_letters);
        assert_eq!(found, (excused, unexcused), "{written:?} {lost_at:?}");
    }
}

#[test]
fn an_end_of_what_nobody_published_is_invented() {
    let ends = BTreeMap::from([(key("shop", "b"), ends(&["dead poison"]))]);
    let nothing = BTreeSet::new();
    let counts = judge(&Evidence {
        published: &BTreeMap::new(),
        ends: &ends,
        taken: &[],
        pushes_nothing: &nothing,
        untold_letters: &[],
        losses: &[],
        resending: "loud",
    });
    assert_eq!(counts, Counts { invented: vec![key("shop", "b")], ..Counts::default() });
}

#[test]
fn what_is_taken_twice_needs_an_excuse() {
    for (account, taken, losses, twice, resent, across) in [
        ("shop", &[1, 2][..], &[][..], 1, 0, 0),
        ("shop", &[1, 3], &[2], 0, 0, 1),
        ("shop", &[1, 3], &[4], 1, 0, 0),
        ("shop", &[2, 3, 4], &[1], 1, 0, 0),
        ("loud", &[1, 2], &[], 0, 1, 0),
        ("shop", &[1], &[2], 0, 0, 0),
    ] {
        let counts = counts_of(account, 1, &["delivered"], taken, losses);
        let found = (counts.twice.len(), counts.resent, counts.across_a_loss);
        assert_eq!(found, (twice, resent, across), "{account} {taken:?} {losses:?}");
    }
}

#[test]
fn what_was_taken_is_told_and_what_is_told_was_taken() {
    for (told, taken, losses, untold, untaken) in [
        (&["delivered"][..], &[1][..], &[][..], 0, 0),
        (&["dead uncertain"], &[1], &[], 0, 0),
        (&["dead uncertain"], &[], &[], 0, 0),
        (&["dead exhausted"], &[1], &[], 1, 0),
        (&["expired"], &[1], &[], 1, 0),
        (&["expired"], &[1], &[2], 0, 0),
        (&["delivered"], &[], &[], 0, 1),
    ] {
        let counts = counts_of("shop", 1, told, taken, losses);
        assert_eq!((counts.untold.len(), counts.untaken.len()), (untold, untaken), "{told:?} {taken:?}");
    }
}
