//! What a `sendPush` payload must keep to before anything is sent.

use serde_json::Value;

use super::fields::{Audience, BODY, SEGMENT, USERS};
use super::{content, delivery_time, goals, settings, target};
use crate::job::Object;
use crate::providers::account::{CREDENTIALS, refuse_credentials};
use crate::providers::shape::{
    Member, Place, Report, Shape, check_members, optional, required, unknown_within,
};

/// The document behind the rules.
const SOURCE: &str = "MoEngage push API";

/// The source of advice that goes beyond the provider's document.
pub(super) const CAUTION: &str = "paceline, the safest reading of the MoEngage push API";

/// A setting that one of the provider's samples puts beside `advancedSettings`.
const MISPLACED: &[Member] = &[optional("inboxExpiry", Shape::Any)];

/// Checks a payload; all findings at once.
pub(super) fn check(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    refuse_credentials(payload, place, &mut report);
    check_members(BODY, payload, place, &mut report);
    check_members(&audience_members(payload), payload, place, &mut report);
    content::check(payload, place, &mut report);
    report
}

/// The audience of a payload, if it names one.
pub(super) fn audience(payload: &Object) -> Option<Audience> {
    payload.get("targetAudience").and_then(Value::as_str).and_then(Audience::parse)
}

/// The members that the audience asks for. Those of another audience are ignored by the provider, so
/// they are not checked; without a known audience any of them may be meant.
fn audience_members(payload: &Object) -> Vec<Member> {
    match audience(payload) {
        Some(Audience::AllUsers) => vec![],
        Some(Audience::CustomSegment) => vec![required(SEGMENT.name, SEGMENT.shape)],
        Some(Audience::User) => vec![required(USERS.name, USERS.shape)],
        None => vec![SEGMENT, USERS],
    }
}

/// Things worth knowing that break no rule.
pub(super) fn warnings(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    unknown_within(&[BODY, CREDENTIALS, MISPLACED], payload, place, &mut report);
    warn_name(payload, place, &mut report);
    warn_audience(payload, place, &mut report);
    content::warn(payload, place, &mut report);
    warn_parts(payload, place, &mut report);
    if payload.contains_key(MISPLACED[0].name) {
        let allowed = "inboxExpiry inside advancedSettings";
        report.add_from(
            CAUTION,
            place.member(MISPLACED[0].name),
            "a setting beside advancedSettings",
            allowed,
        );
    }
    report
}

fn warn_name(payload: &Object, place: Place<'_>, report: &mut Report) {
    let name = payload.get("campaignName").and_then(Value::as_str);
    if name.is_some_and(|name| name.contains('|')) {
        let allowed = "a name without it: the signature joins its parts by pipes";
        report.add_from(CAUTION, place.member("campaignName"), "a pipe", allowed);
    }
}

/// A target beside an audience that does not look at it: the push goes to more people than it seems.
fn warn_audience(payload: &Object, place: Place<'_>, report: &mut Report) {
    let Some(audience) = audience(payload) else { return };
    for (member, used) in
        [(SEGMENT, audience == Audience::CustomSegment), (USERS, audience == Audience::User)]
    {
        if !used && payload.contains_key(member.name) {
            let found = format!("a target that the audience {} does not look at", audience.name());
            report.add_from(
                CAUTION,
                place.member(member.name),
                found,
                "nothing, or the audience that it is for",
            );
        }
    }
}

fn warn_parts(payload: &Object, place: Place<'_>, report: &mut Report) {
    let object = |name: &str| payload.get(name).and_then(Value::as_object);
    if let Some(users) = object(USERS.name) {
        target::warn(users, place.member(USERS.name), report);
    }
    if let Some(delivery) = object("campaignDelivery") {
        delivery_time::warn(delivery, place.member("campaignDelivery"), report);
    }
    if let Some(goals) = payload.get("conversionGoals") {
        goals::warn(goals, place.member("conversionGoals"), report);
    }
    if let Some(settings) = object("advancedSettings") {
        let soon = object("campaignDelivery").is_some_and(delivery_time::is_soon);
        settings::warn(settings, soon, place.member("advancedSettings"), report);
    }
}

#[cfg(test)]
mod tests;
