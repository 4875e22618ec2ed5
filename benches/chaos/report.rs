//! What a run came to, judged.

use crate::figures::{Figure, seconds};
use crate::run::Outcome;
use crate::verdicts::Key;

/// All figures of a run.
pub fn figures(outcome: &Outcome) -> Vec<Figure> {
    let mut figures = vec![
        Figure::told("seed", outcome.plan.seed.to_string()),
        Figure::told("jobs", outcome.plan.jobs.to_string()),
        Figure::told("deliveries published", outcome.deliveries.to_string()),
    ];
    figures.extend(
        outcome.ends.iter().map(|(kind, times)| Figure::told(format!("ended: {kind}"), times.to_string())),
    );
    let counts = &outcome.counts;
    figures.extend([
        none("lost: published and without an end", &counts.lost),
        none("ended more often than published", &counts.invented),
        Figure::told(
            "ended more often than published, before and after the store lost its data",
            counts.ended_across_a_loss.len().to_string(),
        ),
        Figure::bound(
            "dead letters that no receipt tells of",
            counts.untold_letters.to_string(),
            "0".to_owned(),
            counts.untold_letters == 0,
        ),
        Figure::told(
            "dead letters that no receipt tells of, written before the store lost its data",
            counts.letters_across_a_loss.to_string(),
        ),
        none("told as delivered, and never accepted", &counts.untaken),
        none("accepted, and told as neither delivered nor uncertain", &counts.untold),
        none("accepted twice", &counts.twice),
        Figure::told("accepted twice, account with on_unknown = \"resend\"", counts.resent.to_string()),
        Figure::told(
            "accepted twice, before and after the store lost its data",
            counts.across_a_loss.to_string(),
        ),
    ]);
    figures.extend(limits(outcome));
    figures.push(Figure::told("receipts that came again", outcome.repeats.to_string()));
    figures.push(Figure::told("refused for a limit", outcome.summary.counts.throttled.to_string()));
    figures.extend(
        outcome.troubles.iter().map(|(trouble, times)| Figure::told(trouble.name(), times.to_string())),
    );
    figures.push(Figure::told("from the last trouble to the last end", seconds(outcome.drained_in)));
    figures.push(Figure::told(
        "processes that wanted to run (1 min mean) on how many processors",
        outcome.load.clone(),
    ));
    figures
}

/// Of this there must be none; what there is gets named on standard error.
fn none(what: &str, found: &[Key]) -> Figure {
    for (account, id) in found.iter().take(20) {
        eprintln!("{what}: {account} {id}");
    }
    Figure::bound(what, found.len().to_string(), "0".to_owned(), found.is_empty())
}

fn limits(outcome: &Outcome) -> Vec<Figure> {
    let accounts = &outcome.summary.accounts;
    let limited = accounts.iter().filter_map(|account| Some((account, account.limit?)));
    limited
        .map(|(account, limit)| {
            let (what, most) =
                (format!("most requests in any minute, {}", account.provider), account.most_in_window);
            Figure::bound(what, most.to_string(), format!("at most {limit}"), most <= limit as usize)
        })
        .collect()
}
