//! The members of the campaign API's bodies, as MoEngage documents them.
//!
//! The inside of an update's blocks passes through: the documents contradict each other about it.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{
    FILLED, Form, Member, Place, Report, Shape, Special, describe, object_schema, optional, required,
};

/// The longest id of a campaign, in characters. Real ones have 24; the bound keeps the address
/// within what servers take.
const LONGEST_ID: usize = 1_024;

const ID: Form = Form {
    allowed: "the campaign's id: a text of 1 to 1024 characters, not blank, without control characters, \
              and neither \".\" nor \"..\"",
    pattern: r"^(?!\.{1,2}$)[^\u0000-\u001f\u007f-\u009f]{1,1024}$",
    fits: is_id,
};

const EMAIL: Form = Form {
    allowed: "an e-mail address",
    pattern: r"^[^\s]+@[^\s]+$",
    fits: |text| {
        let plain =
            |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
        text.rsplit_once('@').is_some_and(|(user, host)| plain(user) && plain(host))
    },
};

const DAY: Form = Form {
    allowed: "a day that exists, written YYYY-MM-DD (DD-MM-YYYY is taken too)",
    pattern: r"^(\d{4}-\d{2}-\d{2}|\d{2}-\d{2}-\d{4})$",
    fits: |text| day(text).is_some(),
};

/// The part of an `updateCampaign` payload that goes into the address.
pub(super) static UPDATE_PATH: &[Member] = &[required("campaign_id", Shape::Form(ID))];

/// The body of an `updateCampaign` request.
pub(super) static UPDATE: &[Member] = &[
    required("request_id", FILLED),
    required("updated_by", Shape::Form(EMAIL)),
    optional("basic_details", Shape::Object),
    optional("campaign_content", Shape::Object),
    optional("trigger_condition", Shape::Object),
    optional("segmentation_details", Shape::Object),
    optional("control_group_details", Shape::Object),
    optional("scheduling_details", Shape::Object),
    optional("conversion_goal_details", Shape::Object),
    optional("delivery_controls", Shape::Object),
    optional("advanced", Shape::Object),
    optional("utm_params", Shape::Object),
    // Named without a type.
    optional("channel", Shape::Any),
];

/// The body of a `searchCampaigns` request.
pub(super) static SEARCH: &[Member] = &[
    required("request_id", FILLED),
    required("limit", Shape::Integer { min: 1, max: 15 }),
    required("page", Shape::Integer { min: 1, max: i64::MAX }),
    optional("campaign_fields", Shape::Members(FILTERS)),
    optional("include_child_campaigns", Shape::Boolean),
    optional("include_archive_campaigns", Shape::Boolean),
];

/// What a search looks for.
pub(super) static FILTERS: &[Member] = &[
    optional("channels", list(&Shape::OneOf(&["PUSH", "EMAIL", "SMS"]))),
    optional("created_by", list(&Shape::Form(EMAIL))),
    optional("created_date", Shape::Members(CREATED)),
    optional("delivery_type", list(&Shape::Special(Word::DeliveryType.shape()))),
    optional("id", Shape::Text),
    optional("name", Shape::Text),
    optional("status", list(&Shape::Special(Word::Status.shape()))),
    optional("tags", list(&Shape::Text)),
];

/// The days between which a campaign was made.
pub(super) static CREATED: &[Member] =
    &[optional("from_date", Shape::Form(DAY)), optional("to_date", Shape::Form(DAY))];

const fn list(item: &'static Shape) -> Shape {
    Shape::List { min: 0, max: usize::MAX, item }
}

/// Words whose case the documents disagree about: the samples of answers write `Active`, the lists
/// of values `ACTIVE`. Any case is taken, and the lists' own is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Status,
    DeliveryType,
}

impl Word {
    pub(super) const ALL: [Self; 2] = [Self::Status, Self::DeliveryType];

    /// The member of the filters that lists such words.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::DeliveryType => "delivery_type",
        }
    }

    const fn documented(self) -> &'static [&'static str] {
        match self {
            Self::Status => &["ACTIVE", "SCHEDULED", "PAUSED", "SENT", "STOPPED", "ARCHIVED"],
            Self::DeliveryType => &[
                "ONE_TIME",
                "PERIODIC",
                "EVENT_TRIGGERED",
                "BUSINESS_EVENT_TRIGGERED",
                "DEVICE_TRIGGERED",
                "LOCATION_TRIGGERED",
                "BROADCAST_LIVE_ACTIVITY",
            ],
        }
    }

    /// What another call of the same API calls one of them, and its name here.
    const fn aliases(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Status => &[],
            Self::DeliveryType => &[("BUSINESS_TRIGGERED", "BUSINESS_EVENT_TRIGGERED")],
        }
    }

    /// The word as this call documents it; `None` when it knows no such word.
    pub(super) fn written(self, text: &str) -> Option<&'static str> {
        let same = |word: &str| word.eq_ignore_ascii_case(text);
        let documented = self.documented().iter().copied().find(|word| same(word));
        let alias = || self.aliases().iter().find(|(alias, _)| same(alias)).map(|(_, word)| *word);
        documented.or_else(alias)
    }

    const fn shape(self) -> Special {
        match self {
            Self::Status => Special {
                check: |value, place, report| Self::Status.check(value, place, report),
                schema: || Self::Status.schema(),
            },
            Self::DeliveryType => Special {
                check: |value, place, report| Self::DeliveryType.check(value, place, report),
                schema: || Self::DeliveryType.schema(),
            },
        }
    }

    fn check(self, value: &Value, place: Place<'_>, report: &mut Report) {
        if value.as_str().and_then(|text| self.written(text)).is_none() {
            report.add(place, describe(value), self.documented().join(", "));
        }
    }

    fn schema(self) -> Value {
        let aliases = self.aliases().iter().map(|(alias, _)| alias);
        let words: Vec<_> = self.documented().iter().chain(aliases).map(|word| any_case(word)).collect();
        json!({
            "type": "string",
            "pattern": format!("^(?:{})$", words.join("|")),
            "description": format!("{}, in any case", self.documented().join(", ")),
        })
    }
}

/// A regular expression for a word in any case, without a flag: not every validator knows those.
fn any_case(word: &str) -> String {
    let either = |letter: char| format!("[{letter}{}]", letter.to_ascii_lowercase());
    word.chars().map(|c| if c.is_ascii_alphabetic() { either(c) } else { c.to_string() }).collect()
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.chars().count())
        && !text.trim().is_empty()
        && !text.contains(char::is_control)
        // These would name another address, however they are escaped.
        && !matches!(text, "." | "..")
}

/// The day that a text names, in either of the documented layouts.
pub(super) fn day(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let (year, month, day) = match (&lengths[..], &parts[..]) {
        ([4, 2, 2], [year, month, day]) | ([2, 2, 4], [day, month, year]) => (year, month, day),
        _ => return None,
    };
    if !parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

/// The JSON Schema of an `updateCampaign` payload.
pub(in crate::providers::moengage) fn update_schema() -> Value {
    titled(
        object_schema(&[UPDATE_PATH, UPDATE, CREDENTIALS]),
        "MoEngage updateCampaign: the documented body plus campaign_id",
    )
}

/// The JSON Schema of a `searchCampaigns` payload.
pub(in crate::providers::moengage) fn search_schema() -> Value {
    titled(object_schema(&[SEARCH, CREDENTIALS]), "MoEngage searchCampaigns")
}

fn titled(mut schema: Value, title: &str) -> Value {
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (text, expected) in [
            ("2024-06-16", Some((2024, 6, 16))),
            ("16-06-2024", Some((2024, 6, 16))),
            ("2024-02-29", Some((2024, 2, 29))),
            ("2025-02-29", None),
            ("06-16-2024", None),
            ("2024-16-06", None),
            ("16/06/2024", None),
            ("2024-6-16", None),
            ("24-06-16", None),
            ("+024-06-16", None),
            ("2024-06-16T00:00:00", None),
            ("2024-06-16 ", None),
            ("2024-06", None),
            ("", None),
        ] {
            assert_eq!(day(text).map(|day| (day.year(), day.month(), day.day())), expected, "{text:?}");
        }
    }

    #[test]
    fn ids_name_one_segment_of_an_address() {
        let longest = "ü".repeat(LONGEST_ID);
        let too_long = "ü".repeat(LONGEST_ID + 1);
        for (text, fits) in [
            ("64a1b2c3d4e5f6a7b8c9d0e1", true),
            ("search", true),
            ("...", true),
            ("a/b?c#d%2e", true),
            ("%2e%2e", true),
            ("Grüße", true),
            (&longest, true),
            (&too_long, false),
            (".", false),
            ("..", false),
            ("", false),
            (" ", false),
            ("a\tb", false),
            ("a\nb", false),
            ("a\u{85}", false),
        ] {
            assert_eq!(is_id(text), fits, "{text:?}");
        }
    }

    #[test]
    fn addresses_are_looked_at_from_afar_only() {
        for (text, fits) in [
            ("john.doe@abc.com", true),
            ("a@b", true),
            ("\"a@b\"@c.d", true),
            ("jöhn+x@abc.co.uk", true),
            ("john.doe", false),
            ("@abc.com", false),
            ("john@", false),
            ("john doe@abc.com", false),
            ("john@abc.com\n", false),
            ("", false),
        ] {
            assert_eq!((EMAIL.fits)(text), fits, "{text:?}");
        }
    }

    #[test]
    fn words_in_any_case_become_the_documented_ones() {
        for (word, text, expected) in [
            (Word::Status, "Active", Some("ACTIVE")),
            (Word::Status, "ARCHIVED", Some("ARCHIVED")),
            (Word::Status, "running", None),
            (Word::Status, " Active", None),
            (Word::DeliveryType, "one_time", Some("ONE_TIME")),
            (Word::DeliveryType, "Business_Triggered", Some("BUSINESS_EVENT_TRIGGERED")),
            (Word::DeliveryType, "ACTIVE", None),
        ] {
            assert_eq!(word.written(text), expected, "{text:?}");
            let validator = jsonschema::validator_for(&word.schema()).unwrap();
            assert_eq!(validator.is_valid(&json!(text)), expected.is_some(), "{text:?}");
        }
        for word in Word::ALL {
            for documented in word.documented() {
                assert_eq!(word.written(documented), Some(*documented));
            }
        }
    }

    #[test]
    fn the_schemas_are_ones_and_agree_with_the_forms() {
        jsonschema::meta::validate(&update_schema()).unwrap();
        jsonschema::meta::validate(&search_schema()).unwrap();
        for (form, texts) in [
            (ID, &["", " ", ".", "..", "...", "a/b?c#d%2e", "a\tb", "a\u{85}", "Grüße 1"][..]),
            (EMAIL, &["a@b", "john.doe", "\"a@b\"@c.d", "a b@c", "a@b\n", "@b"]),
            (DAY, &["2024-06-16", "16-06-2024", "16/06/2024", "2024-06", ""]),
        ] {
            let validator = jsonschema::validator_for(&json!({"pattern": form.pattern})).unwrap();
            for text in texts {
                // A pattern may accept more, never less.
                assert!(validator.is_valid(&json!(text)) || !(form.fits)(text), "{text:?}");
            }
            assert!(texts.iter().any(|text| !validator.is_valid(&json!(text))), "it refuses nothing");
        }
    }
}
