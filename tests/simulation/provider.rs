//! Both providers, and the network before them. What they do is the simulator's own engine; what
//! gets lost on the way is drawn here.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use paceline::ports::{Sent, Wire, WireAnswer, WireRequest};
use paceline::providers;
use paceline::simulator::engine::{Conduct, Engine};
use paceline::simulator::{FaultPlan, Request, Rules};
use tokio::time::{Instant, sleep};

use super::life::{Chaos, Life};

/// How long a request is under way to the provider: the spread stays within the limiter's jitter.
const FASTEST_MS: u64 = 5;
const SPREAD_MS: u64 = 90;

/// The providers.
pub struct Providers {
    chaos: Arc<Chaos>,
    engine: Mutex<Engine>,
}

impl Providers {
    /// With these limits a minute.
    pub fn new(chaos: Arc<Chaos>, seed: u64, limits: &[(&str, u32)]) -> Arc<Self> {
        let simulated = providers::ALL.iter().map(|provider| provider.simulated()).collect();
        let began = Timestamp::from_millisecond(chaos.true_ms()).expect("a moment of this century");
        let mut engine = Engine::new(simulated, seed, 1_000_000, began);
        for (provider, limit) in limits {
            let rules = engine.rules(provider).expect("a known provider").clone();
            let rules = Rules { requests: Some(*limit), ..rules };
            engine.set_rules(provider, rules).expect("a known provider");
        }
        Arc::new(Self { chaos, engine: Mutex::new(engine) })
    }

    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().expect("nobody panics with it")
    }

    /// What the providers themselves get wrong from now on.
    pub fn misbehave(&self, rules: &[&str]) {
        self.engine().set_faults(FaultPlan::parse(rules).expect("faults in their text form"));
    }
}

/// A worker's way to them.
pub struct Network {
    pub providers: Arc<Providers>,
    pub life: Arc<Life>,
    pub request_timeout: Duration,
}

impl Network {
    async fn exchange(&self, request: WireRequest, give_up: Instant) -> Sent {
        let chaos = &self.providers.chaos;
        let lost = |why: &str| Sent::Answer(WireAnswer::Lost(why.to_owned()));
        sleep(Duration::from_millis(FASTEST_MS) + chaos.dice.millis(SPREAD_MS)).await;
        if chaos.strikes(|odds| odds.request_lost) {
            sleep_until_or(give_up, chaos.dice.in_thousand(500)).await;
            return lost("the connection was reset before it arrived");
        }
        let arrived = Request {
            method: request.method.as_str().parse().expect("a method"),
            path: request.url.path().to_owned(),
            headers: request.headers.iter().cloned().collect(),
            body: request.body,
        };
        let reply = self.providers.engine().handle(&arrived, chaos.elapsed());
        // A process that stands still meanwhile finds the answer when it goes on.
        let arrives = Instant::now() + reply.latency + chaos.dice.millis(200);
        self.life.moment().await;
        tokio::time::sleep_until(arrives).await;
        if chaos.strikes(|odds| odds.reply_lost) {
            sleep_until_or(give_up, chaos.dice.in_thousand(500)).await;
            return lost("the connection was reset before the answer");
        }
        if arrives > give_up {
            return lost("timeout");
        }
        let body = match reply.conduct {
            Conduct::Answer if chaos.strikes(|odds| odds.reply_garbled) => {
                garbled(&reply.answer.body, chaos.dice.below(6))
            }
            Conduct::Answer => reply.answer.body,
            Conduct::Cut => reply.answer.body.slice(..reply.answer.body.len() / 2),
            Conduct::Reset => return lost("the connection was reset"),
            Conduct::Hang => {
                tokio::time::sleep_until(give_up).await;
                return lost("timeout");
            }
        };
        let headers =
            reply.answer.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Sent::Answer(WireAnswer::Response { status: reply.answer.status, headers, body })
    }
}

/// An answer that is lost is noticed by a reset soon, or by the time-out.
async fn sleep_until_or(give_up: Instant, soon: bool) {
    if !soon {
        tokio::time::sleep_until(give_up).await;
    }
}

/// What a broken proxy makes of an answer.
fn garbled(body: &Bytes, kind: u64) -> Bytes {
    let whole: &[u8] = match kind {
        0 => b"",
        1 => b"{}",
        2 => b"null",
        3 => b"<html><body>Welcome to the hotel's network</body></html>",
        4 => br#"{"status_code": "200", "status": "success", "response": []}"#,
        _ => return cut_short(body),
    };
    Bytes::from_static(whole)
}

fn cut_short(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    body.truncate(middle);
    body.extend_from_slice(b"\xff\xfe");
    body.into()
}

#[async_trait]
impl Wire for Network {
    async fn send(&self, request: WireRequest, write_by: Instant) -> Sent {
        let chaos = &self.providers.chaos;
        let give_up = Instant::now() + self.request_timeout;
        self.life.moment().await;
        chaos.travel(if chaos.strikes(|odds| odds.stall) { 60_000 } else { 20 }).await;
        if chaos.strikes(|odds| odds.connect_failed) {
            self.life.moment().await;
            return Sent::Answer(WireAnswer::NotSent("connect failed".to_owned()));
        }
        self.life.moment().await;
        if Instant::now() > write_by {
            return Sent::TooLate;
        }
        // Written: from here on the provider may get it, whatever becomes of this process.
        let give_up = give_up.max(Instant::now() + self.request_timeout / 2);
        let sent = self.exchange(request, give_up).await;
        if chaos.strikes(|odds| odds.stall_after) {
            if chaos.dice.in_thousand(500) {
                self.life.stand_still();
            } else {
                chaos.travel(60_000).await;
            }
        }
        self.life.moment().await;
        sent
    }

    async fn warm_up(&self, _: &reqwest::Url) {
        self.life.moment().await;
        self.providers.chaos.travel(20).await;
    }
}
