//! `paceline validate`: jobs checked as a worker would, without sending anything.

use std::path::PathBuf;

use serde::Serialize;

use super::lines::{self, Line, Lines};
use super::{Ended, Failure, Outcome, Shared, block_on, print};
use crate::config::Config;
use crate::job::{Finding, Job, MAX_JOB_BYTES};
use crate::pipeline::decode::decode_body;

/// Checks jobs without sending anything
///
/// Reads one JSON object a line and tells what a worker would say of it: what breaks the job
/// format or the provider's documented rules (the delivery would end as dead, reason invalid), and
/// warnings, which keep nothing from being sent. The rules depend on the account, so the
/// configuration with the accounts is needed, their credentials included; nothing is connected to.
///
/// Whether an id was used before is not looked at. Exit status 1 where a job is invalid.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  paceline --config /etc/paceline.toml validate jobs.ndjson\n  \
                        paceline validate - --json < jobs.ndjson")]
pub(super) struct Args {
    /// File of jobs, one JSON object a line; - reads standard input
    file: PathBuf,
    /// Print one JSON object for each line with findings or warnings, and one for the summary
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load_with_accounts()?;
    shared.log_quietly(&loaded)?;
    block_on(async {
        let (input, _) = lines::open(&args.file).await?;
        let mut lines = Lines::new(input);
        let mut summary = Summary::default();
        while let Some(line) = lines.next().await.map_err(anyhow::Error::new)? {
            let report = check(&line, &loaded.config);
            summary.add(&report);
            tell(&Told::Line(&report), args.json)?;
        }
        tell(&Told::Summary(&summary), args.json)?;
        Ok(if summary.invalid == 0 { Ended::Done } else { Ended::Failures })
    })
}

/// What there is to say of one line.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    line: u64,
    /// The job's identity, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    valid: bool,
    /// Deliveries that would be sent.
    deliveries: usize,
    findings: Vec<Remark>,
    warnings: Vec<Remark>,
}

/// One finding, with the delivery it is about where a job has several.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remark {
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    #[serde(flatten)]
    finding: Finding,
}

impl Remark {
    fn of_job(finding: Finding) -> Self {
        Self { delivery: None, finding }
    }

    fn as_text(&self) -> String {
        let delivery = self.delivery.as_ref().map(|id| format!("delivery {id}: ")).unwrap_or_default();
        format!("{delivery}{}", self.finding)
    }
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    jobs: u64,
    valid: u64,
    invalid: u64,
    with_warnings: u64,
    deliveries: u64,
}

impl Summary {
    fn add(&mut self, report: &Report) {
        self.jobs += 1;
        self.valid += u64::from(report.valid);
        self.invalid += u64::from(!report.valid);
        self.with_warnings += u64::from(!report.warnings.is_empty());
        self.deliveries += report.deliveries as u64;
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Told<'a> {
    Line(&'a Report),
    Summary(&'a Summary),
}

fn tell(told: &Told<'_>, json: bool) -> Result<(), Failure> {
    match told {
        Told::Line(report) if report.findings.is_empty() && report.warnings.is_empty() => Ok(()),
        Told::Line(_) | Told::Summary(_) if json => {
            print(&serde_json::to_string(told).map_err(anyhow::Error::new)?)
        }
        Told::Line(report) => as_text(report).iter().try_for_each(|line| print(line)),
        Told::Summary(Summary { jobs, valid, invalid, with_warnings, deliveries }) => print(&format!(
            "{jobs} jobs: {valid} valid, {invalid} invalid, {with_warnings} with warnings; {deliveries} deliveries"
        )),
    }
}

fn as_text(report: &Report) -> Vec<String> {
    let id = report.transaction_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    let all = report.findings.iter().map(|told| ("", told));
    let all = all.chain(report.warnings.iter().map(|told| ("warning: ", told)));
    all.map(|(word, told)| format!("line {}{id}: {word}{}", report.line, told.as_text())).collect()
}

/// Decodes and plans one line, as a worker would.
fn check(line: &Line, config: &Config) -> Report {
    let report = Report { line: line.number, ..Report::default() };
    let Some(body) = &line.body else {
        let found = format!("a line of more than {MAX_JOB_BYTES} bytes");
        let finding = Finding::new("", found, format!("at most {MAX_JOB_BYTES} bytes"), JOB_FORMAT);
        return Report { findings: vec![Remark::of_job(finding)], ..report };
    };
    match decode_body(body) {
        Ok(job) => check_job(&job, config, report),
        Err(unreadable) => {
            Report { findings: unreadable.findings.into_iter().map(Remark::of_job).collect(), ..report }
        }
    }
}

/// The source of a rule that the job format sets.
const JOB_FORMAT: &str = "job format";

fn check_job(job: &Job, config: &Config, report: Report) -> Report {
    let report = Report { transaction_id: Some(job.transaction_id.to_string()), ..report };
    let Some(account) = config.accounts.get(&job.account) else {
        let names = config.accounts.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let found = format!("the account {}, which is not configured", job.account);
        let finding = Finding::new("/account", found, format!("one of {names}"), "configuration");
        return Report { findings: vec![Remark::of_job(finding)], ..report };
    };
    let warnings = account.gateway.warnings(job).into_iter().map(Remark::of_job).collect();
    let planned = match account.gateway.plan(job) {
        Ok(planned) => planned,
        Err(findings) => {
            return Report {
                findings: findings.into_iter().map(Remark::of_job).collect(),
                warnings,
                ..report
            };
        }
    };
    let mut findings = Vec::new();
    let mut deliveries = 0;
    for planned in planned {
        match planned {
            Ok(_) => deliveries += 1,
            Err(unfit) => findings.extend(
                unfit
                    .findings
                    .into_iter()
                    .map(|finding| Remark { delivery: Some(unfit.id.to_string()), finding }),
            ),
        }
    }
    Report { valid: findings.is_empty(), deliveries, findings, warnings, ..report }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
