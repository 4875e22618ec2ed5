//! What a payload of the campaign API must keep to before anything is sent.

use serde_json::Value;

use super::fields::{CREATED, FILTERS, SEARCH, UPDATE, UPDATE_PATH, Word, day};
use crate::job::{Finding, Object};
use crate::providers::account::{CREDENTIALS, refuse_credentials};
use crate::providers::shape::{Member, Place, Report, check_members, unknown_members};

/// The document behind the rules.
const SOURCE: &str = "MoEngage campaigns API";

/// The source of what the campaign's id must be: the document calls it a text and nothing more.
const PATH_SOURCE: &str = "MoEngage campaigns API, and RFC 3986 for one segment of an address";

/// The most warnings for the words of one list: there are hardly more words.
const MOST_WORD_WARNINGS: usize = 10;

/// Checks an `updateCampaign` payload; all findings at once. The inside of its blocks is the
/// provider's to judge.
pub(in crate::providers::moengage) fn check_update(payload: &Object) -> Vec<Finding> {
    let mut path = Report::new(PATH_SOURCE);
    check_members(UPDATE_PATH, payload, Place::Payload, &mut path);
    let mut findings = path.into_findings();
    findings.extend(check_body(UPDATE, payload).into_findings());
    findings
}

/// Checks a `searchCampaigns` payload; all findings at once.
pub(in crate::providers::moengage) fn check_search(payload: &Object) -> Vec<Finding> {
    let mut report = check_body(SEARCH, payload);
    check_order_of_days(payload, &mut report);
    report.into_findings()
}

fn check_body(table: &[Member], payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    refuse_credentials(payload, Place::Payload, &mut report);
    check_members(table, payload, Place::Payload, &mut report);
    report
}

fn check_order_of_days(payload: &Object, report: &mut Report) {
    let Some(created) =
        object(payload, "campaign_fields").and_then(|filters| object(filters, "created_date"))
    else {
        return;
    };
    let of = |name: &str| created.get(name).and_then(Value::as_str).and_then(day);
    if let (Some(from), Some(to)) = (of("from_date"), of("to_date"))
        && from > to
    {
        let place = Place::Payload.member("campaign_fields");
        let place = place.member("created_date");
        report.add(place.member("to_date"), "a day before from_date", "from_date, or a later day");
    }
}

/// Things worth knowing about an `updateCampaign` payload that break no rule.
pub(in crate::providers::moengage) fn warn_update(payload: &Object) -> Vec<Finding> {
    let mut report = Report::new(SOURCE);
    unknown_members(&[UPDATE_PATH, UPDATE, CREDENTIALS], payload, Place::Payload, &mut report);
    report.into_findings()
}

/// Things worth knowing about a `searchCampaigns` payload that break no rule.
pub(in crate::providers::moengage) fn warn_search(payload: &Object) -> Vec<Finding> {
    let mut report = Report::new(SOURCE);
    unknown_members(&[SEARCH, CREDENTIALS], payload, Place::Payload, &mut report);
    if let Some(filters) = object(payload, "campaign_fields") {
        let at = Place::Payload.member("campaign_fields");
        unknown_members(&[FILTERS], filters, at, &mut report);
        for word in Word::ALL {
            warn_words(word, filters, at.member(word.member()), &mut report);
        }
        if let Some(created) = object(filters, "created_date") {
            warn_days(created, at.member("created_date"), &mut report);
        }
    }
    report.into_findings()
}

fn warn_words(word: Word, filters: &Object, place: Place<'_>, report: &mut Report) {
    let list = filters.get(word.member()).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let known = list.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_str()?)));
    let other =
        known.filter_map(|(index, text)| Some((index, word.written(text).filter(|one| *one != text)?)));
    for (index, written) in other.take(MOST_WORD_WARNINGS) {
        let allowed = format!("{written}, which is what is sent");
        report.add(place.item(index), "the word in another spelling", allowed);
    }
}

fn warn_days(created: &Object, place: Place<'_>, report: &mut Report) {
    unknown_members(&[CREATED], created, place, report);
    for member in CREATED {
        let text = created.get(member.name).and_then(Value::as_str);
        if text.is_some_and(|text| day(text).is_some_and(|day| day.to_string() != text)) {
            let allowed = "YYYY-MM-DD, which is what is sent";
            report.add(place.member(member.name), "a day written DD-MM-YYYY", allowed);
        }
    }
}

fn object<'a>(parent: &'a Object, name: &str) -> Option<&'a Object> {
    parent.get(name).and_then(Value::as_object)
}
