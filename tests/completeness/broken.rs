//! Providers that lack exactly one piece.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use paceline::config::{ConfigError, Settings};
use paceline::job::{Class, Delivery, DeliveryId, Finding, Job, Pool};
use paceline::ports::{PoolKey, Window, WireAnswer, WireRequest};
use paceline::providers::{ALL, Gateway, Planned, Provider, Repeat};
use paceline::simulator::Simulated;
use paceline::verdict::Verdict;
use serde_json::Value;

use super::Piece;

/// A host that no request goes to.
static ELSEWHERE: LazyLock<reqwest::Url> =
    LazyLock::new(|| "https://elsewhere.example/".parse().expect("a URL"));

macro_rules! lacks {
    ($($lack:ident => $piece:ident),* $(,)?) => {
        /// What a provider does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Lack { $($lack),* }

        impl Lack {
            pub const ALL: &'static [Self] = &[$(Self::$lack),*];

            /// The piece that must be named.
            pub fn piece(self) -> Piece {
                match self { $(Self::$lack => Piece::$piece),* }
            }
        }
    };
}

lacks! {
    Labels => Labels,
    Samples => Samples,
    Account => Account,
    Rules => Rules,
    LenientRules => Rules,
    TellingFindings => Findings,
    Schema => Schema,
    ClosedSchema => Schema,
    LenientSchema => Schema,
    EachTwice => Deliveries,
    EachUnderTwoIds => Deliveries,
    OneId => Deliveries,
    Request => Request,
    FirstOnly => Batches,
    WarmUpElsewhere => WarmUp,
    WarmUpPanics => WarmUp,
    Simulator => Simulator,
    Verdicts => Verdicts,
    LongWaits => Waits,
    LostCodes => Codes,
    Repeats => Repeats,
    AllHarmless => Repeats,
    AllAlways => Repeats,
    ReadsNothing => Reads,
    Pools => Pools,
    NoWindows => Pools,
    OneKey => Pools,
    AllExempt => Pools,
}

impl Lack {
    /// Whether only a provider whose requests carry several deliveries can show it.
    pub fn needs_shared_requests(self) -> bool {
        matches!(self, Self::FirstOnly | Self::OneId)
    }
}

/// A whole provider, but for one piece.
pub struct Broken {
    pub whole: &'static dyn Provider,
    pub lacks: Lack,
}

impl Provider for Broken {
    fn name(&self) -> &'static str {
        self.whole.name()
    }

    fn operations(&self) -> &'static [&'static str] {
        let operations = self.whole.operations();
        if self.lacks == Lack::Labels { [operations, &operations[..1]].concat().leak() } else { operations }
    }

    fn keys(&self) -> &'static [paceline::config::keys::Key] {
        &[]
    }
    fn configure(&self, settings: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
        let provider = self.whole;
        Ok(Arc::new(BrokenGateway { provider, whole: provider.configure(settings)?, lacks: self.lacks }))
    }

    fn payload_schema(&self, operation: &str) -> Value {
        let mut schema = self.whole.payload_schema(operation);
        match self.lacks {
            Lack::Schema => return true.into(),
            Lack::ClosedSchema => schema["additionalProperties"] = false.into(),
            Lack::LenientSchema => require_nothing(&mut schema),
            _ => {}
        }
        schema
    }

    fn simulated(&self) -> Arc<dyn Simulated> {
        let another = ALL.into_iter().find(|provider| provider.name() != self.whole.name());
        let played = if self.lacks == Lack::Simulator { another } else { None };
        played.unwrap_or(self.whole).simulated()
    }

    fn samples(&self) -> &'static [&'static str] {
        if self.lacks == Lack::Samples { &[] } else { self.whole.samples() }
    }
}

fn require_nothing(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // What may not be there is told as what may not be required.
            object.retain(|name, value| name != "not" && (name != "required" || !value.is_array()));
            object.values_mut().for_each(require_nothing);
        }
        Value::Array(list) => list.iter_mut().for_each(require_nothing),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

struct BrokenGateway {
    provider: &'static dyn Provider,
    whole: Arc<dyn Gateway>,
    lacks: Lack,
}

impl BrokenGateway {
    /// Whether a payload lacks a member that it must have.
    fn is_short(&self, job: &Job) -> bool {
        let schema = self.provider.payload_schema(&job.operation);
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        required.into_iter().any(|name| !job.payload.contains_key(name))
    }
}

impl Gateway for BrokenGateway {
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        let planned = self.whole.plan(job);
        let fit = planned.as_ref().is_ok_and(|planned| planned.iter().all(Result::is_ok));
        let lenient = self.lacks == Lack::Rules || self.lacks == Lack::LenientRules && self.is_short(job);
        if !fit && lenient {
            let (id, job) = ((&job.transaction_id).into(), Arc::new(job.clone()));
            return Ok(vec![Ok(Delivery { id, job, class: Class::Exempt, batch: None })]);
        }
        let telling = |mut finding: Finding| {
            if self.lacks == Lack::TellingFindings {
                finding.found = format!("{:?}", job.payload);
            }
            finding
        };
        let planned = planned.map_err(|findings| findings.into_iter().map(telling).collect::<Vec<_>>())?;
        let mut split = Vec::new();
        for (index, one) in planned.into_iter().enumerate() {
            let delivery = match one {
                Ok(delivery) => delivery,
                Err(mut unfit) => {
                    unfit.findings = unfit.findings.into_iter().map(telling).collect();
                    split.push(Err(unfit));
                    continue;
                }
            };
            match self.lacks {
                Lack::EachTwice => split.extend([Ok(delivery.clone()), Ok(delivery)]),
                Lack::EachUnderTwoIds => {
                    let id = DeliveryId::nth(&job.transaction_id, 5000 + index);
                    split.extend([Ok(delivery.clone()), Ok(Delivery { id, ..delivery })]);
                }
                Lack::OneId => split.push(Ok(Delivery { id: (&job.transaction_id).into(), ..delivery })),
                Lack::AllExempt => split.push(Ok(Delivery { class: Class::Exempt, ..delivery })),
                _ => split.push(Ok(delivery)),
            }
        }
        Ok(split)
    }

    fn warnings(&self, job: &Job) -> Vec<Finding> {
        self.whole.warnings(job)
    }

    fn request(&self, deliveries: &[&Delivery]) -> WireRequest {
        let carried = if self.lacks == Lack::FirstOnly { &deliveries[..1] } else { deliveries };
        let whole = self.whole.request(carried);
        if self.lacks == Lack::Request {
            return WireRequest { headers: Vec::new(), body: "{}".into(), ..whole };
        }
        whole
    }

    fn verdict(&self, deliveries: &[&Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict {
        match (self.lacks, self.whole.verdict(deliveries, answer, after_unknown)) {
            (Lack::Verdicts, _) => Verdict::Unknown { cause: "no table".into(), fault: false },
            (Lack::LongWaits, Verdict::Throttled { retry_after: Some(_) }) => {
                Verdict::Throttled { retry_after: Some(Duration::from_secs(8_640_000)) }
            }
            (Lack::LostCodes, Verdict::Accepted(mut acceptances)) => {
                acceptances.iter_mut().for_each(|one| one.message_code = None);
                Verdict::Accepted(acceptances)
            }
            (_, verdict) => verdict,
        }
    }

    fn repeat(&self, delivery: &Delivery) -> Repeat {
        match (self.lacks, self.whole.repeat(delivery)) {
            (Lack::Repeats, _) => Repeat::Never,
            (Lack::AllHarmless, _) => Repeat::Harmless,
            (Lack::AllAlways, Repeat::Never | Repeat::Within(_)) => Repeat::Always,
            (_, repeat) => repeat,
        }
    }

    fn reads(&self, delivery: &Delivery) -> bool {
        match self.lacks {
            Lack::Repeats => true,
            Lack::ReadsNothing => false,
            _ => self.whole.reads(delivery),
        }
    }

    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        let spoilt = |(pool, key, windows): (Pool, PoolKey, Vec<Window>)| match self.lacks {
            Lack::Pools => None,
            Lack::NoWindows => Some((pool, key, Vec::new())),
            Lack::OneKey => Some((pool, PoolKey(pool.name().to_owned()), windows)),
            _ => Some((pool, key, windows)),
        };
        self.whole.pools().into_iter().filter_map(spoilt).collect()
    }

    fn fallback_pool(&self, delivery: &Delivery) -> Option<Pool> {
        self.whole.fallback_pool(delivery)
    }

    fn deliveries_per_request(&self) -> usize {
        self.whole.deliveries_per_request()
    }

    fn warm_up_url(&self, delivery: &Delivery) -> &reqwest::Url {
        match self.lacks {
            Lack::WarmUpElsewhere => &ELSEWHERE,
            // Without the noise of a panic that nobody expected.
            Lack::WarmUpPanics => std::panic::resume_unwind(Box::new("as the test asks for")),
            _ => self.whole.warm_up_url(delivery),
        }
    }
}
