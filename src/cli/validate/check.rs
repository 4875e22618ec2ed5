//! What there is to say of one line: pure, from its bytes and the configuration to a report.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::cli::lines::Line;
use crate::config::Config;
use crate::job::{Finding, Job, MAX_JOB_BYTES};
use crate::pipeline::decode::decode_body;
use crate::providers::Unfit;

/// The source of a rule that the job format sets.
const JOB_FORMAT: &str = "paceline job format";

/// What there is to say of one line.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    line: u64,
    /// The job's identity, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    pub(super) valid: bool,
    /// Deliveries that would be sent.
    pub(super) deliveries: usize,
    pub(super) findings: Vec<Remark>,
    warnings: Vec<Remark>,
}

/// One finding, with the delivery it is about where that has a name of its own.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Remark {
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    #[serde(flatten)]
    finding: Finding,
}

impl Remark {
    fn of_job(finding: Finding) -> Self {
        Self { delivery: None, finding }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.delivery {
            write!(f, "delivery {id}: ")?;
        }
        write!(f, "{}", self.finding)
    }
}

/// The report as text, a line for each finding, what points into a longer text below it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = self.findings.iter().map(|remark| ("", remark));
        let warnings = self.warnings.iter().map(|remark| ("warning: ", remark));
        for (word, remark) in findings.chain(warnings) {
            write!(f, "line {}", self.line)?;
            if let Some(id) = &self.transaction_id {
                write!(f, " ({id})")?;
            }
            writeln!(f, ": {word}{remark}")?;
            for line in remark.finding.excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

/// What came of many lines.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) jobs: u64,
    pub(super) valid: u64,
    pub(super) invalid: u64,
    with_warnings: u64,
    deliveries: u64,
    /// The last line that was checked, where the checking ended before the file did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped_after_line: Option<u64>,
}

impl Summary {
    pub(super) fn of(report: &Report) -> Self {
        Self {
            jobs: 1,
            valid: report.valid.into(),
            invalid: (!report.valid).into(),
            with_warnings: (!report.warnings.is_empty()).into(),
            deliveries: report.deliveries as u64,
            stopped_after_line: None,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.valid += other.valid;
        self.invalid += other.invalid;
        self.with_warnings += other.with_warnings;
        self.deliveries += other.deliveries;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, valid, invalid, with_warnings, deliveries, stopped_after_line } = self;
        write!(
            f,
            "{jobs} jobs: {valid} valid, {invalid} invalid, {with_warnings} with warnings; {deliveries} deliveries"
        )?;
        match stopped_after_line {
            Some(line) => write!(f, "; stopped after line {line}, the lines behind it were not checked"),
            None => Ok(()),
        }
    }
}

/// One object of the output for machines.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Told<'a> {
    Line(&'a Report),
    Summary(&'a Summary),
}

impl Told<'_> {
    /// As it is printed, line ends included; nothing for a line that there is nothing to say of.
    pub(super) fn write(&self, json: bool, out: &mut String) -> anyhow::Result<()> {
        match self {
            Self::Line(report) if report.findings.is_empty() && report.warnings.is_empty() => {}
            Self::Line(_) | Self::Summary(_) if json => {
                out.push_str(&serde_json::to_string(self)?);
                out.push('\n');
            }
            Self::Line(report) => write!(out, "{report}")?,
            Self::Summary(summary) => writeln!(out, "{summary}")?,
        }
        Ok(())
    }
}

/// Decodes and plans one line, as a worker would.
pub(super) fn check(line: &Line, config: &Config) -> Report {
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
            Err(Unfit { id, findings: of_one, .. }) => {
                let delivery = (id.as_str() != job.transaction_id.as_str()).then(|| id.to_string());
                let remark = |finding| Remark { delivery: delivery.clone(), finding };
                findings.extend(of_one.into_iter().map(remark));
            }
        }
    }
    Report { valid: findings.is_empty(), deliveries, findings, warnings, ..report }
}

#[cfg(test)]
#[path = "../validate_tests.rs"]
mod tests;
