//! What a person sees and does.

use paceline::simulator::faults::FaultPlan;
use serde_json::{Value, json};

use super::browser::Browser;
use super::support::jobs::{counted_job, exempt_job};
use super::support::world::{Options, World};

const TOKEN: &str = "a-token-for-the-console";

const INJECTION: &str = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>";

async fn signed_in(world: &World) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/console", world.workers[0].admin)).await;
    browser.until("!document.querySelector('#sign-in').hidden").await;
    browser.write("#token", TOKEN).await;
    browser.click("#sign-in button").await;
    browser.until("document.querySelectorAll('article').length > 0").await;
    browser
}

/// Nothing was forbidden, and no script failed; to be told that one has to sign in is no failure.
async fn is_content(browser: &Browser) {
    let complaints = browser.complaints().await;
    let bad: Vec<&String> = complaints.iter().filter(|line| !line.contains("status of 401")).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(browser.run("return window.hacked === undefined").await, true);
}

/// No part of the page is wider than the page.
async fn fits(browser: &Browser) {
    let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.run(wide).await, 0);
}

fn refused(id: &str) -> Value {
    let mut job = exempt_job(id);
    job["payload"]["notifications"][0]["content"] = format!("faulty {INJECTION}").into();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_paused_and_dead_letters_are_worked_with() {
    let mut world = World::with(Options { embedded: false, ..Options::default() }).await;
    let kept = tempfile::tempdir().expect("a folder");
    let folder: &'static str = kept.path().display().to_string().leak();
    world.set_environment(vec![
        ("PACELINE__ADMIN__CONSOLE", TOKEN),
        ("PACELINE__ADMIN__CONSOLE_DROPPED", folder),
    ]);
    world.start_worker().await;
    let mut invalid = counted_job("invalid", "normal");
    invalid["payload"]["notifications"][0]["send_date"] = INJECTION.into();
    world.publish(&[refused("r-1"), refused("r-2"), refused("r-3"), invalid, exempt_job("well")]).await;
    world.settle().await;

    let browser = signed_in(&world).await;
    browser.until("document.querySelectorAll('article').length === 2").await;
    browser.until("document.querySelectorAll('article.healthy').length === 2").await;
    let pause = "article[aria-labelledby=account-shop] button.main";
    browser.click(pause).await;
    browser.until("document.querySelector('#ask').open").await;
    browser.click("#ask-yes").await;
    browser.until("document.querySelector('article.paused h3')?.textContent === 'shop'").await;
    browser.until("document.querySelector('.note').textContent.includes('operator')").await;
    browser.until("document.querySelector('article.paused button.main').textContent === 'Resume'").await;
    browser.click(pause).await;
    browser.click("#ask-yes").await;
    browser.until("document.querySelectorAll('article.healthy').length === 2").await;

    browser.click("#search button").await;
    browser.until("document.querySelectorAll('#letters tbody tr').length === 4").await;
    browser.run("document.querySelector('#dead-title').scrollIntoView()").await;
    browser.picture("dead-letters").await;
    browser.write("#by-detail", "SEND_DATE").await;
    browser.click("#search button").await;
    browser.until("document.querySelectorAll('#letters tbody tr').length === 1").await;
    browser.click("#letters tbody button").await;
    browser.until("document.querySelector('#letter').open").await;
    browser.until("document.querySelector('#letter pre').textContent.includes('<img src=x onerror=')").await;
    browser.picture("dead-letter").await;
    assert_eq!(
        browser.run("return document.querySelectorAll('main img, dialog img, main script').length").await,
        0
    );
    browser.click("#letter form button").await;

    browser.run("document.querySelector('#by-detail').value = ''").await;
    browser.click("#search button").await;
    browser.until("document.querySelectorAll('#letters tbody tr').length === 4").await;
    // Refused again, under another id.
    browser.run("[...document.querySelectorAll('#letters tbody tr')].find((row) => row.textContent.includes('r-2')).querySelector('input').click()").await;
    browser.click("#replay-some").await;
    browser.until("document.querySelector('#ask-title').textContent === 'Replay 1 dead letter?'").await;
    browser.click("#ask-yes").await;
    browser
        .until("document.querySelector('#work').textContent.includes('1 replayed, 0 stay, 0 failed')")
        .await;
    world.expect_more(1);
    world.letters_taken(1);
    world.settle().await;

    browser.run("document.querySelector('#by-reason').value = 'rejected'").await;
    browser.click("#search button").await;
    browser.until("document.querySelector('#work').textContent.includes('4 dead letters, 3 match')").await;
    browser.click("#drop-all").await;
    browser.until("document.querySelector('#ask-title').textContent === 'Drop 3 dead letters?'").await;
    browser.click("#ask-yes").await;
    browser.until("document.querySelector('#work').textContent.includes('3 dropped, kept in')").await;
    world.letters_taken(3);
    let files: Vec<_> = std::fs::read_dir(kept.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let lines = std::fs::read_to_string(&files[0]).unwrap();
    assert_eq!(lines.lines().count(), 3);

    is_content(&browser).await;
    browser.click("#sign-out").await;
    browser
        .until("!document.querySelector('#sign-in').hidden && document.querySelector('#console').hidden")
        .await;
    browser.end().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_among_many_accounts_is_seen_at_a_glance() {
    // They share shop's credential and with it its limit; pauses are each account's own.
    let more = (0..58).map(|n| {
        format!(
            "[accounts.tenant-{n:02}]\nprovider = \"pushwoosh\"\nbase_url = \"{{provider}}\"\napi_token = {{ env = \
             \"PUSHWOOSH_TOKEN\" }}\napplication = \"XXXXX-XXXXX\"\nrequests_per_minute = 6000\n"
        )
    });
    let more: &'static str = more.collect::<String>().leak();
    let mut world = World::with(Options { embedded: true, more, ..Options::default() }).await;
    world.set_environment(vec![("PACELINE__ADMIN__CONSOLE", TOKEN)]);
    world.start_worker().await;
    // The provider refuses the credential of shop from now on.
    world.provider.set_faults(FaultPlan::parse(&["pushwoosh:401@100%"]).expect("a plan"));
    let jobs: Vec<Value> = (0..40).map(|n| counted_job(&format!("c-{n}"), "high")).collect();
    world.publish(&jobs).await;

    let browser = signed_in(&world).await;
    browser.until("document.querySelectorAll('article').length === 60").await;
    browser.until("document.querySelector('article')?.className === 'paused'").await;
    assert_eq!(browser.run("return document.querySelector('article h3').textContent").await, json!("shop"));
    browser.until("document.querySelector('.note').textContent.includes('refuses the credential')").await;
    browser.until("document.querySelector('.note').textContent.includes('since')").await;
    fits(&browser).await;
    browser.picture("incident-light").await;
    browser.prefer("dark").await;
    browser.picture("incident-dark").await;
    browser.resize(390, 844).await;
    fits(&browser).await;
    browser.picture("phone-dark").await;
    browser.prefer("light").await;
    browser.picture("phone-light").await;
    browser.resize(1280, 2400).await;
    browser.picture("many-accounts").await;
    browser.resize(1280, 900).await;
    browser.click("#troubled").await;
    browser.until("document.querySelectorAll('article').length === 1").await;
    is_content(&browser).await;

    world.provider.set_faults(FaultPlan::parse(&[]).expect("a plan"));
    browser.click("article button.again").await;
    browser.click("#ask-yes").await;
    browser.until("document.querySelectorAll('article').length === 0").await;
    browser.until("!document.querySelector('#no-accounts').hidden").await;
    browser.end().await;
    world.finish().await;
}
