//! From moments to figures, and from figures to a table. Pure, so that what a measurement rests on
//! is itself tested (`cargo test --test figures`).

use std::time::Duration;

/// The most moments in any stretch of this length, both ends included. `moments` in order.
pub fn most_within(moments: &[Duration], length: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, end) in moments.iter().enumerate() {
        while moments[first] + length < *end {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// How many moments lie after `from` and not after `to`.
pub fn count_between(moments: &[Duration], from: Duration, to: Duration) -> usize {
    moments.iter().filter(|moment| (**moment > from) & (**moment <= to)).count()
}

/// The longest time between two neighbours. `moments` in order.
pub fn longest_gap(moments: &[Duration]) -> Duration {
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The smallest time that `percent` of all times do not exceed (nearest rank, so always one of
/// them). `times` in order, not empty.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times[rank - 1]
}

/// One line of the table.
pub struct Figure {
    what: String,
    measured: String,
    required: String,
    holds: Option<bool>,
}

impl Figure {
    /// A figure with a bound that it must keep to.
    pub fn bound(what: impl Into<String>, measured: String, required: String, holds: bool) -> Self {
        Self { what: what.into(), measured, required, holds: Some(holds) }
    }

    /// A figure that is only told.
    pub fn told(what: impl Into<String>, measured: String) -> Self {
        Self { what: what.into(), measured, required: String::new(), holds: None }
    }

    fn verdict(&self) -> &'static str {
        match self.holds {
            Some(true) => "PASS",
            Some(false) => "FALL SHORT",
            None => "",
        }
    }
}

/// Whether no figure falls short.
pub fn all_hold(figures: &[Figure]) -> bool {
    figures.iter().all(|figure| figure.holds != Some(false))
}

/// The figures as text, one a line, in columns.
pub fn table(figures: &[Figure]) -> String {
    let heading = ["figure", "measured", "required", ""].map(str::to_owned);
    let rows = figures.iter().map(|figure| {
        [figure.what.clone(), figure.measured.clone(), figure.required.clone(), figure.verdict().to_owned()]
    });
    let rows: Vec<[String; 4]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (what, measured, required) = (width(0), width(1), width(2));
    let line = |row: &[String; 4]| {
        let [a, b, c, d] = row;
        format!("{a:<what$}  {b:>measured$}  {c:>required$}  {d}").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// The share of a limit that so many requests in `watched` are; 1.0 is all of it.
pub fn utilisation(requests: usize, limit: u32, window: Duration, watched: Duration) -> f64 {
    requests as f64 / (f64::from(limit) * watched.as_secs_f64() / window.as_secs_f64())
}

/// The share of a limit that permits can use at the most: (L − b) / ((W + Δ)(1 + 5·10⁻⁴)) · W / L,
/// where b is the burst and Δ (`spread`) the width of a slot with the network's jitter.
pub fn ceiling(limit: u32, burst: u32, window: Duration, spread: Duration) -> f64 {
    let stretched = (window + spread).as_secs_f64() * 1.0005;
    f64::from(limit - burst) / stretched * window.as_secs_f64() / f64::from(limit)
}

/// How far apart shares are: (largest − smallest) / mean; 0 where there is nothing to share.
pub fn spread_of(shares: &[f64]) -> f64 {
    let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let largest = shares.iter().copied().fold(f64::MIN, f64::max);
    let smallest = shares.iter().copied().fold(f64::MAX, f64::min);
    if mean > 0.0 { (largest - smallest) / mean } else { 0.0 }
}

/// The sum of a metric's series that have all these labels, in Prometheus' text format.
pub fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, has) = series.split_once('{').unwrap_or((series, ""));
        let has: Vec<&str> = has.trim_end_matches('}').split(',').collect();
        let fits = found == name && wanted.iter().all(|label| has.contains(&label.as_str()));
        fits.then(|| value.parse::<f64>().ok())?
    };
    text.lines().filter_map(value).sum()
}

/// Seconds for people: `0.012 s`.
pub fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
