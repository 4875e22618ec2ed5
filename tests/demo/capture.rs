//! A screen as a picture.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Sizes of a character, in pixels.
const WIDE: f32 = 8.4;
const HIGH: f32 = 18.0;
/// Around the screen, and above it for the bar of the window.
const EDGE: f32 = 16.0;
const BAR: f32 = 34.0;

const BACKGROUND: &str = "#11151c";
const PLAIN: &str = "#d5dbe5";
/// The terminal's own 16 colours.
const COLOURS: [&str; 16] = [
    "#1b212b", "#f7768e", "#7fd88f", "#e8b45a", "#6cb6ff", "#c49cf0", "#5fd1d8", "#d5dbe5", "#5b6678",
    "#ff8f9f", "#9ce8a8", "#f5cb7a", "#8fcaff", "#d8b8ff", "#86e3e8", "#ffffff",
];

/// Writes a screen as a picture, where the person who runs the test asks for it.
pub fn keep(name: &str, screen: &vt100::Screen) {
    let Some(folder) = std::env::var_os("PACELINE_DEMO_CAPTURE").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("the folder");
    std::fs::write(folder.join(format!("{name}.svg")), svg(screen)).expect("the picture is written");
}

/// A run of cells that look alike.
#[derive(PartialEq, Clone)]
struct Look {
    colour: &'static str,
    bold: bool,
}

/// The screen as SVG: each run of characters at its own place, whatever the font's width is.
fn svg(screen: &vt100::Screen) -> String {
    let (rows, columns) = size(screen);
    let used = (0..rows).rev().find(|row| !row_text(screen, *row).trim().is_empty()).map_or(1, |row| row + 1);
    let width = f32::from(columns) * WIDE + 2.0 * EDGE;
    let height = f32::from(used) * HIGH + BAR + EDGE;
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="paceline demo in a terminal">"#
    );
    let _ = writeln!(out, r#"<rect width="{width}" height="{height}" rx="9" fill="{BACKGROUND}"/>"#);
    for (place, colour) in [(20, "#f7768e"), (40, "#e8b45a"), (60, "#7fd88f")] {
        let _ = writeln!(out, r#"<circle cx="{place}" cy="17" r="6" fill="{colour}"/>"#);
    }
    let _ = writeln!(
        out,
        r#"<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" xml:space="preserve">"#
    );
    for row in 0..used {
        row_svg(&mut out, screen, row, columns);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// Rows and columns.
fn size(screen: &vt100::Screen) -> (u16, u16) {
    let (rows, columns) = screen.size();
    (rows.get(), columns.get())
}

fn row_text(screen: &vt100::Screen, row: u16) -> String {
    let (_, columns) = size(screen);
    (0..columns).map(|column| cell(screen, row, column).0).collect()
}

fn cell(screen: &vt100::Screen, row: u16, column: u16) -> (String, Look) {
    let plain = Look { colour: PLAIN, bold: false };
    let Some(cell) = screen.cell(row, column) else { return (" ".to_owned(), plain) };
    let text = if cell.contents().is_empty() { " ".to_owned() } else { cell.contents().to_owned() };
    let colour = match cell.fgcolor() {
        vt100::Color::Idx(index) => COLOURS[usize::from(index) % 16],
        vt100::Color::Default | vt100::Color::Rgb(..) => PLAIN,
    };
    (text, Look { colour, bold: cell.bold() })
}

fn row_svg(out: &mut String, screen: &vt100::Screen, row: u16, columns: u16) {
    let top = BAR + f32::from(row) * HIGH;
    let mut column = 0;
    while column < columns {
        let (text, look) = cell(screen, row, column);
        if let Some((x, y, w, h)) = block(&text) {
            // Blocks as shapes: fonts leave gaps between them. Those alike that touch are one.
            let alike = (column + 1..columns)
                .take_while(|next| w >= 1.0 && cell(screen, row, *next) == (text.clone(), look.clone()))
                .count() as u16;
            let (left, top) = (EDGE + f32::from(column) * WIDE + x * WIDE, top + y * HIGH);
            let faint = if text == "░" { r#" opacity="0.28""# } else { "" };
            let (w, h) = ((w + f32::from(alike)) * WIDE, h * HIGH);
            let _ = writeln!(
                out,
                r#"<rect x="{left:.1}" y="{top:.1}" width="{w:.1}" height="{h:.1}" fill="{}"{faint}/>"#,
                look.colour
            );
            column += 1 + alike;
            continue;
        }
        let start = column;
        let mut run = String::new();
        while column < columns {
            let (text, next) = cell(screen, row, column);
            if next != look || block(&text).is_some() {
                break;
            }
            run.push_str(&text);
            column += 1;
        }
        if !run.trim().is_empty() {
            let x = EDGE + f32::from(start) * WIDE;
            let y = top + HIGH * 0.74;
            let weight = if look.bold { r#" font-weight="bold""# } else { "" };
            let length = run.chars().count() as f32 * WIDE;
            let run = run.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(
                out,
                r#"<text x="{x:.1}" y="{y:.1}" textLength="{length:.1}" fill="{}"{weight}>{run}</text>"#,
                look.colour
            );
        }
    }
}

/// What part of its cell a block fills: left, top, width, height.
fn block(text: &str) -> Option<(f32, f32, f32, f32)> {
    let character = text.chars().next()?;
    let low = |eighths: f32| Some((0.0, 0.95 - eighths * 0.85 / 8.0, 0.86, eighths * 0.85 / 8.0));
    match character {
        '█' | '░' => Some((0.0, 0.14, 1.0, 0.72)),
        '▉'..='▏' => {
            let eighths = 8.0 - (character as u32 - '█' as u32) as f32;
            Some((0.0, 0.14, eighths / 8.0, 0.72))
        }
        '▁'..='▇' => low((character as u32 - '▁' as u32 + 1) as f32),
        '┃' => Some((0.25, 0.02, 0.3, 0.96)),
        '━' => Some((0.0, 0.44, 1.0, 0.14)),
        '─' => Some((0.0, 0.48, 1.0, 0.05)),
        _ => None,
    }
}
