//! The members of a `sendPush` body, as MoEngage documents them.

use serde_json::{Value, json};

use super::{delivery_time, target};
use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{FILLED, Member, Shape, Special, object_schema, optional, required};

/// The platforms that can be targeted.
pub(super) const PLATFORMS: [&str; 3] = ["ANDROID", "IOS", "WEB"];

/// Whom a push is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    AllUsers,
    CustomSegment,
    User,
}

impl Audience {
    const ALL: [Self; 3] = [Self::AllUsers, Self::CustomSegment, Self::User];
    const NAMES: [&'static str; 3] = [Self::AllUsers.name(), Self::CustomSegment.name(), Self::User.name()];

    const fn name(self) -> &'static str {
        match self {
            Self::AllUsers => "All Users",
            Self::CustomSegment => "Custom Segment",
            Self::User => "User",
        }
    }

    /// `None` when the text names no audience; case and the blank count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| audience.name() == text)
    }

    /// Whether a campaign's name can be used once only, so that a repeat is recognised.
    pub(super) const fn has_unique_names(self) -> bool {
        match self {
            Self::AllUsers | Self::CustomSegment => true,
            Self::User => false,
        }
    }
}

const GOAL: &[Member] =
    &[required("name", FILLED), required("eventName", FILLED), optional("attrs", Shape::Object)];

const GOALS: Shape = Shape::List { min: 0, max: 5, item: &Shape::Members(GOAL) };

const TAGS: Shape = Shape::List { min: 0, max: usize::MAX, item: &Shape::Text };

const TARGET_PLATFORM: Shape = Shape::List { min: 1, max: 3, item: &Shape::OneOf(&PLATFORMS) };

const APP_CONTENT: &[Member] = &[required("message", FILLED), required("title", FILLED)];

const WEB_CONTENT: &[Member] = &[
    required("message", FILLED),
    required("title", FILLED),
    required("redirectURL", FILLED),
    required("iconURL", FILLED),
];

const CONTENT: &[Member] = &[
    optional("ANDROID", Shape::Members(APP_CONTENT)),
    optional("IOS", Shape::Members(APP_CONTENT)),
    optional("WEB", Shape::Members(WEB_CONTENT)),
];

const DELIVERY: Special = Special { check: delivery_time::check, schema: delivery_time::schema };
const TARGET: Special = Special { check: target::check, schema: target::schema };

/// The members of the body.
pub(super) static BODY: &[Member] = &[
    required("campaignName", Shape::Filled { least: 5 }),
    optional("requestType", Shape::OneOf(&["push"])),
    required("targetPlatform", TARGET_PLATFORM),
    required("targetAudience", Shape::OneOf(&Audience::NAMES)),
    optional("customSegmentName", FILLED),
    optional("targetUserAttributes", Shape::Special(TARGET)),
    required("payload", Shape::Members(CONTENT)),
    required("campaignDelivery", Shape::Special(DELIVERY)),
    optional("campaignTags", TAGS),
    optional("conversionGoals", GOALS),
    optional("advancedSettings", Shape::Object),
];

/// The JSON Schema of a `sendPush` payload.
pub(super) fn send_push_schema() -> Value {
    let mut schema = object_schema(&[BODY, CREDENTIALS]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("MoEngage sendPush, without appId and signature");
    schema["allOf"] = json!([
        needs(Audience::CustomSegment, "customSegmentName"),
        needs(Audience::User, "targetUserAttributes"),
    ]);
    schema
}

fn needs(audience: Audience, member: &str) -> Value {
    json!({
        "if": {"properties": {"targetAudience": {"const": audience.name()}}, "required": ["targetAudience"]},
        "then": {"required": [member]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences() {
        for audience in Audience::ALL {
            assert_eq!(Audience::parse(audience.name()), Some(audience));
        }
        for text in ["all users", "AllUsers", "user", "", "USER"] {
            assert_eq!(Audience::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_schema_is_one() {
        jsonschema::meta::validate(&send_push_schema()).unwrap();
    }
}
