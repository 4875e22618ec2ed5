//! Numbers, times and tables as people read them.

use std::time::Duration;

/// The largest unit, or two where it is below ten: `0.1s`, `12s`, `9m12s`, `45m`, `3h20m`, `2d`.
pub fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, unit: &str, small: u64, of: &str| {
        if large < 10 && small > 0 { format!("{large}{unit}{small}{of}") } else { format!("{large}{unit}") }
    };
    match seconds {
        0..10 if time.subsec_millis() >= 100 => format!("{:.1}s", (time.as_secs_f64() * 10.0).floor() / 10.0),
        0 => "0s".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// With a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Columns as wide as what is in them, flush left.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (ms, expected) in [
            (0, "0s"),
            (99, "0s"),
            (130, "0.1s"),
            (1_000, "1s"),
            (1_250, "1.2s"),
            (9_990, "9.9s"),
            (10_900, "10s"),
            (61_000, "1m1s"),
            (120_000, "2m"),
            (755_000, "12m"),
            (12_000_000, "3h20m"),
            (190_000_000, "2d4h"),
            (9_000_000_000, "104d"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), expected, "{ms}");
        }
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
