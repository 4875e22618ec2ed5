use std::time::Duration;

use serde_json::json;

use super::*;
use crate::providers::Gateway;
use crate::providers::moengage::tests::{campaign_job, gateway};

const OPERATIONS: [&str; 2] = ["updateCampaign", "searchCampaigns"];

fn payload(operation: &str) -> Value {
    if operation == "updateCampaign" {
        json!({
            "campaign_id": "64a1b2c3d4e5", "request_id": "r-1", "updated_by": "john.doe@abc.com",
            "basic_details": {"name": "The secret name"},
        })
    } else {
        json!({
            "request_id": "r-1", "limit": 15, "page": 1,
            "campaign_fields": {"created_by": ["john.doe@abc.com"], "name": "The secret name"},
        })
    }
}

fn judge(operation: &str, answer: &WireAnswer) -> Verdict {
    let gateway = gateway();
    let planned = gateway.plan(&campaign_job(operation, payload(operation))).unwrap();
    gateway.verdict(&[planned[0].as_ref().unwrap()], answer, false)
}

fn http(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> WireAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    WireAnswer::Response { status, headers, body: body.into().into() }
}

#[test]
fn what_never_got_an_answer() {
    for operation in OPERATIONS {
        let not_sent = judge(operation, &WireAnswer::NotSent("dns".into()));
        assert_eq!(not_sent, Verdict::NotSent { cause: "dns".into() });
        let lost = judge(operation, &WireAnswer::Lost("reset".into()));
        assert_eq!(lost, Verdict::Unknown { cause: "reset".into(), fault: false });
    }
}

#[test]
fn an_update_s_success_is_never_parsed() {
    for (status, body) in [(204, ""), (200, "[]"), (200, "<html>"), (202, r#"{"error": {"message": "x"}}"#)] {
        let verdict = judge("updateCampaign", &http(status, &[], body));
        let campaign = Some("64a1b2c3d4e5".to_owned());
        let acceptance = Acceptance { message_code: campaign, ..Acceptance::default() };
        assert_eq!(verdict, Verdict::Accepted(vec![acceptance]), "{status} {body}");
    }
}

#[test]
fn a_search_s_answer_comes_back_whole() {
    for found in [
        json!([]),
        json!([{"campaign_id": "64a1", "status": "Active", "created_by": "john.doe@abc.com", "deep": [[{"a": null}]]}]),
        json!({"message": {"total": 2}, "campaigns": []}),
    ] {
        let Verdict::Accepted(list) = judge("searchCampaigns", &http(200, &[], found.to_string())) else {
            panic!("{found}")
        };
        assert_eq!(list[..], [Acceptance { response: Some(Json::of(&found)), ..Acceptance::default() }]);
    }
}

#[test]
fn a_search_s_answer_that_can_not_be_read_is_unknown_and_one_cut_off_asks_for_less() {
    for body in ["", "<html>", "null", "5", "\"x\"", "[{\"campaign_id\": "] {
        let Verdict::Unknown { fault: false, .. } = judge("searchCampaigns", &http(200, &[], body)) else {
            panic!("{body}")
        };
    }
    let cut = || [b"[\"".to_vec(), vec![b'a'; MOST_ANSWER_BYTES - 2]].concat();
    let Verdict::Refused { reason } = judge("searchCampaigns", &http(200, &[], cut())) else { panic!() };
    let most = MOST_ANSWER_BYTES >> 20;
    let expected = format!("the answer is larger than {most} MiB; ask for less of it by a smaller limit");
    assert_eq!(reason, expected);
    let mut whole = cut();
    whole.truncate(MOST_ANSWER_BYTES - 2);
    whole.extend(b"\"]");
    assert_eq!(judge("searchCampaigns", &http(200, &[], whole)).label(), "accepted");
}

#[test]
fn errors_of_the_service() {
    // The samples of MoEngage's documents.
    let missing = json!({"error": {
        "code": "400 Bad Request", "message": "request_id key is mandatory field", "target": "request_id",
        "details": [{"target": "request_id", "message": "request_id key is mandatory field"}], "request_id": "11",
    }});
    let credentials = |message: Value| {
        json!({"error": {
            "code": "401 Authentication error", "message": "Authentication required",
            "details": [{"code": "InvalidValue", "target": "APP_SECRET_KEY", "message": message}], "request_id": "",
        }})
    };
    let sentence = json!("Invalid APP_SECRET_KEY is provided.");
    let nested = json!([{"code": "InvalidValue", "target": "APP_SECRET_KEY", "message": sentence}]);
    let wrong_key = "HTTP 401: Authentication required; APP_SECRET_KEY: Invalid APP_SECRET_KEY is provided.";
    let throttled = json!({"error": {"code": "429 conflict", "message": "rate_limit"}});
    let broken = json!({"error": {
        "code": "500 Internal Server Error", "message": "Something went wrong. Please contact Moengage team",
        "target": "string", "details": [{"message": "Expecting value: line 1 column 1 (char 0)", "target": ""}],
    }});
    let wait = Some(Duration::from_secs(7));
    for (status, body, expected) in [
        (400, missing, Verdict::Refused { reason: "HTTP 400: request_id key is mandatory field".into() }),
        (401, credentials(sentence), Verdict::Misconfigured { cause: wrong_key.into() }),
        (401, credentials(nested), Verdict::Misconfigured { cause: wrong_key.into() }),
        (
            404,
            json!({"code": 404, "status": "error", "reason": "no such path"}),
            Verdict::Misconfigured { cause: "HTTP 404: no such path".into() },
        ),
        (404, json!({"error": "Not Found"}), Verdict::Misconfigured { cause: "HTTP 404: Not Found".into() }),
        (404, json!("<html>"), Verdict::Misconfigured { cause: "HTTP 404".into() }),
        (429, throttled, Verdict::Throttled { retry_after: wait }),
        (
            500,
            broken,
            Verdict::Unknown {
                cause: "HTTP 500: Something went wrong. Please contact Moengage team; \
                        Expecting value: line 1 column 1 (char 0)"
                    .into(),
                fault: true,
            },
        ),
        (503, json!(null), Verdict::Failed { cause: "HTTP 503".into(), retry_after: wait }),
        (403, json!([]), Verdict::Misconfigured { cause: "HTTP 403".into() }),
    ] {
        for operation in OPERATIONS {
            let answer = http(status, &[("x-ratelimit-reset", "7")], body.to_string());
            assert_eq!(judge(operation, &answer), expected, "{operation} {body}");
        }
    }
}

#[test]
fn only_an_update_names_something_that_there_may_not_be() {
    let unknown = json!({"error": {"code": "NOT_FOUND", "message": "Campaign not found.", "details": []}});
    let said = "HTTP 404: NOT_FOUND; Campaign not found.".to_owned();
    let answer = http(404, &[], unknown.to_string());
    assert_eq!(judge("updateCampaign", &answer), Verdict::Refused { reason: said.clone() });
    assert_eq!(judge("searchCampaigns", &answer), Verdict::Misconfigured { cause: said });
}

#[test]
fn an_error_under_success_is_no_result_of_a_search() {
    for (code, expected) in [
        (json!("429 conflict"), Verdict::Throttled { retry_after: Some(Duration::from_secs(7)) }),
        (json!(429), Verdict::Throttled { retry_after: Some(Duration::from_secs(7)) }),
        (
            json!("401 Authentication error"),
            Verdict::Misconfigured { cause: "an error 401 under HTTP success: no".into() },
        ),
        (json!("403"), Verdict::Misconfigured { cause: "an error 403 under HTTP success: no".into() }),
        (json!("400 Bad Request"), Verdict::Refused { reason: "an error 400 under HTTP success: no".into() }),
        (json!("404 Not Found"), Verdict::Refused { reason: "an error 404 under HTTP success: no".into() }),
        (
            json!("500 Internal Server Error"),
            Verdict::Unknown { cause: "an error 500 under HTTP success: no".into(), fault: true },
        ),
        (
            json!("NOT_FOUND"),
            Verdict::Unknown { cause: "an error under HTTP success: NOT_FOUND; no".into(), fault: false },
        ),
        (
            json!("4290 x"),
            Verdict::Unknown { cause: "an error under HTTP success: 4290 x; no".into(), fault: false },
        ),
        (json!(null), Verdict::Unknown { cause: "an error under HTTP success: no".into(), fault: false }),
    ] {
        let body = json!({"error": {"code": code, "message": "no"}}).to_string();
        let answer = http(200, &[("x-ratelimit-reset", "7")], body);
        assert_eq!(judge("searchCampaigns", &answer), expected, "{code}");
    }
    // A result may have a member of that name that is no error object.
    let answer = http(200, &[], json!({"campaigns": [], "error": null}).to_string());
    assert_eq!(judge("searchCampaigns", &answer).label(), "accepted");
}

#[test]
fn a_huge_error_is_little_work() {
    // Comparing each part with all that was said before, and copying it, would take minutes.
    let text = "a".repeat(1_000_000);
    let details: Vec<String> = (0..4_000).map(|n| format!("{n}{}", &text[..1_000])).collect();
    for details in [json!(details), json!(vec!["same"; 500_000]), json!(vec![vec![json!([])]; 300_000])] {
        let error = json!({"error": {"message": text, "details": details}});
        let cleaned = std::cell::Cell::new(0);
        explanation(400, &error, |text| {
            cleaned.set(cleaned.get() + 1);
            text.chars().take(300).collect()
        });
        assert!(cleaned.get() <= MOST_SENTENCES, "{}", cleaned.get());
        let mut gathered = Gathered::default();
        gathered.add(Some(&error["error"]["details"]), "");
        assert!(gathered.parts <= MOST_PARTS + 1, "{}", gathered.parts);
        let Verdict::Refused { reason } = judge("searchCampaigns", &http(400, &[], error.to_string())) else {
            panic!()
        };
        assert!(reason.chars().count() < 320);
    }
}

#[test]
fn a_sentence_s_cut_leaves_no_part_of_what_was_sent() {
    for blanks in 280..=300 {
        let text = format!("{}john.doe@abc.com", "x ".repeat(blanks / 2));
        let error = json!({"error": {"message": text, "details": ["b"]}});
        let shown = format!("{:?}", judge("updateCampaign", &http(400, &[], error.to_string())));
        assert!(!shown.contains("john"), "{shown}");
    }
}

#[test]
fn an_error_of_any_form_is_read_without_harm() {
    let deep = (0..100).fold(json!("end"), |inner, _| json!({"message": [inner]}));
    for (error, expected) in [
        (json!({}), ""),
        (json!({"message": 5, "details": {"message": "a"}}), "a"),
        (json!({"code": 400, "message": ["a", "b", null], "details": "c"}), "a; b; c"),
        (json!({"message": "", "details": null}), ""),
        (json!({"details": [deep]}), "end"),
        (json!({"details": ["a", "b", "c", "d", "e", "f"]}), "a; b; c; d; e"),
    ] {
        assert_eq!(explanation(400, &json!({"error": error}), str::to_owned), expected, "{error}");
    }
    assert_eq!(explanation(400, &json!([]), str::to_owned), "");
}

#[test]
fn no_secret_and_nothing_that_was_sent_comes_back_in_a_text() {
    let text =
        "campaign-key-1 REVNTzAxX0RFQlVHOmNhbXBhaWduLWtleS0x DEMO01_DEBUG The secret name john.doe@abc.com\n";
    let error =
        json!({"error": {"code": text, "message": "a", "details": [{"target": text, "message": text}]}});
    for operation in OPERATIONS {
        for answer in [
            http(400, &[], error.to_string()),
            http(401, &[], error.to_string()),
            http(404, &[], json!({"reason": text}).to_string()),
            http(500, &[], error.to_string()),
            WireAnswer::Lost(text.into()),
            WireAnswer::NotSent(text.into()),
        ] {
            let shown = format!("{:?}", judge(operation, &answer));
            assert!(shown.contains("[hidden]"), "{shown}");
            for secret in ["campaign-key-1", "REVN", "DEMO01_DEBUG", "secret", "john.doe", "\\n"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
    let echo = json!({"headers": [{"Authorization": format!("Basic {text}")}], "url": "x"}).to_string();
    let shown = format!("{:?}", judge("searchCampaigns", &http(200, &[], echo)));
    assert!(
        shown.contains("[hidden]") && !shown.contains("campaign-key-1") && !shown.contains("REVN"),
        "{shown}"
    );
}
