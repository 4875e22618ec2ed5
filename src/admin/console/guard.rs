//! What stands before every request of the console: its answers' headers, who asks, and from where.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::access::{Access, Denied, SESSION};
use super::{Shared, refused};

/// The cookie that holds a session's id.
const COOKIE: &str = "paceline_session";

/// A header that no page of another origin can send unasked; every change needs it, but for programs
/// that show the token.
const OWN: HeaderName = HeaderName::from_static("paceline-console");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// On every answer, refusals included.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets through who has signed in, or shows the token.
pub(super) async fn known(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    match bearer(headers) {
        Some(token) => {
            if let Err(why) = shared.access.check(token, Instant::now()) {
                return denied(why);
            }
        }
        None if !has_session(&shared.access, headers) => {
            return refused(StatusCode::UNAUTHORIZED, "sign in first");
        }
        None if request.method() != Method::GET && !is_own(headers) => return foreign(),
        None => {}
    }
    next.run(request).await
}

/// Why a token does not open the console.
pub(super) fn denied(why: Denied) -> Response {
    match why {
        Denied::Wrong => refused(StatusCode::UNAUTHORIZED, "that is not the token"),
        Denied::TooMany(wait) => {
            let seconds = wait.as_secs() + 1;
            let text = format!("too many wrong tokens; the next one is looked at in {seconds} s");
            let mut response = refused(StatusCode::TOO_MANY_REQUESTS, &text);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

/// The answer to a change that another page may have asked for.
pub(super) fn foreign() -> Response {
    refused(StatusCode::FORBIDDEN, "a change is asked for by the console's own page, or with the token")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn has_session(access: &Access, headers: &HeaderMap) -> bool {
    session(headers).is_some_and(|id| access.is_session(id, Instant::now()))
}

/// The id of the session that a request names.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, id)| id)
}

/// Whether a request comes from the console's own page.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    let is_here =
        |origin: &str| origin.split_once("://").is_some_and(|(_, place)| place.eq_ignore_ascii_case(host));
    headers.contains_key(OWN)
        && text(header::ORIGIN).is_none_or(is_here)
        && text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin")
}

/// The answer that begins a session, or with no id ends it.
pub(super) fn with_cookie(id: Option<&str>) -> Response {
    let (id, age) = id.map_or(("", 0), |id| (id, SESSION.as_secs()));
    let cookie = format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/console; Max-Age={age}");
    ([(header::SET_COOKIE, cookie)], StatusCode::NO_CONTENT).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_change_is_asked_for_by_the_page_itself() {
        let (own, host) = (("paceline-console", "1"), ("host", "Ops:9464"));
        let cases: [(&[(&str, &str)], bool); 8] = [
            (&[own, host], true),
            (&[own, host, ("origin", "http://ops:9464")], true),
            (&[own, host, ("origin", "http://ops:9464"), ("sec-fetch-site", "same-origin")], true),
            (&[host, ("origin", "http://ops:9464")], false),
            (&[own, host, ("origin", "http://evil")], false),
            (&[own, host, ("origin", "null")], false),
            (&[own, host, ("origin", "http://ops:80")], false),
            (&[own, host, ("sec-fetch-site", "cross-site")], false),
        ];
        for (list, expected) in cases {
            let list: Vec<_> = list.iter().map(|(n, v)| (leaked(n), leaked(v))).collect();
            assert_eq!(is_own(&headers(&list)), expected, "{list:?}");
        }
    }

    fn leaked(text: &str) -> &'static str {
        Box::leak(text.to_owned().into_boxed_str())
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        for (cookie, expected) in [
            ("paceline_session=a", Some("a")),
            ("x=y; paceline_session=a; z", Some("a")),
            ("xpaceline_session=a", None),
            ("", None),
        ] {
            assert_eq!(session(&headers(&[("cookie", leaked(cookie))])), expected, "{cookie}");
        }
    }
}
