//! `paceline demo` as a person sees it: a terminal that the test drives, plain lines, JSON.
//!
//! Needs no server. `PACELINE_DEMO_CAPTURE=FOLDER` writes the screens of the full run there, for the
//! README (see `make picture`).

#[path = "demo/capture.rs"]
mod capture;
#[path = "demo/seen.rs"]
mod seen;
#[path = "demo/terminal.rs"]
mod terminal;
#[path = "demo/told.rs"]
mod told;
