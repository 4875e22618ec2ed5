//! Dates as Pushwoosh writes them, and the forms that it is known to take as well.

use crate::providers::shape::Form;

/// When a message goes out. Seconds are taken by the provider though the document knows minutes
/// only; what is sent has minutes (see [`whole_minutes`]).
pub(super) const SEND_DATE: Form = Form {
    allowed: "now, or a moment that exists, written YYYY-MM-DD HH:mm",
    pattern: r"^(now|\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?)$",
    fits: |text| text == "now" || is_minute(text) || is_second(text),
};

/// A day.
pub(super) const DATE: Form =
    Form { allowed: "a day that exists, written YYYY-MM-DD", pattern: r"^\d{4}-\d{2}-\d{2}$", fits: is_day };

/// The moment without its seconds, if it has some.
pub(in crate::providers::pushwoosh) fn whole_minutes(text: &str) -> Option<&str> {
    is_second(text).then(|| &text[.."YYYY-MM-DD HH:mm".len()])
}

pub(in crate::providers::pushwoosh) fn is_day(text: &str) -> bool {
    parts(text, "dddd-dd-dd").is_some_and(|[year, month, day]| exists(year, month, day))
}

pub(in crate::providers::pushwoosh) fn is_minute(text: &str) -> bool {
    parts(text, "dddd-dd-dd dd:dd")
        .is_some_and(|[year, month, day, hour, minute]| exists(year, month, day) && hour < 24 && minute < 60)
}

pub(in crate::providers::pushwoosh) fn is_second(text: &str) -> bool {
    parts(text, "dddd-dd-dd dd:dd:dd").is_some_and(|[year, month, day, hour, minute, second]| {
        exists(year, month, day) && hour < 24 && minute < 60 && second < 60
    })
}

fn exists(year: i16, month: i16, day: i16) -> bool {
    let (Ok(month), Ok(day)) = (i8::try_from(month), i8::try_from(day)) else { return false };
    jiff::civil::Date::new(year, month, day).is_ok()
}

/// The numbers of a text in which every `d` of the layout is a digit and all else stands as it is.
fn parts<const N: usize>(text: &str, layout: &str) -> Option<[i16; N]> {
    let fits = |(c, l): (u8, u8)| if l == b'd' { c.is_ascii_digit() } else { c == l };
    if text.len() != layout.len() || !text.bytes().zip(layout.bytes()).all(fits) {
        return None;
    }
    let numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    numbers.collect::<Option<Vec<i16>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_exist_and_are_written_as_documented() {
        for (text, fits) in [
            ("now", true),
            ("2026-02-28 23:59", true),
            ("2024-02-29 00:00", true),
            ("2026-01-01 10:00:59", true),
            ("2026-01-01 10:00:60", false),
            ("2026-02-29 10:00:00", false),
            ("2026-02-29 00:00", false),
            ("2026-13-01 00:00", false),
            ("2026-00-01 00:00", false),
            ("2026-01-01 24:00", false),
            ("2026-01-01 10:60", false),
            ("2026-01-01T10:00", false),
            ("2026-1-1 10:00", false),
            ("2026-01-01", false),
            ("Now", false),
            ("", false),
            ("２０２６-01-01 10:00", false),
        ] {
            assert_eq!((SEND_DATE.fits)(text), fits, "{text:?}");
        }
        for (text, fits) in [("2026-12-31", true), ("2026-11-31", false), ("31.12.2026", false)] {
            assert_eq!((DATE.fits)(text), fits, "{text:?}");
        }
    }

    #[test]
    fn seconds_are_cut_off() {
        for (text, expected) in [
            ("2026-01-01 10:00:59", Some("2026-01-01 10:00")),
            ("2026-01-01 10:00", None),
            ("now", None),
            ("2026-01-01 10:00:99", None),
        ] {
            assert_eq!(whole_minutes(text), expected, "{text:?}");
        }
    }
}
