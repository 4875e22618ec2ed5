//! What a `sendPush` payload must keep to before anything is sent.

use serde_json::Value;

use super::fields::{Audience, BODY, PLATFORMS};
use crate::job::Object;
use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{Place, Report, check_members, unknown_members};

/// The document behind the rules.
const SOURCE: &str = "MoEngage push API";

/// The source of advice that goes beyond the provider's document.
const CAUTION: &str = "paceline, the safest reading of the MoEngage push API";

/// Checks a payload; all findings at once.
pub(super) fn check(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    check_members(CREDENTIALS, payload, place, &mut report);
    check_members(BODY, payload, place, &mut report);
    check_audience(payload, place, &mut report);
    check_content(payload, place, &mut report);
    report
}

/// The audience of a payload, if it names one.
pub(super) fn audience(payload: &Object) -> Option<Audience> {
    payload.get("targetAudience").and_then(Value::as_str).and_then(Audience::parse)
}

fn check_audience(payload: &Object, place: Place<'_>, report: &mut Report) {
    let needed = match audience(payload) {
        Some(Audience::CustomSegment) => {
            ("customSegmentName", "the name of the segment, for a Custom Segment")
        }
        Some(Audience::User) => ("targetUserAttributes", "the users, for the audience User"),
        Some(Audience::AllUsers) | None => return,
    };
    let (name, allowed) = needed;
    if !payload.contains_key(name) {
        report.add(place.member(name), "nothing", allowed);
    }
}

/// Something must be said on at least one of the platforms.
fn check_content(payload: &Object, place: Place<'_>, report: &mut Report) {
    let Some(content) = payload.get("payload").and_then(Value::as_object) else { return };
    let mut targeted = targeted(payload).peekable();
    if targeted.peek().is_some() && !targeted.any(|platform| content.contains_key(platform)) {
        let allowed = "content for each platform of targetPlatform";
        report.add(place.member("payload"), "content for no targeted platform", allowed);
    }
}

fn targeted(payload: &Object) -> impl Iterator<Item = &'static str> {
    let list = payload.get("targetPlatform").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    PLATFORMS.into_iter().filter(|platform| list.iter().any(|item| item == platform))
}

/// Things worth knowing that break no rule.
pub(super) fn warnings(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    unknown_members(&[BODY, CREDENTIALS], payload, place, &mut report);
    warn_content(payload, place, &mut report);
    let name = payload.get("campaignName").and_then(Value::as_str);
    if name.is_some_and(|name| name.contains('|')) {
        let allowed = "a name without it: the signature joins its parts by pipes";
        report.add_from(CAUTION, place.member("campaignName"), "a pipe", allowed);
    }
    report
}

fn warn_content(payload: &Object, place: Place<'_>, report: &mut Report) {
    let Some(content) = payload.get("payload").and_then(Value::as_object) else { return };
    let at = place.member("payload");
    let targeted: Vec<_> = targeted(payload).collect();
    for platform in PLATFORMS {
        match (targeted.contains(&platform), content.contains_key(platform)) {
            (true, false) => report.add(at.member(platform), "nothing", "content for a targeted platform"),
            (false, true) => {
                report.add(at.member(platform), "content", "nothing: the platform is not targeted");
            }
            (true, true) | (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests;
