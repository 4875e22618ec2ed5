//! What became of it all, and whether every promise held. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::picture::Totals;
use super::story::short_ms;
use super::style::{Line, Tone};
use crate::numbers::grouped;
use crate::simulator::Summary as Ledger;

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    /// Over all accounts.
    pub(super) totals: Totals,
    pub(super) accounts: Vec<Account>,
    /// Deliveries that the providers took, as their ledger says.
    pub(super) taken: u64,
    /// Deliveries that they took more than once.
    pub(super) twice: u64,
    /// Whether the ledger is whole.
    pub(super) ledger_whole: bool,
    /// Half of the exempt ones took at most this from publishing to receipt.
    pub(super) usual_code_time: Option<Duration>,
    /// How long it took.
    pub(super) took: Duration,
    /// Whether somebody ended it early.
    pub(super) interrupted: bool,
    /// How a person can start this binary again.
    pub(super) program: String,
    /// The file of queue and store, where it was kept.
    pub(super) kept: Option<String>,
}

/// One account's part.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: &'static str,
    pub(super) totals: Totals,
    pub(super) limit: u32,
    /// The most counted requests in any minute.
    pub(super) most: usize,
    pub(super) minute: Duration,
    /// Requests that the provider refused for the limit.
    pub(super) refused: u64,
}

/// A promise, and whether it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// A word for programs.
    pub(super) name: &'static str,
    pub(super) holds: bool,
    /// With the numbers that show it.
    pub(super) text: String,
}

/// How the sample jobs that end otherwise than delivered do end.
const PLANNED: [(&str, u64); 2] = [("invalid", 1), ("rejected", 1)];

/// What the ledger says of one account, by its provider.
pub(super) fn most_of(ledger: &Ledger, provider: &str) -> (usize, u64) {
    let found = ledger.accounts.iter().find(|account| account.provider == provider);
    found.map_or((0, 0), |account| (account.most_in_window, account.counts.throttled))
}

impl Summary {
    /// Whether every promise held.
    pub(super) fn holds(&self) -> bool {
        self.checks().iter().all(|check| check.holds)
    }

    /// Every promise.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<Check> = self.accounts.iter().map(|account| self.limit(account)).collect();
        checks.push(self.sent_twice());
        checks.push(self.nothing_lost());
        if !self.interrupted {
            checks.push(self.as_planned());
        }
        checks
    }

    fn limit(&self, account: &Account) -> Check {
        let (most, limit) = (grouped(account.most as u64), grouped(account.limit.into()));
        let refused = if account.refused == 0 { "none" } else { "some" };
        Check {
            name: "limit",
            holds: account.most <= account.limit as usize && account.refused == 0,
            text: format!(
                "{}: at most {most} counted requests in any {} s, limit {limit}, {refused} refused",
                account.name,
                account.minute.as_secs_f64(),
            ),
        }
    }

    fn sent_twice(&self) -> Check {
        let taken = grouped(self.taken);
        Check {
            name: "twice",
            holds: self.twice == 0 && self.ledger_whole,
            text: format!(
                "sent twice: {}, by the providers' own ledger of {taken} accepted deliveries",
                self.twice
            ),
        }
    }

    fn nothing_lost(&self) -> Check {
        let totals = &self.totals;
        let [published, delivered, duplicate, expired, dead, open] = [
            totals.published,
            totals.delivered,
            totals.duplicate,
            totals.expired,
            totals.dead(),
            totals.open(),
        ]
        .map(grouped);
        let ends = format!("{delivered} delivered + {duplicate} duplicate + {expired} expired + {dead} dead");
        let waiting = if self.interrupted { format!(" + {open} still waiting") } else { String::new() };
        let all_ended =
            self.interrupted || (totals.ended() == totals.published && self.taken == totals.delivered);
        Check {
            name: "conserved",
            holds: all_ended && totals.ended() <= totals.published,
            text: format!("nothing lost: {published} = {ends}{waiting}"),
        }
    }

    fn as_planned(&self) -> Check {
        let totals = &self.totals;
        let dead = PLANNED.iter().map(|(reason, number)| ((*reason).to_owned(), *number)).collect();
        Check {
            name: "planned",
            holds: totals.duplicate == 1 && totals.expired == 1 && totals.dead == dead,
            text: "only the second, the late, the faulty and the invalid one were not delivered".to_owned(),
        }
    }

    /// For a person.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![self.heading(), Line::default()];
        lines.extend(self.table());
        lines.push(Line::default());
        lines.extend(self.checks().iter().map(check_line));
        if let Some(time) = self.usual_code_time {
            let text = format!(
                " half of the exempt messages: at most {} from publishing to receipt",
                short_ms(time)
            );
            lines.push(Line::of(Tone::Faint, "  ·").add(Tone::Plain, text));
        }
        lines.push(Line::default());
        lines.extend(self.what_next());
        lines
    }

    fn heading(&self) -> Line {
        let seconds = self.took.as_secs_f64();
        let how = if self.interrupted { "interrupted, drained" } else { "done" };
        let verdict = if self.holds() {
            Line::of(Tone::Good, "every promise held")
        } else {
            Line::of(Tone::Bad, "a promise did not hold: see below")
        };
        Line::of(Tone::Strong, " paceline demo")
            .add(Tone::Faint, format!("  {how} after {seconds:.1} s: "))
            .join(verdict)
    }

    fn table(&self) -> Vec<Line> {
        let columns: Vec<&Totals> =
            self.accounts.iter().map(|account| &account.totals).chain([&self.totals]).collect();
        let head = self.accounts.iter().map(|account| account.name).chain(["all"]);
        let head = Line::of(Tone::Faint, format!("   {:<16}", ""))
            .add(Tone::Strong, head.map(|name| format!("{name:>10}")).collect::<String>());
        let row = |word: &str, tone, number: &dyn Fn(&Totals) -> u64| {
            let numbers: String =
                columns.iter().map(|totals| format!("{:>10}", grouped(number(totals)))).collect();
            Line::of(Tone::Faint, format!("   {word:<16}")).add(tone, numbers)
        };
        let mut lines = vec![
            head,
            row("published", Tone::Strong, &|totals| totals.published),
            row("delivered", Tone::Good, &|totals| totals.delivered),
            row("duplicate", Tone::Plain, &|totals| totals.duplicate),
            row("expired", Tone::Plain, &|totals| totals.expired),
        ];
        for reason in self.totals.dead.keys() {
            let of = |totals: &Totals| totals.dead.get(reason).copied().unwrap_or_default();
            lines.push(row(&format!("dead, {reason}"), Tone::Warn, &of));
        }
        if self.totals.open() > 0 {
            lines.push(row("waiting", Tone::Warn, &Totals::open));
        }
        lines
    }

    fn what_next(&self) -> Vec<Line> {
        let program = &self.program;
        let second = match &self.kept {
            None => (format!("{program} simulate"), "the providers alone, for your tests"),
            Some(file) => (format!("sqlite3 {file} .tables"), "queue and store as they were left"),
        };
        let commands = [
            (format!("{program} demo --speed 10"), "the same with minutes of 6 s"),
            second,
            ("make run".to_owned(), "with RabbitMQ and Redis"),
        ];
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
        let line = |(command, what): (String, &str)| {
            Line::of(Tone::Accent, format!("   {command:<width$}")).add(Tone::Faint, format!("   {what}"))
        };
        std::iter::once(Line::of(Tone::Strong, " What to try next"))
            .chain(commands.into_iter().map(line))
            .collect()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let totals = &self.totals;
        let accounts: Vec<Value> = self
            .accounts
            .iter()
            .map(|account| {
                json!({
                    "account": account.name,
                    "published": account.totals.published,
                    "delivered": account.totals.delivered,
                    "limit": account.limit,
                    "windowSeconds": account.minute.as_secs_f64(),
                    "mostInWindow": account.most,
                    "refusedForLimit": account.refused,
                })
            })
            .collect();
        let checks: serde_json::Map<String, Value> =
            self.checks().iter().fold(serde_json::Map::new(), |mut all, check| {
                let so_far = all.get(check.name).and_then(Value::as_bool).unwrap_or(true);
                all.insert(check.name.to_owned(), json!(so_far && check.holds));
                all
            });
        json!({
            "kind": "summary",
            "seconds": self.took.as_secs_f64(),
            "interrupted": self.interrupted,
            "published": totals.published,
            "delivered": totals.delivered,
            "duplicate": totals.duplicate,
            "expired": totals.expired,
            "dead": totals.dead,
            "waiting": totals.open(),
            "sentTwice": self.twice,
            "acceptedByProviders": self.taken,
            "accounts": accounts,
            "checks": checks,
            "holds": self.holds(),
        })
    }
}

fn check_line(check: &Check) -> Line {
    let (tone, mark) = if check.holds { (Tone::Good, '✓') } else { (Tone::Bad, '✗') };
    Line::of(tone, format!("  {mark} ")).add(Tone::Plain, check.text.clone())
}

#[cfg(test)]
mod tests;
