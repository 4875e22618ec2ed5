//! The picture as lines for a terminal of any size. Pure.

use std::time::Duration;

use super::picture::{AccountPicture, Event, Health, Lane, Mark, Picture, Totals};
use super::style::{Line, Tone};
use crate::numbers::{grouped, short};

/// The smallest terminal that shows everything.
const FULL_HEIGHT: usize = 24;

/// Where bars begin.
const INDENT: usize = 9;

/// The lines of the picture, no more than fit.
pub(super) fn screen(picture: &Picture, width: usize, height: usize) -> Vec<Line> {
    let roomy = height >= FULL_HEIGHT;
    let mut lines = vec![title(picture, width), progress(picture, width), showing(picture)];
    for account in &picture.accounts {
        if roomy {
            lines.push(Line::default());
        }
        lines.extend(account_lines(account, width, roomy));
    }
    if roomy {
        lines.push(Line::default());
    }
    let foot = foot(picture, width, roomy);
    let room = height.saturating_sub(lines.len() + foot.len());
    let skip = picture.events.len().saturating_sub(room);
    lines.extend(picture.events.iter().skip(skip).map(event));
    // Events grow downwards from the accounts; the foot stays at the bottom.
    let used = lines.len() + foot.len();
    lines.extend(std::iter::repeat_n(Line::default(), height.saturating_sub(used)));
    lines.extend(foot);
    lines.into_iter().take(height).map(|line| line.fit(width)).collect()
}

fn title(picture: &Picture, width: usize) -> Line {
    let minute = short(picture.minute);
    Line::of(Tone::Strong, " paceline demo")
        .add(Tone::Faint, format!("  all in one process, a provider's minute lasts {minute}"))
        .edge(Line::of(Tone::Faint, format!("seed {} ", picture.seed)), width)
}

fn progress(picture: &Picture, width: usize) -> Line {
    let left = picture.length.saturating_sub(picture.elapsed);
    let told = if left.is_zero() {
        " sending the rest ".to_owned()
    } else {
        format!(" {:>2} s left ", left.as_secs_f64().ceil() as u64)
    };
    let room = width.saturating_sub(told.chars().count() + 1);
    let share = picture.elapsed.as_secs_f64() / picture.length.as_secs_f64().max(0.001);
    let done = (((room as f64) * share) as usize).min(room);
    Line::of(Tone::Plain, " ")
        .add(Tone::Accent, "━".repeat(done))
        .add(Tone::Faint, "─".repeat(room - done))
        .add(Tone::Faint, told)
}

fn showing(picture: &Picture) -> Line {
    Line::of(Tone::Accent, format!(" ▸ {}", picture.showing))
}

fn account_lines(account: &AccountPicture, width: usize, roomy: bool) -> Vec<Line> {
    let head = Line::of(Tone::Strong, format!(" {}", account.name))
        .add(
            Tone::Faint,
            format!("  {}, {} requests a minute", account.provider, grouped(account.limit.into())),
        )
        .edge(health(account.health), width);
    let mut lines = vec![head, used(account, width)];
    if roomy {
        lines.push(sent(account, width));
    }
    lines.push(waits(account, width));
    lines
}

fn health(health: Health) -> Line {
    let (tone, text) = match health {
        Health::Well => (Tone::Good, "● sending ".to_owned()),
        Health::Open(left) => (Tone::Bad, format!("● circuit open, probe in {} ", tenths(left))),
        Health::Probing => (Tone::Warn, "● circuit open, a probe is under way ".to_owned()),
        Health::Throttled(left) => (Tone::Warn, format!("● told to slow down, {} left ", tenths(left))),
        Health::Stopped(why) => (Tone::Bad, format!("● paused: {why} ")),
    };
    Line::of(tone, text)
}

/// With one digit behind the point, so that it is seen to move.
fn tenths(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// How much of the limit the last minute used up. Beyond the mark would be above the limit.
fn used(account: &AccountPicture, width: usize) -> Line {
    /// Columns behind the mark.
    const BEYOND: usize = 2;
    let most = grouped(account.limit.into());
    let used = grouped(account.used as u64);
    let percent = account.used as u64 * 100 / u64::from(account.limit.max(1));
    let told = format!(" {used:>width$} of {most} {percent:>3} % ", width = most.len());
    let room = width.saturating_sub(INDENT + told.chars().count() + BEYOND + 1);
    let label = label("used");
    if room < 8 {
        return label.add(Tone::Plain, told);
    }
    let share = account.used as f64 / f64::from(account.limit.max(1));
    let tone = if share > 1.0 { Tone::Bad } else { Tone::Good };
    let bar = bar(share.min(1.0), room);
    let rest = room - bar.chars().count();
    let beyond = if share > 1.0 { "█".repeat(BEYOND) } else { " ".repeat(BEYOND) };
    label
        .add(tone, bar)
        .add(Tone::Faint, "░".repeat(rest))
        .add(Tone::Strong, "┃")
        .add(Tone::Bad, beyond)
        .add(Tone::Plain, told)
}

fn label(text: &str) -> Line {
    Line::of(Tone::Faint, format!("   {text:<width$}", width = INDENT - 3))
}

/// A bar in eighths of a column; anything above nothing is seen.
fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = ((share * width as f64 * 8.0) as usize).max(usize::from(share > 0.0)).min(width * 8);
    let part = eighths % 8;
    let last = part.checked_sub(1).and_then(|index| EIGHTHS.get(index));
    "█".repeat(eighths / 8) + &last.map(char::to_string).unwrap_or_default()
}

fn sent(account: &AccountPicture, width: usize) -> Line {
    let told = format!(
        " {:>6}/s, {:.1} in a request ",
        grouped(account.per_second.into()),
        account.per_request.max(1.0)
    );
    let room = width.saturating_sub(INDENT + told.chars().count());
    let steps = &account.sends[account.sends.len().saturating_sub(room)..];
    let line = sparkline(steps);
    let gap = room - steps.len();
    label("sent").add(Tone::Flow, line).add(Tone::Plain, " ".repeat(gap)).add(Tone::Plain, told)
}

/// One column for each step, the highest one full.
fn sparkline(steps: &[u32]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = steps.iter().copied().max().unwrap_or_default().max(1) as usize;
    let height = |step: &u32| match *step as usize {
        0 => ' ',
        step => HEIGHTS[(step * 7).div_ceil(most).min(7)],
    };
    steps.iter().map(height).collect()
}

fn waits(account: &AccountPicture, width: usize) -> Line {
    let most = account.lanes.iter().map(|lane| lane.waiting).max().unwrap_or_default().max(50);
    let texts: usize = account.lanes.iter().map(|lane| lane_text(lane).chars().count() + 3).sum();
    // Whatever the texts leave, in equal parts.
    let room = width.saturating_sub(INDENT + texts) / account.lanes.len().max(1);
    let mut line = label("wait");
    for lane in &account.lanes {
        let share = lane.waiting as f64 / most as f64;
        let bar = if room < 2 { String::new() } else { bar(share, room.min(12)) };
        line = line
            .add(if lane.waiting == 0 { Tone::Faint } else { Tone::Plain }, lane_text(lane))
            .add(lane_tone(lane.name), if bar.is_empty() { bar } else { format!(" {bar}") })
            .add(Tone::Plain, "  ");
    }
    line
}

fn lane_text(lane: &Lane) -> String {
    format!("{} {}", lane.name, grouped(lane.waiting))
}

fn lane_tone(name: &str) -> Tone {
    match name {
        "retry" => Tone::Warn,
        "high" => Tone::Accent,
        _ => Tone::Flow,
    }
}

/// An event as a line.
pub(super) fn event(event: &Event) -> Line {
    let (tone, mark) = match event.mark {
        Mark::Act => (Tone::Accent, '▸'),
        Mark::Good => (Tone::Good, '✓'),
        Mark::Trouble => (Tone::Bad, '!'),
        Mark::Ended => (Tone::Warn, '×'),
    };
    let text = if event.mark == Mark::Act { Tone::Accent } else { Tone::Plain };
    Line::of(Tone::Faint, format!(" {:>5.1}", event.at.as_secs_f64()))
        .add(tone, format!(" {mark} "))
        .add(text, event.text.clone())
}

fn foot(picture: &Picture, width: usize, roomy: bool) -> Vec<Line> {
    let totals = &picture.totals;
    let rule = Line::of(Tone::Faint, format!(" {}", "─".repeat(width.saturating_sub(2))));
    let mut foot = if roomy { vec![rule, promises(picture)] } else { Vec::new() };
    foot.push(ends(totals));
    foot
}

fn promises(picture: &Picture) -> Line {
    let kept = |is_kept: bool| if is_kept { Tone::Good } else { Tone::Bad };
    let twice = picture.twice;
    let mut line = Line::of(Tone::Faint, " sent twice ")
        .add(kept(twice == 0), grouped(twice))
        .add(Tone::Faint, "   most in any minute:");
    for account in &picture.accounts {
        let most = format!("{} of {}", grouped(account.most as u64), grouped(account.limit.into()));
        line = line
            .add(Tone::Faint, format!(" {} ", account.name))
            .add(kept(account.most <= account.limit as usize), most)
            .add(Tone::Plain, " ");
    }
    line
}

fn ends(totals: &Totals) -> Line {
    let mut line = Line::of(Tone::Faint, " published ").add(Tone::Strong, grouped(totals.published));
    let counts = [
        ("delivered", totals.delivered, Tone::Good),
        ("duplicate", totals.duplicate, Tone::Plain),
        ("expired", totals.expired, Tone::Plain),
        ("dead", totals.dead(), Tone::Warn),
        ("open", totals.open(), Tone::Plain),
    ];
    for (word, number, tone) in counts {
        let tone = if number == 0 { Tone::Faint } else { tone };
        line = line.add(Tone::Faint, format!("  {word} ")).add(tone, grouped(number));
    }
    line
}

#[cfg(test)]
mod tests;
