//! The console in a real browser: Debian's Chromium, driven by its own driver through the WebDriver
//! protocol. Screenshots are left in `target/console/`.

#[path = "console/browser.rs"]
mod browser;
#[path = "console/pages.rs"]
mod pages;

#[allow(dead_code, unused_imports, reason = "the suite uses all of it, these tests only some")]
mod support;
