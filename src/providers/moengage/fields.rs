//! The members of a `sendPush` body, as MoEngage documents them.

use serde_json::{Value, json};

use super::content::{self, CONTENT, PLATFORMS};
use super::delivery_time::DELIVERY;
use super::goals::GOALS;
use super::settings::SETTINGS;
use super::target::TARGET;
use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{self, FILLED, Member, Shape, object_schema, optional, required};

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

    /// As the provider spells it.
    pub(super) const fn name(self) -> &'static str {
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

/// Where a push to a custom segment says which one.
pub(super) const SEGMENT: Member = optional(
    "customSegmentName",
    Shape::Phrased { shape: &FILLED, allowed: "the segment's exact name: the audience is Custom Segment" },
);

/// Where a push to single users says which ones.
pub(super) const USERS: Member = optional("targetUserAttributes", TARGET);

const TAGS: Shape = Shape::List { min: 0, max: usize::MAX, item: &Shape::Text };

const TARGET_PLATFORM: Shape = Shape::Phrased {
    // No document forbids to name one twice.
    shape: &Shape::List { min: 1, max: usize::MAX, item: &Shape::OneOf(&PLATFORMS) },
    allowed: "a list of one or more of ANDROID, IOS, WEB",
};

/// The members of the body. What an audience asks for beside them is checked where the audience is
/// known.
pub(super) static BODY: &[Member] = &[
    required("campaignName", Shape::Filled { least: 5 }),
    optional("requestType", Shape::OneOf(&["push"])),
    required("targetPlatform", TARGET_PLATFORM),
    required("targetAudience", Shape::OneOf(&Audience::NAMES)),
    optional(SEGMENT.name, Shape::Any),
    optional(USERS.name, Shape::Any),
    required(
        "payload",
        Shape::Phrased {
            shape: &Shape::Members(&CONTENT),
            allowed: "an object with content for each platform",
        },
    ),
    required("campaignDelivery", DELIVERY),
    optional("campaignTags", TAGS),
    optional("conversionGoals", GOALS),
    optional("advancedSettings", Shape::Members(SETTINGS)),
];

/// The JSON Schema of a `sendPush` payload.
pub(super) fn send_push_schema() -> Value {
    let mut schema = object_schema(&[BODY, CREDENTIALS]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("MoEngage sendPush, without appId and signature");
    schema["allOf"] = json!([needs(Audience::CustomSegment, SEGMENT), needs(Audience::User, USERS),]);
    content::refine_schema(&mut schema["properties"]["payload"]);
    schema
}

fn needs(audience: Audience, member: Member) -> Value {
    json!({
        "if": {"properties": {"targetAudience": {"const": audience.name()}}, "required": ["targetAudience"]},
        "then": {
            "properties": {member.name: shape::schema(&member.shape)},
            "required": [member.name],
        },
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
