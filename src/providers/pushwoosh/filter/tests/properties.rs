use std::fmt::Write;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::providers::pushwoosh::filter::condition::describe_text;

fn value() -> impl Strategy<Value = Text> {
    let plain = "[a-z0-9 ()\\[\\],+*é日“”'\n\t]{0,12}";
    let wild = any::<String>().prop_map(|text| text.replace('"', "").trim_end_matches('\\').to_owned());
    prop_oneof![plain.boxed(), wild.boxed()].prop_map(|text| Text::new(&text).unwrap())
}

fn name() -> impl Strategy<Value = Name> {
    ("[A-Za-z0-9]", value())
        .prop_map(|(first, rest)| Name::new(&format!("{first}{}", rest.as_str())).unwrap())
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![value().prop_map(Scalar::Text), any::<i64>().prop_map(Scalar::Number)]
}

fn bound() -> impl Strategy<Value = Scalar> {
    let text = |text: &str| Scalar::Text(Text::new(text).unwrap());
    prop_oneof![
        any::<i64>().prop_map(Scalar::Number),
        (0..1000u32).prop_map(move |days| text(&format!("{days} days ago"))),
        (2000..2100, 1..=12, 1..=28).prop_map(move |(y, m, d)| text(&format!("{y}-{m:02}-{d:02}"))),
        (1..=28, 0..24, 0..60).prop_map(move |(d, h, m)| text(&format!("2026-02-{d:02} {h:02}:{m:02}"))),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    use Operator::{Any, Between, Eq, Gte, In, Lte, NotEq, NotIn, NotSet};
    let made = |(operator, operand)| Condition::new(operator, operand).unwrap();
    let ordered = |mut bounds: Vec<Scalar>| {
        Condition::new(Between, Operand::List(bounds.clone())).unwrap_or_else(|_| {
            bounds.reverse();
            Condition::new(Between, Operand::List(bounds)).unwrap()
        })
    };
    prop_oneof![
        (select(vec![Eq, NotEq, NotSet, Any]), scalar().prop_map(Operand::One)).prop_map(made),
        (select(vec![In, NotIn, NotSet, Any]), vec(scalar(), 1..4).prop_map(Operand::List)).prop_map(made),
        (select(vec![Gte, Lte]), bound().prop_map(Operand::One)).prop_map(made),
        vec(bound(), 2).prop_map(ordered),
    ]
}

fn set() -> impl Strategy<Value = Set> {
    let platforms = || vec(select(Platform::ALL.to_vec()), 0..4);
    prop_oneof![
        (name(), platforms()).prop_map(|(code, platforms)| Set::Application { code, platforms }),
        (name(), platforms()).prop_map(|(code, platforms)| Set::Group { code, platforms }),
        (name(), condition()).prop_map(|(name, condition)| Set::Tag { name, condition }),
        (name(), name(), condition()).prop_map(|(app, name, condition)| Set::AppTag { app, name, condition }),
    ]
}

const OPERATIONS: [Operation; 3] = [Operation::Union, Operation::Intersection, Operation::Difference];

/// Trees of any shape: neighbours are combined at random until one is left.
fn filter() -> impl Strategy<Value = Filter> {
    vec((set(), select(OPERATIONS.to_vec()), any::<Index>()), 1..24).prop_map(|parts| {
        let mut filters: Vec<_> = parts.iter().map(|(set, ..)| Filter::from(set.clone())).collect();
        for (_, operation, place) in &parts[1..] {
            let left = place.index(filters.len() - 1);
            let right = filters.remove(left + 1);
            let left = &mut filters[left];
            *left = left.clone().combine(*operation, right);
        }
        filters.remove(0)
    })
}

/// Pieces of which nearly every sequence is wrong in a way of its own.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = vec![
        "(",
        ")",
        "[",
        "]",
        ",",
        "+",
        "*",
        "\\",
        "\"",
        " ",
        "\n",
        "A",
        "G",
        "T",
        "AT",
        "EQ",
        "eq",
        "NOTEQ",
        "IN",
        "BETWEEN",
        "GTE",
        "ANY",
        "NOTSET",
        "5",
        "-",
        "-7",
        "1.5",
        "99999999999999999999",
        "\"x\"",
        "\"iOS\"",
        "\"\"",
        "“",
        "’",
        "'",
        "\\\"",
        "é",
        "\u{1F600}",
        "A(\"1\")",
        "T(\"n\", EQ, 1)",
        "T(\"n\", GTE, \"x\")",
        "[1, 2]",
        "AT(\"1\", \"n\", IN, [\"x\"])",
        "A(\"1\", [\"iOS\"])",
        "&",
        "word",
    ];
    vec(select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

/// A printed filter with a few characters taken out, put in or replaced.
fn damaged() -> impl Strategy<Value = String> {
    let changes =
        vec((any::<Index>(), select("()[],+*\\\" “”x5\n".chars().collect::<Vec<_>>()), 0..3u8), 1..4);
    (filter(), changes).prop_map(|(filter, changes)| {
        let mut text: Vec<char> = filter.to_string().chars().collect();
        for (place, c, kind) in changes {
            let at = place.index(text.len());
            match kind {
                0 => _ = text.remove(at),
                1 => text.insert(at, c),
                _ => text[at] = c,
            }
            if text.is_empty() {
                break;
            }
        }
        text.into_iter().collect()
    })
}

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());

/// Whatever the text: no panic, and either a filter that prints and reads back, or an error whose
/// parts hold together.
fn check_any(text: &str) {
    match parse(text) {
        Ok(filter) => {
            let printed = filter.to_string();
            assert_eq!(parse(&printed).unwrap(), filter, "{text}");
            assert!(SCHEMA.is_valid(&json!(text)), "{text}");
        }
        Err(error) => check_error(text, &error),
    }
}

fn check_error(text: &str, error: &FilterError) {
    assert!((1..=text.chars().count() + 1).contains(&error.column), "{text}");
    assert!(!error.found.is_empty() && !error.expected.is_empty(), "{text}");
    assert_eq!(error.to_string().lines().count(), 1, "{text}");
    let lines: Vec<_> = error.excerpt().split('\n').collect();
    let [window, caret] = lines[..] else { panic!("not two lines: {text}") };
    assert!(window.chars().count() <= 80, "{text}");
    assert!(caret.chars().count() <= window.chars().count() + 1 && caret.ends_with('^'), "{text}");
    assert!(caret.trim_start().len() == 1, "{text}");
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(filter in filter()) {
        let printed = filter.to_string();
        let read = parse(&printed).unwrap();
        prop_assert_eq!(&read, &filter, "{}", printed);
        prop_assert_eq!(read.to_string(), printed);
    }

    /// Without any one of its grouping brackets it would be another filter.
    #[test]
    fn every_printed_bracket_is_needed(filter in filter()) {
        let printed = filter.to_string();
        for (open, close) in grouping_brackets(&printed) {
            let text = format!("{}{}{}", &printed[..open], &printed[open + 1..close], &printed[close + 1..]);
            prop_assert_ne!(parse(&text).unwrap(), filter.clone(), "{}", text);
        }
    }

    /// The parser against the grammar as written: one function for each of its rules.
    #[test]
    fn grouping_follows_the_grammar(text in bracketed()) {
        let mut rest = text.as_str();
        let expected = by_the_grammar::filter(&mut rest);
        prop_assert!(rest.is_empty(), "{}", rest);
        prop_assert_eq!(grouped(&parse(&long(&text)).unwrap()), long(&expected));
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        check_any(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text(text in any::<String>()) {
        check_any(&text);
    }

    #[test]
    fn any_pieces(text in pieces()) {
        check_any(&text);
    }

    #[test]
    fn any_damage(text in damaged()) {
        check_any(&text);
    }

    /// However a filter is broken, what is said of it never holds a value of it.
    #[test]
    fn no_value_is_told(before in pieces(), after in pieces(), quote in select(vec!["", "\"", "“", "'"])) {
        let secret = "user4711secret";
        for text in [
            format!("{before}{quote}{secret}{quote}{after}"),
            format!("T(\"n\", EQ, {quote}{secret}{quote}{after}"),
            format!("A({quote}{secret}{quote}, [{quote}{secret}{quote}]{after}"),
        ] {
            if let Err(error) = parse(&text) {
                for told in [error.to_string(), error.excerpt().to_owned(), format!("{error:?}")] {
                    prop_assert!(!told.contains("4711"), "{}: {}", text, told);
                    prop_assert!(!told.contains("secret"), "{}: {}", text, told);
                }
            }
        }
    }

    #[test]
    fn work_is_in_proportion_to_any_text(text in prop_oneof![pieces(), damaged(), any::<String>()]) {
        check_work(&text);
    }
}

/// Grouping brackets of a printed filter: those that follow no letter.
fn grouping_brackets(printed: &str) -> Vec<(usize, usize)> {
    let (mut open, mut pairs, mut quoted) = (Vec::new(), Vec::new(), false);
    let mut previous = ' ';
    for (at, c) in printed.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => open.push((at, !previous.is_ascii_alphabetic())),
            ')' if !quoted => {
                let (from, grouping) = open.pop().unwrap();
                pairs.extend(grouping.then_some((from, at)));
            }
            _ => {}
        }
        previous = c;
    }
    pairs
}

/// Expressions of one-digit sets with brackets, needed or not.
fn bracketed() -> impl Strategy<Value = String> {
    let leaf = select("123456789".chars().collect::<Vec<_>>()).prop_map(String::from);
    leaf.prop_recursive(6, 40, 5, |inner| {
        let sign = select(vec!["+", "*", "\\"]);
        prop_oneof![
            inner.clone().prop_map(|text| format!("({text})")),
            vec((inner, sign), 1..6).prop_map(|parts| {
                let text: String = parts.into_iter().map(|(text, sign)| text + sign).collect();
                text[..text.len() - 1].to_owned()
            }),
        ]
    })
}

mod by_the_grammar {
    pub(super) fn filter(rest: &mut &str) -> String {
        let mut left = diff(rest);
        while let Some(sign) = take(rest, &['+', '*']) {
            left = format!("({left} {sign} {})", diff(rest));
        }
        left
    }

    fn diff(rest: &mut &str) -> String {
        let mut left = primary(rest);
        while let Some(sign) = take(rest, &['\\']) {
            left = format!("({left} {sign} {})", primary(rest));
        }
        left
    }

    fn primary(rest: &mut &str) -> String {
        if take(rest, &['(']).is_none() {
            let set = rest.chars().next().unwrap();
            *rest = &rest[1..];
            return set.to_string();
        }
        let inner = filter(rest);
        take(rest, &[')']).unwrap();
        inner
    }

    fn take(rest: &mut &str, signs: &[char]) -> Option<char> {
        let sign = rest.chars().next().filter(|c| signs.contains(c))?;
        *rest = &rest[1..];
        Some(sign)
    }
}

/// Steps of the tokenizer and the parser for each byte of a text, at most.
const STEPS_A_BYTE: usize = 4;

fn check_work(text: &str) {
    let (_, steps) = super::super::parse::parse(text);
    assert!(steps <= STEPS_A_BYTE * text.len() + 8, "{steps} steps for {} bytes: {text:.60}", text.len());
}

/// Texts of about `n` parts, each of a kind that a careless parser handles badly, and whether they
/// are filters.
fn hostile(n: usize) -> Vec<(&'static str, String, bool)> {
    let a = "A(\"1\")";
    let again = |part: &str| part.repeat(n);
    vec![
        ("brackets", format!("{}{a}{}", again("("), again(")")), true),
        ("brackets to the right", format!("{}{a}{}", again("A(\"1\")+("), again(")")), true),
        ("brackets to the right, tight", format!("{}{a}{}", again("A(\"1\")\\("), again(")")), true),
        ("brackets to the left", format!("{}{a}{}", again("("), again("*A(\"1\"))")), true),
        ("brackets to the left, tight", format!("{}{a}{}", again("("), again("+A(\"1\"))\\A(\"1\")")), true),
        ("unions", format!("{}{a}", again("A(\"1\") + ")), true),
        ("differences", format!("{}{a}", again("A(\"1\")\\")), true),
        ("rising and falling priority", format!("{}{a}", again("A(\"1\")+A(\"1\")\\A(\"1\")*")), true),
        ("items", format!("T(\"n\", IN, [{}1])", again("\"x\", 2, ")), true),
        ("platforms", format!("A(\"1\", [{}\"iOS\"])", again("\"ios\",")), true),
        ("a long text", format!("A(\"{}\")", again("é")), true),
        ("blanks", format!("{}{a}{}", again(" \n"), again("\t")), true),
        ("a long number", format!("T(\"n\", EQ, 9999999999{})", again("9")), false),
        ("leading zeros", format!("T(\"n\", EQ, {})", again("0")), true),
        ("a long word", again("word"), false),
        ("a long operator", format!("T(\"n\", {}, 1)", again("B")), false),
        ("open brackets", again("("), false),
        ("open brackets around a set", format!("{}{a}", again("(")), false),
        ("open brackets and operations", again("A(\"1\") + ("), false),
        ("closing brackets", format!("{a}{}", again(")")), false),
        ("open lists", again("["), false),
        ("open lists in a set", format!("T(\"n\", IN, {}", again("[")), false),
        ("open sets", again("A("), false),
        ("signs", again("+*\\"), false),
        ("backslashes", again("\\"), false),
        ("quotes", again("\""), false),
        ("escaped quotes", format!("A(\"{}\")", again("\\\"")), false),
        ("curly quotes", again("“”"), false),
        ("a text with curly quotes and no end", format!("A(\"{}", again("“ ”x,")), false),
        ("a text without an end", format!("A(\"{}", again("x")), false),
        ("a late error", format!("{}&", again("A(\"1\") + ")), false),
        ("commas", format!("A(\"1\"{}", again(",")), false),
        ("a bound of words", format!("T(\"n\", GTE, \"{}\")", again("1 days ago ")), false),
    ]
}

#[test]
fn work_is_in_proportion_to_hostile_texts() {
    for n in [10, 1_000, 100_000] {
        for (kind, text, is_filter) in hostile(n) {
            check_work(&text);
            assert_eq!(parse(&text).is_ok(), is_filter, "{kind}");
        }
    }
}

/// Counts the pieces that are written, as a measure of the printer's work.
#[derive(Default)]
struct Pieces(usize);

impl Write for Pieces {
    fn write_str(&mut self, _: &str) -> std::fmt::Result {
        self.0 += 1;
        Ok(())
    }
}

/// On a stack that a hundred levels of recursion would fill.
#[test]
fn no_depth_exhausts_the_stack() {
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let work = || {
        for (kind, text, is_filter) in hostile(100_000) {
            let read = parse(&text);
            assert_eq!(read.is_ok(), is_filter, "{kind}");
            match read {
                Ok(filter) => check_deep(kind, &filter),
                Err(error) => check_error(&text, &error),
            }
        }
    };
    small.spawn(work).unwrap().join().unwrap();
}

fn check_deep(kind: &str, filter: &Filter) {
    let printed = filter.to_string();
    let copy = parse(&printed).unwrap();
    assert!(copy == filter.clone(), "{kind}");
    assert!(copy.to_string() == printed, "{kind}");
    let mut pieces = Pieces::default();
    write!(pieces, "{filter}").unwrap();
    assert!(pieces.0 <= printed.len(), "{kind}: {} pieces for {} bytes", pieces.0, printed.len());
    assert!(format!("{filter:?}").len() > filter.steps().len(), "{kind}");
    drop(copy);
}

#[test]
fn a_mebibyte_of_anything_is_read_or_refused() {
    const MEBIBYTE: usize = 1 << 20;
    for c in ['x', 'é', '(', ')', '[', ']', '"', '\\', ',', '+', '5', '-', ' ', '“', 'A', '\u{0}'] {
        let run: String = std::iter::repeat_n(c, MEBIBYTE / c.len_utf8()).collect();
        for text in [format!("A(\"{run}\")"), format!("T(\"n\", EQ, {run})"), run] {
            check_work(&text);
            if let Err(error) = parse(&text) {
                check_error(&text, &error);
            }
        }
    }
}

#[test]
fn lengths_of_texts_are_told_in_characters() {
    for (text, expected) in
        [("", "an empty text"), ("é", "a text of 1 character"), ("日本", "a text of 2 characters")]
    {
        assert_eq!(describe_text(text), expected);
    }
}
