//! `campaignDelivery`: when a campaign goes out.

use serde_json::{Value, json};

use crate::providers::shape::{
    FILLED, Form, Member, Place, Report, Shape, check_members, describe, optional, required,
};

const DATE: Form =
    Form { allowed: "a day that exists, written MM/DD/YYYY", pattern: r"^\d{2}/\d{2}/\d{4}$", fits: is_date };

const TIME: Form = Form {
    allowed: "a time of day, written HH:MM AM or HH:MM PM, 01:00 to 12:59",
    pattern: r"^\d{2}:\d{2} [AP]M$",
    fits: is_time,
};

const DAYS: Form = Form {
    allowed: "a number of days as a text, such as \"1\"",
    pattern: r"^\d{1,4}$",
    fits: |text| text.len() <= 4 && text.parse::<u16>().is_ok_and(|days| days > 0),
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

const TYPES: [(&str, &[Member]); 3] = [("soon", &[]), ("later", LATER), ("periodic", PERIODIC)];

/// Checks the type, then the members that go with it.
pub(super) fn check(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(delivery) = value.as_object() else {
        report.add(place, describe(value), "an object with a type");
        return;
    };
    let kind = delivery.get("type");
    match TYPES.into_iter().find(|(name, _)| kind.and_then(Value::as_str) == Some(*name)) {
        Some((_, members)) => check_members(members, delivery, place, report),
        None => {
            let found = kind.map_or_else(|| "nothing".to_owned(), describe);
            report.add(place.member("type"), found, TYPES.map(|(name, _)| name).join(", "));
        }
    }
}

/// The JSON Schema.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"type": {"enum": TYPES.map(|(name, _)| name)}},
        "required": ["type"],
    })
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
