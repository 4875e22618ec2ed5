//! Where the demo is seen: a terminal, plain lines, or JSON.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::draw;
use super::picture::{AccountPicture, Event, Health, Picture};
use super::screen::Screen;
use super::style::Line;
use super::summary::Summary;
use crate::cli::{Failure, print, print_lines};
use crate::numbers::grouped;

/// How often plain lines and JSON tell how things stand.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
const JSON_EVERY: Duration = Duration::from_secs(1);

/// One of the three.
pub(super) enum Output {
    /// A picture, drawn again and again.
    Live(Screen),
    /// Lines, each written once.
    Plain(Told),
    /// The same for programs.
    Json(Told),
}

/// What was written so far.
#[derive(Default)]
pub(super) struct Told {
    events: usize,
    state: Duration,
}

/// Whether colours are wanted: https://no-color.org.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A terminal that can draw. An empty environment names no kind of terminal; most can.
fn can_draw() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

impl Output {
    /// What fits standard output.
    pub(super) fn open(json: bool) -> Result<Self, Failure> {
        if json {
            return Ok(Self::Json(Told::default()));
        }
        if !can_draw() {
            return Ok(Self::Plain(Told::default()));
        }
        Screen::enter(colours()).map(Self::Live).map_err(|_| Failure::OutputClosed)
    }

    /// Brings it up to date.
    pub(super) fn show(&mut self, picture: &Picture) -> Result<(), Failure> {
        match self {
            Self::Live(screen) => {
                let (width, height) = Screen::size();
                let lines = draw::screen(picture, width, height);
                screen.draw(&lines, (width, height)).map_err(|_| Failure::OutputClosed)
            }
            Self::Plain(told) => told.news(picture, PLAIN_EVERY, &plain_event, &plain_state),
            Self::Json(told) => told.news(picture, JSON_EVERY, &json_event, &json_state),
        }
    }

    /// Ends it with the summary.
    pub(super) fn end(self, picture: &Picture, summary: &Summary) -> Result<(), Failure> {
        let text = match self {
            Self::Live(screen) => {
                // The terminal is given back first: the summary stays on it.
                drop(screen);
                written(&summary.lines(), colours())
            }
            Self::Plain(mut told) => {
                told.news(picture, Duration::MAX, &plain_event, &plain_state)?;
                written(&summary.lines(), false)
            }
            Self::Json(mut told) => {
                told.news(picture, Duration::MAX, &json_event, &json_state)?;
                return print(&summary.json().to_string());
            }
        };
        print_lines(&format!("\n{text}\n"))
    }
}

fn written(lines: &[Line], colours: bool) -> String {
    lines.iter().map(|line| line.written(colours) + "\n").collect()
}

impl Told {
    /// Writes the events that are new, and now and then how things stand.
    fn news(
        &mut self,
        picture: &Picture,
        every: Duration,
        event: &dyn Fn(&Event) -> String,
        state: &dyn Fn(&Picture) -> String,
    ) -> Result<(), Failure> {
        for one in &picture.events[self.events..] {
            print(&event(one))?;
        }
        self.events = picture.events.len();
        if picture.elapsed.saturating_sub(self.state) >= every {
            self.state = picture.elapsed;
            print(&state(picture))?;
        }
        Ok(())
    }
}

fn plain_event(event: &Event) -> String {
    draw::event(event).plain()
}

fn plain_state(picture: &Picture) -> String {
    let account = |account: &AccountPicture| {
        let lanes: Vec<String> = account
            .lanes
            .iter()
            .filter(|lane| lane.waiting > 0)
            .map(|lane| format!("{} {}", lane.name, grouped(lane.waiting)))
            .collect();
        let waits = if lanes.is_empty() { "nothing waits".to_owned() } else { lanes.join(", ") };
        format!(
            "{}: {} of {} used, {} sent in a second, {waits}",
            account.name,
            grouped(account.used as u64),
            grouped(account.limit.into()),
            grouped(account.per_second.into()),
        )
    };
    let accounts: Vec<String> = picture.accounts.iter().map(account).collect();
    format!(" {:>5.1} · {}", picture.elapsed.as_secs_f64(), accounts.join("; "))
}

fn json_event(event: &Event) -> String {
    json!({
        "kind": "event",
        "seconds": event.at.as_secs_f64(),
        "mark": event.mark.as_str(),
        "text": event.text,
    })
    .to_string()
}

fn json_state(picture: &Picture) -> String {
    let account = |account: &AccountPicture| {
        let lanes: serde_json::Map<String, Value> =
            account.lanes.iter().map(|lane| (lane.name.to_owned(), json!(lane.waiting))).collect();
        json!({
            "account": account.name,
            "limit": account.limit,
            "windowSeconds": picture.minute.as_secs_f64(),
            "usedInWindow": account.used,
            "mostInWindow": account.most,
            "sentLastSecond": account.per_second,
            "waiting": lanes,
            "paused": paused(account.health),
        })
    };
    let accounts: Vec<Value> = picture.accounts.iter().map(account).collect();
    json!({
        "kind": "state",
        "seconds": picture.elapsed.as_secs_f64(),
        "published": picture.totals.published,
        "delivered": picture.totals.delivered,
        "accounts": accounts,
    })
    .to_string()
}

fn paused(health: Health) -> Value {
    let told = |cause: &str, left: Duration| json!({"cause": cause, "seconds": left.as_secs_f64()});
    match health {
        Health::Well => Value::Null,
        Health::Open(left) => told("circuit", left),
        Health::Probing => told("circuit", Duration::ZERO),
        Health::Throttled(left) => told("throttled", left),
        Health::Stopped(cause) => told(cause, Duration::ZERO),
    }
}
