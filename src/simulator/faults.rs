//! Faults: what goes wrong with which requests.
//!
//! One text form serves the command line, `PUT /_simulator/faults` and Rust:
//! `[PROVIDER[/OPERATION]:]KIND[=ARGUMENT]` followed by `@PROBABILITY` (`@2%`, `@0.02`) for a fault by chance,
//! or by `*COUNT` for the next requests of a script (`*1` when neither is given). Scripted faults
//! go first, in their order; chance takes over when no scripted one is left for a request.
//! `pushwoosh/deleteMessage:503` is for that operation only.
//!
//! | kind | what happens |
//! | --- | --- |
//! | `none` | nothing: in a script, lets a request through unharmed |
//! | `latency=1s..2s` | the answer takes that much longer |
//! | `429` or `429=30s` | HTTP 429, with a `Retry-After` of that time (to the second); nothing accepted |
//! | `401`, `500`, `502`, `503` … (400 to 599) | that status; nothing accepted |
//! | `503=30s` … | the same with a `Retry-After` of that time |
//! | `500-after` … | that status although the request was accepted |
//! | `reset-before`, `reset-after` | the connection is reset (TCP RST) before or after accepting |
//! | `hang-before`, `hang-after` | no answer until the client gives up, before or after accepting |
//! | `garbage` | accepted, and HTTP 200 with a body that is no JSON |
//! | `cut` | accepted, and the answer's body ends half way |

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::rules::parse_duration;

/// A fixed time, or a range that chance draws from: `20ms` or `20ms..80ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The least.
    pub min: Duration,
    /// The most.
    pub max: Duration,
}

impl Span {
    /// A fixed time.
    pub const fn fixed(time: Duration) -> Self {
        Self { min: time, max: time }
    }

    fn draw(self, rng: &mut StdRng) -> Duration {
        self.min + (self.max - self.min).mul_f64(rng.random::<f64>())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let span = Self { min: parse_duration(min)?, max: parse_duration(max)? };
        if span.min > span.max {
            return Err(format!("{text:?}: the least is more than the most"));
        }
        Ok(span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.min))?;
        if self.min == self.max { Ok(()) } else { write!(f, "..{}", humantime::format_duration(self.max)) }
    }
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A late answer.
    Latency(Span),
    /// HTTP 429; nothing is accepted.
    Throttle {
        /// The time of the `Retry-After` header, if it has one.
        retry_after: Option<Duration>,
    },
    /// A status of 400 to 599.
    Status {
        /// The status.
        status: u16,
        /// Whether the request was accepted all the same.
        accepted: bool,
        /// The time of the `Retry-After` header, if it has one.
        retry_after: Option<Duration>,
    },
    /// The connection is reset.
    Reset {
        /// Whether the request was accepted before.
        accepted: bool,
    },
    /// No answer ever.
    Hang {
        /// Whether the request was accepted before.
        accepted: bool,
    },
    /// Accepted; the answer's body is no JSON.
    Garbage,
    /// Accepted; the answer's body ends half way.
    Cut,
}

impl Fault {
    /// Whether the provider gets to look at the request.
    pub const fn lets_through(self) -> bool {
        match self {
            Self::None | Self::Latency(_) | Self::Garbage | Self::Cut => true,
            Self::Throttle { .. } => false,
            Self::Status { accepted, .. } | Self::Reset { accepted } | Self::Hang { accepted } => accepted,
        }
    }
}

fn with_suffix(kind: &str) -> Option<(&str, bool)> {
    kind.strip_suffix("-before")
        .map(|stem| (stem, false))
        .or_else(|| kind.strip_suffix("-after").map(|stem| (stem, true)))
}

fn fault_without_argument(kind: &str) -> Option<Fault> {
    match kind {
        "none" => return Some(Fault::None),
        "garbage" => return Some(Fault::Garbage),
        "cut" => return Some(Fault::Cut),
        "429" => return Some(Fault::Throttle { retry_after: None }),
        _ => {}
    }
    match with_suffix(kind) {
        Some(("reset", accepted)) => return Some(Fault::Reset { accepted }),
        Some(("hang", accepted)) => return Some(Fault::Hang { accepted }),
        Some(_) | None => {}
    }
    let (number, accepted) = with_suffix(kind).unwrap_or((kind, false));
    let status = number.parse().ok().filter(|status| (400..=599).contains(status))?;
    Some(Fault::Status { status, accepted, retry_after: None })
}

fn status_with_wait(kind: &str, wait: &str) -> Result<Fault, String> {
    match fault_without_argument(kind) {
        Some(Fault::Status { status, accepted, retry_after: _ }) => {
            Ok(Fault::Status { status, accepted, retry_after: Some(parse_duration(wait)?) })
        }
        Some(_) | None => Err(format!("{kind:?} takes no argument, only latency and statuses do")),
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("latency", span)) => span.parse().map(Self::Latency),
            Some(("429", wait)) => {
                parse_duration(wait).map(|wait| Self::Throttle { retry_after: Some(wait) })
            }
            Some((kind, wait)) => status_with_wait(kind, wait),
            None => fault_without_argument(text).ok_or_else(|| {
                format!(
                    "{text:?} is no fault: none, latency=TIME, 429[=TIME], a status of 400 to 599 \
                     (with -after when the request was accepted), reset-before, reset-after, \
                     hang-before, hang-after, garbage, cut"
                )
            }),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |accepted: bool| if accepted { "-after" } else { "-before" };
        match *self {
            Self::None => f.write_str("none"),
            Self::Latency(span) => write!(f, "latency={span}"),
            Self::Throttle { retry_after: None } => f.write_str("429"),
            Self::Throttle { retry_after: Some(wait) } => {
                write!(f, "429={}", humantime::format_duration(wait))
            }
            Self::Status { status, accepted, retry_after } => {
                write!(f, "{status}{}", if accepted { "-after" } else { "" })?;
                retry_after.map_or(Ok(()), |wait| write!(f, "={}", humantime::format_duration(wait)))
            }
            Self::Reset { accepted } => write!(f, "reset{}", side(accepted)),
            Self::Hang { accepted } => write!(f, "hang{}", side(accepted)),
            Self::Garbage => f.write_str("garbage"),
            Self::Cut => f.write_str("cut"),
        }
    }
}

/// When a fault happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// For each request with this probability, 0 to 1.
    Chance(f64),
    /// For so many of the next requests.
    Next(u32),
}

/// One fault and the requests it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// Only requests to this provider; `None` for all.
    pub provider: Option<String>,
    /// Only requests for this operation of the provider; `None` for all.
    pub operation: Option<String>,
    /// What happens.
    pub fault: Fault,
    /// To which of them.
    pub when: When,
}

impl FaultRule {
    /// The next `count` requests to any provider.
    pub const fn next(count: u32, fault: Fault) -> Self {
        Self { provider: None, operation: None, fault, when: When::Next(count) }
    }

    /// Any request with this probability.
    pub const fn chance(probability: f64, fault: Fault) -> Self {
        Self { provider: None, operation: None, fault, when: When::Chance(probability) }
    }

    /// The same, only for one provider.
    #[must_use]
    pub fn only(mut self, provider: &str) -> Self {
        self.provider = Some(provider.to_owned());
        self
    }

    fn is_for(&self, provider: &str, operation: &str) -> bool {
        self.provider.as_deref().is_none_or(|only| only == provider)
            && self.operation.as_deref().is_none_or(|only| only == operation)
    }
}

fn parse_probability(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    number
        .parse::<f64>()
        .ok()
        .map(|value| value / scale)
        .filter(|probability| (0.0..=1.0).contains(probability))
        .ok_or_else(|| format!("{text:?} is no probability: 0 to 1, or 0% to 100%"))
}

impl FromStr for FaultRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whom, rest) = match text.split_once(':') {
            Some((whom, rest)) => (Some(whom), rest),
            None => (None, text),
        };
        let (provider, operation) = whom.map(known).transpose()?.unwrap_or_default();
        let (fault, when) = if let Some((fault, probability)) = rest.split_once('@') {
            (fault, When::Chance(parse_probability(probability)?))
        } else if let Some((fault, count)) = rest.split_once('*') {
            let count = count.parse().map_err(|_| format!("{count:?} is no number of requests"))?;
            (fault, When::Next(count))
        } else {
            (rest, When::Next(1))
        };
        Ok(Self { provider, operation, fault: fault.parse()?, when })
    }
}

/// A provider, and one of its operations if one is named behind a slash.
fn known(whom: &str) -> Result<(Option<String>, Option<String>), String> {
    let (name, operation) = whom.split_once('/').map_or((whom, None), |(name, word)| (name, Some(word)));
    let Some(provider) = crate::providers::by_name(name) else {
        let known: Vec<&str> = crate::providers::ALL.iter().map(|provider| provider.name()).collect();
        return Err(format!("no provider {name:?}, there are: {}", known.join(", ")));
    };
    let operations = provider.simulated().operations();
    match operation.filter(|operation| !operations.contains(operation)) {
        Some(unknown) => Err(format!("no operation {unknown:?}, there are: {}", operations.join(", "))),
        None => Ok((Some(name.to_owned()), operation.map(str::to_owned))),
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.provider {
            let operation = self.operation.iter().map(|operation| format!("/{operation}"));
            write!(f, "{provider}{}:", operation.collect::<String>())?;
        }
        match self.when {
            When::Chance(probability) => write!(f, "{}@{probability}", self.fault),
            When::Next(count) => write!(f, "{}*{count}", self.fault),
        }
    }
}

/// All faults in force.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultPlan {
    /// How long every answer takes.
    pub latency: Span,
    /// The faults, first come first.
    pub rules: Vec<FaultRule>,
}

impl FaultPlan {
    /// Faults in the text form. For rules that are written down in a test.
    pub fn parse(rules: &[&str]) -> Result<Self, String> {
        let rules = rules.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?;
        Ok(Self { latency: Span::default(), rules })
    }
}

/// Draws the fault of each request from the plan.
pub struct Faults {
    plan: FaultPlan,
    rng: StdRng,
}

impl Faults {
    /// No faults; chance begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { plan: FaultPlan::default(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Replaces the plan; chance goes on where it is.
    pub fn set(&mut self, plan: FaultPlan) {
        self.plan = plan;
    }

    /// Adds rules behind those in force.
    pub fn add(&mut self, rules: impl IntoIterator<Item = FaultRule>) {
        self.plan.rules.extend(rules);
    }

    /// What is still to come.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// The fault of the next request for an operation, and how long its answer takes in all.
    pub fn draw(&mut self, provider: &str, operation: &str) -> (Fault, Duration) {
        let fault = self.scripted(provider, operation).unwrap_or_else(|| self.by_chance(provider, operation));
        let usual = self.plan.latency.draw(&mut self.rng);
        match fault {
            Fault::Latency(span) => (fault, usual + span.draw(&mut self.rng)),
            Fault::None
            | Fault::Throttle { .. }
            | Fault::Status { .. }
            | Fault::Reset { .. }
            | Fault::Hang { .. }
            | Fault::Garbage
            | Fault::Cut => (fault, usual),
        }
    }

    fn scripted(&mut self, provider: &str, operation: &str) -> Option<Fault> {
        self.plan.rules.retain(|rule| rule.when != When::Next(0));
        let rules = self.plan.rules.iter_mut().filter(|rule| rule.is_for(provider, operation));
        for rule in rules {
            if let When::Next(left) = &mut rule.when {
                *left -= 1;
                return Some(rule.fault);
            }
        }
        None
    }

    fn by_chance(&mut self, provider: &str, operation: &str) -> Fault {
        let rng = &mut self.rng;
        let rules = self.plan.rules.iter().filter(|rule| rule.is_for(provider, operation));
        let mut hits = rules.filter(|rule| match rule.when {
            When::Chance(probability) => rng.random::<f64>() < probability,
            When::Next(_) => false,
        });
        hits.next().map_or(Fault::None, |rule| rule.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_text_form_reads_and_writes_every_fault() {
        let cases = [
            ("none*1", Fault::None),
            ("latency=20ms..80ms*1", Fault::Latency(Span { min: ms(20), max: ms(80) })),
            ("latency=1s*1", Fault::Latency(Span::fixed(ms(1000)))),
            ("429*1", Fault::Throttle { retry_after: None }),
            ("429=30s*1", Fault::Throttle { retry_after: Some(ms(30_000)) }),
            ("401*1", Fault::Status { status: 401, accepted: false, retry_after: None }),
            ("503-after*1", Fault::Status { status: 503, accepted: true, retry_after: None }),
            (
                "503=30s*1",
                Fault::Status { status: 503, accepted: false, retry_after: Some(Duration::from_secs(30)) },
            ),
            ("reset-before*1", Fault::Reset { accepted: false }),
            ("reset-after*1", Fault::Reset { accepted: true }),
            ("hang-before*1", Fault::Hang { accepted: false }),
            ("hang-after*1", Fault::Hang { accepted: true }),
            ("garbage*1", Fault::Garbage),
            ("cut*1", Fault::Cut),
        ];
        for (text, fault) in cases {
            let rule: FaultRule = text.parse().unwrap();
            assert_eq!((rule.fault, rule.when), (fault, When::Next(1)), "{text}");
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn the_text_form_says_for_which_requests() {
        let rule = |text: &str| text.parse::<FaultRule>().unwrap();
        assert_eq!(rule("cut"), FaultRule::next(1, Fault::Cut));
        assert_eq!(rule("cut*7"), FaultRule::next(7, Fault::Cut));
        assert_eq!(rule("cut@2%"), FaultRule::chance(0.02, Fault::Cut));
        assert_eq!(rule("pushwoosh:cut@0.5"), FaultRule::chance(0.5, Fault::Cut).only("pushwoosh"));
        let one = rule("moengage/searchCampaigns:cut*2");
        assert_eq!(one.operation.as_deref(), Some("searchCampaigns"));
        assert_eq!(one.to_string(), "moengage/searchCampaigns:cut*2");
    }

    #[test]
    fn texts_that_are_no_faults_are_refused() {
        for text in [
            "",
            "oops",
            "cut=1",
            "200",
            "600",
            "latency",
            "latency=2s..1s",
            "429=x",
            "reset",
            "cut@2",
            "cut@-1%",
            "cut*x",
            "nobody:cut",
            "pushwoosh/sendPush:cut",
            "/createMessage:cut",
            "none-after",
        ] {
            assert!(text.parse::<FaultRule>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_script_goes_in_order_and_by_provider() {
        let mut faults = Faults::new(1);
        faults.set(FaultPlan::parse(&["pushwoosh:cut*2", "garbage", "none", "500"]).unwrap());
        let drawn: Vec<String> = ["moengage", "pushwoosh", "moengage", "pushwoosh", "pushwoosh", "pushwoosh"]
            .map(|provider| faults.draw(provider, "sendPush").0.to_string())
            .into();
        assert_eq!(drawn, ["garbage", "cut", "none", "cut", "500", "none"]);
    }

    #[test]
    fn a_fault_of_one_operation_spares_the_others() {
        let mut faults = Faults::new(1);
        faults.set(FaultPlan::parse(&["pushwoosh/deleteMessage:503", "pushwoosh:cut@100%"]).unwrap());
        let drawn = ["createMessage", "deleteMessage", "deleteMessage"]
            .map(|operation| faults.draw("pushwoosh", operation).0.to_string());
        assert_eq!(drawn, ["cut", "503", "cut"]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed_and_near_its_probability() {
        let draw = |seed| {
            let mut faults = Faults::new(seed);
            faults.set(FaultPlan::parse(&["reset-after@10%", "503@10%"]).unwrap());
            (0..2000).map(|_| faults.draw("pushwoosh", "createMessage").0).collect::<Vec<_>>()
        };
        let (first, again, other) = (draw(7), draw(7), draw(8));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let count = |fault| first.iter().filter(|&&drawn| drawn == fault).count();
        assert!((150..250).contains(&count(Fault::Reset { accepted: true })), "not near 200");
        assert!(
            (135..225).contains(&count(Fault::Status { status: 503, accepted: false, retry_after: None })),
            "not near 180"
        );
    }

    #[test]
    fn latency_stays_within_its_range_and_adds_up() {
        let mut faults = Faults::new(3);
        let latency = Span { min: ms(20), max: ms(80) };
        faults.set(FaultPlan { latency, rules: vec!["latency=1s".parse().unwrap()] });
        let (_, first) = faults.draw("pushwoosh", "createMessage");
        assert!((ms(1020)..=ms(1080)).contains(&first), "{first:?}");
        let later: Vec<Duration> = (0..200).map(|_| faults.draw("pushwoosh", "createMessage").1).collect();
        assert!(later.iter().all(|time| (ms(20)..=ms(80)).contains(time)));
        assert!(later.iter().any(|&time| time < ms(35)) && later.iter().any(|&time| time > ms(65)));
    }
}
