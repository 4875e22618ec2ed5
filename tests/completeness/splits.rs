//! What a job is split into, where its requests go, and what is said of one that is refused.

use super::*;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The longest wait that an answer may ask for: a header that is wrong must not stop an account
/// for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl Examined {
    /// A delivery that stands there twice is pushed twice, or, under one id, one of two is lost.
    pub fn splits(&mut self, job: &Job, account: &Account) {
        let shown = |what: &str| format!("{} ({}): {what}", job.operation, job.transaction_id);
        let deliveries = deliveries(account, job);
        let ids: BTreeSet<_> = deliveries.iter().map(|delivery| &delivery.id).collect();
        if ids.len() != deliveries.len() {
            self.lacks(Piece::Deliveries, shown("two deliveries have one id"));
        }
        let bare = |delivery: &Delivery| {
            let body = account.gateway.request(&[delivery]).body;
            String::from_utf8_lossy(&body).replace(delivery.id.as_str(), "")
        };
        let bodies: BTreeSet<_> = deliveries.iter().map(bare).collect();
        if bodies.len() != deliveries.len() {
            self.lacks(Piece::Deliveries, shown("two deliveries say the same but for their ids"));
        }
    }

    pub fn warm_up(&mut self, delivery: &Delivery, account: &Account) {
        let operation = &delivery.job.operation;
        let request = account.gateway.request(&[delivery]);
        match catch_unwind(AssertUnwindSafe(|| account.gateway.warm_up_url(delivery))) {
            Err(_) => self.lacks(Piece::WarmUp, format!("{operation}: it panics")),
            Ok(url) if url.origin() != request.url.origin() => {
                self.lacks(Piece::WarmUp, format!("{operation}: {url} is not where {} is", request.url));
            }
            Ok(_) => {}
        }
    }

    pub fn waits(&mut self, delivery: &Delivery, account: &Account) {
        for (status, name) in [(429, "retry-after"), (429, "x-ratelimit-reset"), (503, "retry-after")] {
            let headers = vec![
                ("date".to_owned(), "Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
                (name.to_owned(), "8640000".to_owned()),
            ];
            let answer = WireAnswer::Response { status, headers, body: "no JSON".into() };
            let verdict = account.gateway.verdict(&[delivery], &answer, false);
            let asked = match &verdict {
                Verdict::Throttled { retry_after } | Verdict::Failed { retry_after, .. } => *retry_after,
                _ => None,
            };
            if asked.is_some_and(|wait| wait > LONGEST_WAIT) {
                self.lacks(Piece::Waits, format!("{}: {status} waits {asked:?}", delivery.job.operation));
            }
        }
    }

    /// What a producer put into a payload may be a person's: findings go to logs and dead letters.
    pub fn findings(&mut self, job: &Job, account: &Account) {
        let payload = Value::Object(Object::clone(&job.payload));
        for place in shapes::places(&payload).iter().filter(|place| !place.is_empty()) {
            let mut mistyped = payload.clone();
            let target = mistyped.pointer_mut(place).expect("it is one of its places");
            if target.is_string() {
                continue;
            }
            *target = MARK.into();
            let found = self::findings(account, &shapes::with_payload(job, mistyped));
            if let Some(telling) = found.iter().find(|one| format!("{one:?} {one}").contains(MARK)) {
                let shown = format!("{} at {place}: {telling}", job.operation);
                self.lacks(Piece::Findings, shown);
            }
        }
    }
}

/// Every delivery of a job.
pub fn deliveries(account: &Account, job: &Job) -> Vec<Delivery> {
    account.gateway.plan(job).into_iter().flatten().filter_map(Result::ok).collect()
}
