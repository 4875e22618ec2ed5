use std::time::Duration;

use serde_json::json;

use super::*;
use crate::providers::Gateway;
use crate::providers::pushwoosh::calls::tests::{ALL, delivery, payload};
use crate::providers::pushwoosh::tests::gateway;

const WITHDRAWING: [Call; 2] = [Call::DeleteMessage, Call::CancelMessage];
const READING: [Call; 2] = [Call::GetMessageDetails, Call::GetPushHistory];
const CODE: &str = "XXXX-92B4C3C5-A7F5EF70";

fn judge_with(call: Call, payload: Value, answer: &WireAnswer, after_unknown: bool) -> Verdict {
    gateway().verdict(&[&delivery(call, payload)], answer, after_unknown)
}

fn judge(call: Call, answer: &WireAnswer) -> Verdict {
    judge_with(call, payload(call), answer, false)
}

fn http(status: u16, headers: &[(&str, &str)], body: impl Into<String>) -> WireAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    WireAnswer::Response { status, headers, body: body.into().into() }
}

fn ok(body: &Value) -> WireAnswer {
    http(200, &[], body.to_string())
}

fn reply(code: u64, message: &str) -> WireAnswer {
    ok(&json!({"status_code": code, "status_message": message, "response": null}))
}

fn taken(verdict: Verdict) -> Acceptance {
    match verdict {
        Verdict::Accepted(mut list) if list.len() == 1 => list.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_never_got_an_answer() {
    for call in ALL {
        assert_eq!(
            judge(call, &WireAnswer::NotSent("refused".into())),
            Verdict::NotSent { cause: "refused".into() }
        );
        assert_eq!(
            judge(call, &WireAnswer::Lost("timed out".into())),
            Verdict::Unknown { cause: "timed out".into(), fault: false }
        );
    }
}

#[test]
fn statuses_of_http() {
    let seven = Some(Duration::from_secs(7));
    let rows = [
        (429, Verdict::Throttled { retry_after: seven }),
        (503, Verdict::Failed { cause: "HTTP 503".into(), retry_after: seven }),
        (500, Verdict::Unknown { cause: "HTTP 500".into(), fault: true }),
        (502, Verdict::Unknown { cause: "HTTP 502".into(), fault: true }),
        (400, Verdict::Refused { reason: "HTTP 400".into() }),
        (401, Verdict::Misconfigured { cause: "HTTP 401".into() }),
        (404, Verdict::Misconfigured { cause: "HTTP 404".into() }),
    ];
    for call in ALL {
        for (status, expected) in &rows {
            for body in ["", "<html>", "[]"] {
                let answer = http(*status, &[("retry-after", "7")], body);
                assert_eq!(judge(call, &answer), *expected, "{call:?} {status} {body}");
            }
        }
        let explained = http(500, &[], r#"{"status_code": 500, "status_message": "Internal error"}"#);
        let cause = "HTTP 500: Internal error".to_owned();
        assert_eq!(judge(call, &explained), Verdict::Unknown { cause, fault: true });
    }
}

#[test]
fn statuses_of_the_body() {
    let rows = [
        (200, "accepted"),
        (210, "refused"),
        (401, "misconfigured"),
        (403, "misconfigured"),
        (429, "throttled"),
        (500, "unknown"),
        (503, "unknown"),
        (299, "unknown"),
        (0, "unknown"),
    ];
    for call in ALL {
        for (code, expected) in rows {
            let verdict = judge(call, &reply(code, "text"));
            assert_eq!(verdict.label(), expected, "{call:?} {code}");
            if let Verdict::Unknown { fault, .. } = verdict {
                assert_eq!(fault, code >= 500, "{call:?} {code}");
            }
        }
    }
}

#[test]
fn a_success_that_can_not_be_read_is_unknown() {
    for call in ALL {
        for body in ["", "<html>", "[]", "{}", "null", r#"{"status_code":"#, r#"{"status_code": "200"}"#] {
            let verdict = judge(call, &http(200, &[], body));
            assert!(matches!(verdict, Verdict::Unknown { fault: false, .. }), "{call:?} {body}");
        }
    }
}

#[test]
fn an_answer_that_was_cut_off_is_refused_to_those_who_read() {
    let rows: String = format!("{{\"status_code\": 200, \"response\": \"{}", "x".repeat(MOST_ANSWER_BYTES));
    for (length, reading, withdrawing) in
        [(MOST_ANSWER_BYTES - 1, "unknown", "unknown"), (MOST_ANSWER_BYTES, "refused", "unknown")]
    {
        let cut = http(200, &[], &rows[..length]);
        for call in READING {
            assert_eq!(judge(call, &cut).label(), reading, "{call:?} {length}");
        }
        for call in WITHDRAWING {
            assert_eq!(judge(call, &cut).label(), withdrawing, "{call:?} {length}");
        }
    }
    let Verdict::Refused { reason } = judge(Call::GetPushHistory, &http(200, &[], rows)) else { panic!() };
    assert_eq!(reason, "the answer is larger than 4 MiB; ask for fewer messages at once");
}

#[test]
fn withdrawing_gives_back_what_was_said() {
    for call in WITHDRAWING {
        for body in [
            json!({"status_code": 200, "status_message": "OK"}),
            json!({"status_code": 200, "status_message": "OK", "response": {"rows": []}}),
        ] {
            let acceptance = taken(judge(call, &ok(&body)));
            assert_eq!(acceptance.message_code.as_deref(), Some(CODE));
            assert!(acceptance.unknown_devices.is_empty());
            let told = json!({"status_code": 200, "status_message": "OK"});
            assert_eq!(acceptance.response, Some(Json::of(&told)));
        }
    }
}

#[test]
fn reading_gives_back_the_whole_answer() {
    let details = json!({"status_code": 200, "status_message": "OK", "response": {"message": {
        "id": 2068991743, "created": "2016-09-14 17:19:42", "status": "done",
        "content": {"en": "Hello {Name|CapitalizeFirst|friend}! \u{1f680}\n"}, "platforms": "[1]",
        "ignore_user_timezone": "1", "code": CODE, "data": {"key": "value"},
    }}});
    let history = json!({"status_code": 200, "status_message": "OK", "response": {"rows": [
        {"id": 10191611434_u64, "content": {"en": "Hi"}, "title": [], "open": {"C90C0-0E786": {"IOS": 0}},
         "ctr": {"C90C0-0E786": 0.1}, "errors": "", "url": null, "subscription_segments": {"2D732": "News"}},
        {"id": 0, "content": [], "open": "", "sent": "", "ctr": "", "data": null},
    ]}});
    let bare = [
        json!({"status_code": 200}),
        json!({"status_code": 200, "status_message": null, "response": null}),
        json!({"status_code": 200, "status_message": "OK", "response": []}),
        json!({"status_code": 200, "status_message": "OK", "response": {"rows": []}, "more": 1}),
    ];
    for call in READING {
        for body in bare.iter().chain([&details, &history]) {
            let acceptance = taken(judge(call, &ok(body)));
            assert_eq!(acceptance.message_code, None);
            // As texts: nothing is left out, added, or put in another order.
            assert_eq!(acceptance.response, Some(Json::of(body)), "{call:?}");
        }
    }
}

#[test]
fn our_token_is_masked_wherever_it_comes_back() {
    let body = json!({"status_code": 200, "status_message": "token-of-the-shop", "response": {"rows": [
        {"content": {"en": "say token-of-the-shop twice token-of-the-shop"}, "token-of-the-shop": 1},
    ]}});
    for call in READING {
        let expected = json!({"status_code": 200, "status_message": "[hidden]", "response": {"rows": [
            {"content": {"en": "say [hidden] twice [hidden]"}, "[hidden]": 1},
        ]}});
        assert_eq!(taken(judge(call, &ok(&body))).response, Some(Json::of(&expected)));
    }
}

#[test]
fn argument_errors() {
    for call in ALL {
        for text in ["Message not found", "Access denied or application not found", "Invalid argument"] {
            assert_eq!(judge(call, &reply(210, text)), Verdict::Refused { reason: text.into() }, "{call:?}");
        }
        let silent = ok(&json!({"status_code": 210, "status_message": null}));
        let Verdict::Refused { reason } = judge(call, &silent) else { panic!("{call:?}") };
        assert!(!reason.is_empty());
    }
}

#[test]
fn argument_errors_that_speak_of_the_limit_throttle() {
    for call in ALL {
        for after_unknown in [false, true] {
            let judge = |text| judge_with(call, payload(call), &reply(210, text), after_unknown);
            assert_eq!(judge("Requests limit exceeded"), Verdict::Throttled { retry_after: None });
            assert_eq!(judge("Invalid limitMessages").label(), "refused", "{call:?}");
        }
        let body = json!({"status_code": 210, "status_message": "Too many requests"}).to_string();
        let wait = Verdict::Throttled { retry_after: Some(Duration::from_secs(5)) };
        assert_eq!(judge(call, &http(200, &[("retry-after", "5")], body)), wait);
    }
}

#[test]
fn what_a_producer_wrote_is_not_taken_for_the_provider_s_words() {
    let text = "Message 'deleted: too many requests' is invalid";
    for call in WITHDRAWING {
        let payload = json!({"message": "deleted: too many requests"});
        for after_unknown in [false, true] {
            let verdict = judge_with(call, payload.clone(), &reply(210, text), after_unknown);
            assert_eq!(verdict.label(), "refused", "{call:?} {after_unknown}");
        }
    }
}

#[test]
fn a_producer_s_words_neither_make_nor_unmake_a_message_that_is_gone() {
    for (note, text, expected) in [
        ("was deleted", "Invalid note: was deleted", "refused"),
        ("already sent", "Message already sent or not found", "refused"),
        ("rate limit", "Unknown note \"rate limit\"", "refused"),
        ("rate limit", "Rate limit exceeded", "throttled"),
    ] {
        for call in WITHDRAWING {
            let verdict = judge_with(call, json!({"message": CODE, "note": note}), &reply(210, text), true);
            assert_eq!(verdict.label(), expected, "{call:?} {text}");
        }
    }
}

/// What may be answered to a second attempt, and whether it says that the first one did it.
const SECOND_ANSWERS: [(&str, bool); 42] = [
    ("Message not found", true),
    ("message XXXX-92B4C3C5-A7F5EF70 not found.", true),
    ("Message does not exist", true),
    ("Message doesn\u{2019}t exist", true),
    ("No such message", true),
    ("Message already deleted", true),
    ("Message has already been deleted", true),
    ("Message is already canceled", true),
    ("Can't cancel: already cancelled", true),
    ("Message was deleted", true),
    ("Message is cancelled", true),
    ("Status: deleted", false),
    ("No message in status pending, waiting or processing", false),
    ("Message not found among pending, waiting or processing messages", false),
    ("No message in a cancelable state", false),
    ("Message does not exist or was already pushed", false),
    ("Message may be deleted while scheduled", false),
    ("No message", false),
    ("Message already sent", false),
    ("Message not found or already sent", false),
    ("You can't delete messages that have already been sent out", false),
    ("Message is done", false),
    ("Message already delivered", false),
    ("Message is sending now", false),
    ("Message can't be deleted", false),
    ("Message can\u{2019}t be cancelled", false),
    ("Message cannot be canceled", false),
    ("Message was not deleted", false),
    ("Unable to cancel: only scheduled messages can be cancelled", false),
    ("Can't be deleted: it is already being pushed", false),
    ("Message is already processing", false),
    ("Message must be in the status pending, waiting or processing", false),
    ("Only messages in the status pending may be canceled", false),
    ("Access denied or application not found", false),
    ("Account not found", false),
    ("Token not found", false),
    ("Method not found", false),
    ("Invalid message", false),
    ("Cancel failed", false),
    ("Message consent not given", false),
    ("Unknown error", false),
    ("", false),
];

#[test]
fn after_an_unknown_outcome_a_refusal_may_be_a_success() {
    for call in WITHDRAWING {
        for (text, gone) in SECOND_ANSWERS {
            match judge_with(call, payload(call), &reply(210, text), true) {
                Verdict::AcceptedBefore(acceptance) => {
                    assert!(gone, "{call:?} {text}");
                    assert_eq!(acceptance.message_code.as_deref(), Some(CODE));
                    let expected = json!({"status_code": 210, "status_message": text});
                    assert_eq!(acceptance.response, Some(Json::of(&expected)));
                }
                Verdict::Refused { reason } => {
                    assert!(!gone, "{call:?} {text}");
                    assert!(reason.starts_with(text) && reason.contains("an earlier attempt may have"));
                }
                other => panic!("{other:?}"),
            }
            let Verdict::Refused { reason } = judge(call, &reply(210, text)) else { panic!("{text}") };
            assert!(!reason.contains("earlier attempt"), "{reason}");
        }
    }
}

#[test]
fn reading_again_is_judged_like_reading_once() {
    for call in READING {
        for (text, _) in SECOND_ANSWERS {
            let again = judge_with(call, payload(call), &reply(210, text), true);
            assert_eq!(again, judge(call, &reply(210, text)), "{call:?} {text}");
        }
    }
}

#[test]
fn texts_for_people_hold_no_secret_and_nothing_that_was_written_freely() {
    let text = "bad token-of-the-shop for free-text and searched-for\n\u{1b}[31m";
    let given = |call| match call {
        Call::DeleteMessage | Call::CancelMessage | Call::GetMessageDetails => {
            json!({"message": CODE, "note": {"deep": ["free-text", "searched-for"]}})
        }
        Call::GetPushHistory => {
            json!({"searchBy": "campaignCode", "value": "searched-for", "note": "free-text"})
        }
    };
    for call in ALL {
        for answer in [
            reply(210, text),
            reply(299, text),
            reply(401, text),
            http(400, &[], json!({"status_code": 1, "status_message": text}).to_string()),
            WireAnswer::NotSent(text.into()),
            WireAnswer::Lost(text.into()),
        ] {
            for after_unknown in [false, true] {
                let shown = format!("{:?}", judge_with(call, given(call), &answer, after_unknown));
                for secret in ["token-of-the-shop", "free-text", "searched-for", "\\u{1b}", "\\n"] {
                    assert!(!shown.contains(secret), "{shown}");
                }
            }
        }
        let named = reply(210, "Message XXXX-92B4C3C5-A7F5EF70 is unknown");
        assert!(format!("{:?}", judge(call, &named)).contains(CODE), "the code helps and is no secret");
    }
}
