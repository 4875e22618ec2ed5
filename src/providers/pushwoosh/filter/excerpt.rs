//! The place in a filter, for people, without its values.

use super::error::{KNOWN_WORDS, is_quote_like};
use super::token::{is_blank, is_word};

/// The most characters of an excerpt.
const WIDTH: usize = 80;

/// The most characters before the place.
const BEFORE: usize = WIDTH / 2;

const MASK: char = '·';
const CUT: char = '…';

/// A window of the text and a caret below the character with this index, counted from 0.
pub(super) fn excerpt(text: &str, index: usize) -> String {
    let from = index.saturating_sub(BEFORE);
    let masked = masked(text);
    let mut rest = masked.chars().skip(from);
    let mut window: Vec<char> = rest.by_ref().take(WIDTH).collect();
    if from > 0 {
        window[0] = CUT;
    }
    if rest.next().is_some() {
        window[WIDTH - 1] = CUT;
    }
    let line: String = window.into_iter().collect();
    format!("{line}\n{:>width$}", '^', width = index - from + 1)
}

/// The text, character for character, without its values. Outside of quotes only signs and the
/// language's own words are shown: a value whose quotes were forgotten, or numbers, may be user ids.
fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (part, segment) in text.split('"').enumerate() {
        if part > 0 {
            shown.push('"');
        }
        let quoted = part % 2 == 1;
        if quoted { shown.extend(segment.chars().map(|_| MASK)) } else { mask_outside(segment, &mut shown) }
    }
    shown
}

fn mask_outside(segment: &str, shown: &mut String) {
    let mut rest = segment;
    while let Some(c) = rest.chars().next() {
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            shown.push(shown_sign(c));
            rest = &rest[c.len_utf8()..];
        } else {
            let (word, behind) = rest.split_at(length);
            let known = KNOWN_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
            if known {
                shown.push_str(word)
            } else {
                shown.extend(word.chars().map(|_| MASK))
            }
            rest = behind;
        }
    }
}

fn shown_sign(c: char) -> char {
    match c {
        c if is_blank(c) || c.is_whitespace() => ' ',
        c if c.is_ascii_graphic() || is_quote_like(c) => c,
        _ => MASK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_the_caret_stands_below() {
        for (text, index, expected) in [
            ("", 0, "\n^"),
            ("T(\"Nam\", eq, \"x\")", 9, "T(\"···\", eq, \"·\")\n         ^"),
            ("T(\"é日本\",\tEQ,\n12)", 15, "T(\"···\", EQ, ··)\n               ^"),
            ("T(bob@example.org)", 2, "T(···@·······.···)\n  ^"),
            ("T(“Name”, EQ, 1)", 2, "T(“····”, EQ, ·)\n  ^"),
            ("A(\"open", 2, "A(\"····\n  ^"),
            ("A(\"a\"b\")", 4, "A(\"·\"·\"·\n    ^"),
            ("\u{1F600}\u{0}A", 1, "··A\n ^"),
        ] {
            assert_eq!(excerpt(text, index), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_on_both_sides() {
        let text = "(".repeat(1_000);
        for (index, line, caret) in [
            (0, format!("{}…", "(".repeat(79)), 0),
            (40, format!("{}…", "(".repeat(79)), 40),
            (41, format!("…{}…", "(".repeat(78)), 40),
            (961, format!("…{}", "(".repeat(78)), 40),
            (999, format!("…{}", "(".repeat(40)), 40),
            (1_000, format!("…{}", "(".repeat(39)), 40),
        ] {
            assert_eq!(excerpt(&text, index), format!("{line}\n{}^", " ".repeat(caret)), "{index}");
        }
    }
}
