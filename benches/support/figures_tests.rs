//! The measurement's arithmetic, tested. A target of its own: one that measures runs no tests.

use std::time::Duration;

use figures::{Figure, all_hold, count_between, longest_gap, most_within, percentile, seconds, table};

mod figures;

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
