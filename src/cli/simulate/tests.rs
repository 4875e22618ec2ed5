use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(words: &[&str]) -> Result<Args, clap::Error> {
    Line::try_parse_from(["simulate"].iter().chain(words)).map(|line| line.args)
}

#[test]
fn without_arguments_the_documented_rules_hold() {
    let config = configuration(&args(&[]).unwrap()).unwrap();
    for provider in ALL {
        assert_eq!(config.rules[provider.name()], provider.simulated().rules());
    }
    assert_eq!(config.listen.to_string(), "127.0.0.1:8089");
}

#[test]
fn arguments_change_the_rules() {
    let words = "--pushwoosh-limit 5 --moengage-limit unlimited --window 1s --throttling body \
                 --duplicate-window 2s --exempt-devices 0 --latency 20ms..80ms --fault cut@2% \
                 --fault pushwoosh:503*3 --targeted-duplicate-window 3s \
                 --moengage-campaign-limit 2/1s,5/1m --seed 9 --ledger 10 --listen 127.0.0.1:1";
    let words: Vec<&str> = words.split_whitespace().collect();
    let config = configuration(&args(&words).unwrap()).unwrap();
    let pushwoosh = &config.rules["pushwoosh"];
    assert_eq!((pushwoosh.requests, pushwoosh.exempt_devices), (Some(5), 0));
    assert_eq!(pushwoosh.duplicate_window, Some(Duration::from_secs(2)));
    assert_eq!(pushwoosh.targeted_duplicate_window, Some(Duration::from_secs(3)));
    let moengage = &config.rules["moengage"];
    assert_eq!((moengage.requests, moengage.duplicate_window), (None, None));
    assert_eq!((moengage.targeted_duplicate_window, pushwoosh.pools.len()), (None, 0));
    assert_eq!(moengage.pools["campaigns"], Windows::of_seconds(&[(2, 1), (5, 60)]));
    assert_eq!((moengage.window, moengage.throttling), (Duration::from_secs(1), Throttling::Body));
    assert_eq!((config.seed, config.ledger_capacity), (9, 10));
    let faults: Vec<String> = config.faults.rules.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["cut@0.02", "pushwoosh:503*3"]);
}

#[test]
fn every_limit_of_every_provider_can_be_named() {
    for provider in ALL {
        let name = provider.name();
        let documented = provider.simulated().rules();
        let main = configuration(&args(&["--limit", &format!("{name}=7")]).unwrap()).unwrap();
        assert_eq!(main.rules[name], Rules { requests: Some(7), ..documented.clone() });
        for pool in documented.pools.keys() {
            let pooled = args(&["--limit", &format!("{name}/{pool}=2/1s")]).unwrap();
            let pooled = configuration(&pooled).unwrap();
            let mut expected = documented.clone();
            expected.pools.insert(pool.clone(), Windows::of_seconds(&[(2, 1)]));
            assert_eq!(pooled.rules[name], expected);
        }
        for other in ALL.iter().filter(|other| other.name() != name) {
            assert_eq!(main.rules[other.name()], other.simulated().rules(), "{name} only");
        }
    }
}

#[test]
fn the_last_limit_holds_and_one_that_names_it_comes_last() {
    let words = "--limit pushwoosh=1 --limit pushwoosh=unlimited --pushwoosh-limit 5 \
                 --moengage-campaign-limit 2/1s --limit moengage/campaigns=unlimited";
    let words: Vec<&str> = words.split_whitespace().collect();
    let config = configuration(&args(&words).unwrap()).unwrap();
    assert_eq!(config.rules["pushwoosh"].requests, None);
    assert_eq!(config.rules["moengage"].pools["campaigns"], Windows::default());
}

#[test]
fn a_file_of_credentials_is_for_both_keys() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "moengage:W:push\nmoengage-campaigns:W:campaign\n").unwrap();
    let config = configuration(&args(&["--credentials", file.path().to_str().unwrap()]).unwrap()).unwrap();
    let moengage = &config.rules["moengage"];
    assert_eq!(moengage.credentials, Some(vec!["W:push".to_owned()]));
    assert_eq!(moengage.campaign_credentials, Some(vec!["W:campaign".to_owned()]));
    assert_eq!(config.rules["pushwoosh"].credentials, Some(Vec::new()), "nobody is let in");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for words in [
        ["--pushwoosh-limit", "many"],
        ["--latency", "2s..1s"],
        ["--fault", "oops"],
        ["--window", "0"],
        ["--listen", "somewhere"],
        ["--throttling", "503"],
        ["--moengage-campaign-limit", "10"],
        ["--limit", "pushwoosh"],
        ["--limit", "nobody=5"],
        ["--limit", "pushwoosh=many"],
        ["--limit", "pushwoosh/campaigns=1/1s"],
        ["--limit", "moengage/campaigns=10"],
        ["--fault", "pushwoosh/sendPush:503"],
    ] {
        assert!(args(&words).is_err(), "{words:?}");
    }
}

#[test]
fn credentials_are_read_by_line_and_never_shown() {
    let good = "# test\npushwoosh:t1\n\npushwoosh:t2\nmoengage:W:key:with:colons\n\
                moengage-campaigns:W:other\n";
    let found = parse_credentials(good).unwrap();
    assert_eq!(found["pushwoosh"], ["t1", "t2"]);
    assert_eq!(found["moengage"], ["W:key:with:colons"]);
    assert_eq!(found["moengage-campaigns"], ["W:other"]);
    for (text, line) in [
        ("\nhunter2", 2),
        ("pushwoosh:", 1),
        ("nobody:hunter2", 1),
        ("pushwoosh-campaigns:hunter2", 1),
        ("moengage-campaign:hunter2", 1),
    ] {
        assert_eq!(parse_credentials(text), Err(line), "{text:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let error = read_credentials(file.path()).unwrap_err();
    assert!(!format!("{error:#}").contains("hunter2"));
}

/// Hands what is written to the other side, line by line.
struct Lines(tokio::sync::mpsc::UnboundedSender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let _ = self.0.send(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn run_with(words: &[&str], mut during: impl AsyncFnMut(String)) -> Vec<String> {
    let (lines, mut written) = tokio::sync::mpsc::unbounded_channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let args = args(words).unwrap();
    let mut out = Lines(lines, Vec::new());
    let running = tokio::spawn(async move {
        run_until(args, async { drop(ended.await) }, &mut out).await.unwrap();
    });
    let first = written.recv().await.unwrap();
    during(first.clone()).await;
    end.send(()).unwrap();
    running.await.unwrap();
    let mut all = vec![first];
    while let Some(line) = written.recv().await {
        all.push(line);
    }
    all
}

async fn search_campaigns(url: &str) {
    let body = r#"{"request_id":"1","limit":1,"page":1}"#;
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url).body(body);
    let request = request.basic_auth("W", Some("key")).header("MOE-APPKEY", "W");
    assert_eq!(request.send().await.unwrap().status(), 200);
}

async fn get(url: String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap().post(url).body("{}").send().await.unwrap();
}

#[tokio::test]
async fn json_output_is_one_object_a_line() {
    let lines = run_with(&["--listen", "127.0.0.1:0", "--json"], async |first| {
        let first: Value = serde_json::from_str(&first).unwrap();
        get(format!("{}/v2/transaction/sendpush", first["listening"].as_str().unwrap())).await;
    })
    .await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let summary: Summary = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((summary.counts.requests, summary.counts.refused), (1, 1));
}

#[tokio::test]
async fn the_table_has_a_row_for_each_account() {
    let lines = run_with(&["--listen", "127.0.0.1:0", "--moengage-limit", "70"], async |first| {
        let url = first.strip_prefix("listening on ").unwrap().to_owned();
        get(format!("{url}/v2/transaction/sendpush")).await;
        get(format!("{url}/elsewhere")).await;
        search_campaigns(&format!("{url}/core-services/v1/campaigns/search")).await;
    })
    .await;
    let row = lines.iter().find(|line| line.starts_with("moengage ")).unwrap();
    assert!(row.contains("1 in 60 s (limit 70)"), "{lines:#?}");
    let pools = "campaigns 1 in 1 s (limit 10), campaigns 1 in 60 s (limit 100), campaigns 1 in 3600 s";
    assert!(lines.iter().any(|line| line.contains(pools)), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("all ")), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("1 requests for a path"), "{lines:#?}");
}
