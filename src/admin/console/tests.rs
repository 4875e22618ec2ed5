use std::collections::BTreeMap;
use std::sync::Mutex as StdMutex;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::config::Secret;
use crate::ports::{Pause, PauseCause};

const TOKEN: &str = "0123456789abcdef";

/// Two accounts that are looked at and paused.
#[derive(Default)]
struct Fake {
    paused: StdMutex<BTreeMap<String, Wish>>,
    looks: StdMutex<u32>,
}

#[async_trait]
impl Desk for Fake {
    async fn look(&self) -> anyhow::Result<Picture> {
        *self.looks.lock().unwrap() += 1;
        let at = Timestamp::UNIX_EPOCH;
        Ok(Picture {
            at,
            broker: true,
            store: true,
            dead: None,
            delayed: None,
            accounts: vec![],
            problems: vec![],
        })
    }

    async fn fulfil(&self, wish: Wish, account: &str) -> anyhow::Result<Option<Vec<Left>>> {
        if account != "shop" {
            return Ok(None);
        }
        self.paused.lock().unwrap().insert(account.to_owned(), wish);
        let pause = Pause { cause: PauseCause::Operator, wait: Duration::from_secs(1) };
        Ok(Some(if wish == Wish::Pause { vec![(None, pause)] } else { vec![] }))
    }

    fn config(&self) -> Arc<Config> {
        let environment = crate::config::Environment::default();
        Arc::new(crate::config::load_text("", None, &environment, &crate::providers::ALL).unwrap().config)
    }

    fn letters(&self) -> anyhow::Result<Arc<dyn DeadLetters>> {
        anyhow::bail!("no letters here")
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        unreachable!("nothing is replayed")
    }
}

struct Page {
    router: TowerToHyperService<Router>,
    desk: Arc<Fake>,
}

type Headers<'a> = &'a [(&'a str, &'a str)];

const OWN: (&str, &str) = ("paceline-console", "1");

impl Page {
    fn new() -> Self {
        let desk = Arc::new(Fake::default());
        let config = ConsoleConfig { token: Secret::new(TOKEN), dropped: None };
        let console = Console { config, desk: desk.clone() };
        let (router, _) = start(console, crate::metrics::tests_handle());
        Self { router: TowerToHyperService::new(router), desk }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: Value,
    ) -> (u16, HeaderMap, String) {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.router.call(request.body(body).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(text.to_vec()).unwrap())
    }

    async fn get(&self, path: &str, headers: Headers<'_>) -> (u16, HeaderMap, String) {
        self.ask(Method::GET, path, headers, Value::Null).await
    }

    async fn post(&self, path: &str, headers: Headers<'_>, body: Value) -> u16 {
        self.ask(Method::POST, path, headers, body).await.0
    }

    /// The cookie of a new session.
    async fn signed_in(&self) -> String {
        let (status, headers, _) =
            self.ask(Method::POST, "/console/session", &[OWN], json!({ "token": TOKEN })).await;
        assert_eq!(status, 204);
        let cookie = headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=28800"] {
            assert!(cookie.split("; ").any(|found| found == part), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn every_answer_has_the_strict_headers() {
    let page = Page::new();
    let bearer = format!("Bearer {TOKEN}");
    for (path, headers, expected) in [
        ("/console", &[][..], 200),
        ("/console/page.css", &[], 200),
        ("/console/page.js", &[], 200),
        ("/console/elsewhere", &[], 404),
        ("/console/api/overview", &[], 401),
        ("/console/api/elsewhere", &[], 401),
        ("/console/session", &[], 405),
        ("/console/api/overview", &[("authorization", bearer.as_str())], 200),
    ] {
        let (status, headers, _) = page.get(path, headers).await;
        assert_eq!(status, expected, "{path}");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src \
                 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(headers.get(name).map(|value| value.to_str().unwrap()), Some(value), "{path}");
        }
    }
}

#[tokio::test]
async fn who_has_not_signed_in_sees_and_does_nothing() {
    let page = Page::new();
    let wrong = [("authorization", "Bearer 0123456789abcdee")];
    let made_up = [("cookie", "paceline_session=0123456789abcdef"), OWN];
    for headers in [&[][..], &[OWN], &wrong, &made_up] {
        assert_eq!(page.get("/console/api/overview", headers).await.0, 401, "{headers:?}");
        let body = json!({ "account": "shop" });
        assert_eq!(page.post("/console/api/pause", headers, body).await, 401, "{headers:?}");
    }
    assert!(page.desk.paused.lock().unwrap().is_empty());
    assert_eq!(*page.desk.looks.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_session_begins_with_the_token_and_ends() {
    let page = Page::new();
    assert_eq!(page.post("/console/session", &[OWN], json!({ "token": "wrong" })).await, 401);
    assert_eq!(page.post("/console/session", &[], json!({ "token": TOKEN })).await, 403);
    let cookie = page.signed_in().await;
    assert!(!cookie.contains(TOKEN));
    let session = [("cookie", cookie.as_str()), OWN];
    assert_eq!(page.get("/console/api/overview", &session).await.0, 200);
    assert_eq!(page.post("/console/session/end", &session, json!({})).await, 204);
    assert_eq!(page.get("/console/api/overview", &session).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_slowed_and_then_refused() {
    let page = Page::new();
    let cookie = page.signed_in().await;
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(page.post("/console/session", &[OWN], json!({ "token": "wrong" })).await, 401);
    }
    assert!(began.elapsed() >= WRONG * 10);
    let (status, headers, _) =
        page.ask(Method::POST, "/console/session", &[OWN], json!({ "token": TOKEN })).await;
    assert!(status == 429 && headers.contains_key("retry-after"));
    assert_eq!(page.get("/console/api/overview", &[("cookie", &cookie)]).await.0, 200);
    tokio::time::advance(Duration::from_secs(61)).await;
    page.signed_in().await;
}

#[tokio::test]
async fn another_page_changes_nothing() {
    let page = Page::new();
    let cookie = page.signed_in().await;
    let session = ("cookie", cookie.as_str());
    let body = json!({ "account": "shop" });
    for headers in [
        &[session][..],
        &[session, OWN, ("host", "ops:9464"), ("origin", "http://evil:9464")],
        &[session, OWN, ("sec-fetch-site", "cross-site")],
    ] {
        assert_eq!(page.post("/console/api/pause", headers, body.clone()).await, 403, "{headers:?}");
    }
    assert!(page.desk.paused.lock().unwrap().is_empty());
    let own = [session, OWN, ("host", "ops:9464"), ("origin", "http://ops:9464")];
    assert_eq!(page.post("/console/api/pause", &own, body.clone()).await, 200);
    assert_eq!(page.desk.paused.lock().unwrap()["shop"], Wish::Pause);
    let bearer = [("authorization", "Bearer 0123456789abcdef")];
    assert_eq!(page.post("/console/api/resume", &bearer, body).await, 200, "a program needs its token only");
    assert_eq!(page.desk.paused.lock().unwrap()["shop"], Wish::Resume);
    assert_eq!(page.post("/console/api/pause", &own, json!({ "account": "other" })).await, 404);
    assert_eq!(page.post("/console/api/pause", &own, json!("x".repeat(MOST_BODY))).await, 413);
}

#[tokio::test(start_paused = true)]
async fn many_pages_ask_broker_and_store_once() {
    let page = Page::new();
    let cookie = page.signed_in().await;
    for _ in 0..20 {
        assert_eq!(page.get("/console/api/overview", &[("cookie", &cookie)]).await.0, 200);
    }
    assert_eq!(*page.desk.looks.lock().unwrap(), 1);
    tokio::time::advance(FRESH).await;
    page.get("/console/api/overview", &[("cookie", &cookie)]).await;
    assert_eq!(*page.desk.looks.lock().unwrap(), 2);
}

#[tokio::test]
async fn work_on_dead_letters_is_told_to_its_end() {
    let page = Page::new();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let ask = async |body: Value| page.ask(Method::POST, "/console/api/dead", &headers, body).await;
    let (status, _, text) = ask(json!({"what": "list"})).await;
    let work: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &work["state"], &work["error"]), (200, &json!("failed"), &json!("no letters here")));
    let again = page.get("/console/api/dead/1", &headers).await;
    assert_eq!((again.0, again.2), (200, text));
    assert_eq!(ask(json!({"what": "drop", "all": true})).await.0, 422);
    assert_eq!(ask(json!({"what": "burn"})).await.0, 422);
    assert_eq!(page.get("/console/api/dead/9", &headers).await.0, 404);
    assert_eq!(page.post("/console/api/dead/1/stop", &headers, Value::Null).await, 404);
    assert_eq!(page.post("/console/api/dead", &[], json!({"what": "list"})).await, 401);
}

#[test]
fn the_page_takes_nothing_from_elsewhere_and_makes_no_markup() {
    let [html, css, js] = [include_str!("page.html"), include_str!("page.css"), include_str!("page.js")];
    for (text, name) in [(html, "html"), (css, "css"), (js, "js")] {
        let outside = text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !outside.contains("http:") && !outside.contains("https:") && !outside.contains("//cdn"),
            "{name}"
        );
    }
    for sink in ["insertAdjacentHTML", "outerHTML", "document.write", "eval(", "new Function", "innerHTML ="]
    {
        assert!(!js.contains(sink), "{sink}");
    }
    for inline in ["onclick", "onload", "style=", "<style", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
}
