use serde_json::json;

use super::*;

mod properties;

/// A filter with a bracket around every operation: shows how it groups.
fn grouped(filter: &Filter) -> String {
    let mut parts: Vec<String> = Vec::new();
    for step in filter.steps() {
        let part = match step {
            Step::Set(set) => set.to_string(),
            Step::Combine(operation) => {
                let right = parts.pop().unwrap();
                let left = parts.pop().unwrap();
                format!("({left} {} {right})", operation.sign())
            }
        };
        parts.push(part);
    }
    assert_eq!(parts.len(), 1);
    parts.remove(0)
}

fn error(text: &str) -> FilterError {
    parse(text).map(|filter| filter.to_string()).expect_err(text)
}

/// `A1` for `A("1")`, to keep tables readable.
fn long(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_digit() { format!("A(\"{c}\")") } else { c.to_string() };
    text.chars().map(letter).collect()
}

#[test]
fn operations_group_as_documented() {
    for (text, expected) in [
        // The table of the language's priorities.
        ("1 + 2 * 3", "((1 + 2) * 3)"),
        ("1 * 2 + 3", "((1 * 2) + 3)"),
        (r"1 + 2 \ 3", r"(1 + (2 \ 3))"),
        (r"1 \ 2 \ 3", r"((1 \ 2) \ 3)"),
        // What follows from it.
        ("1", "1"),
        ("1 + 2 + 3", "((1 + 2) + 3)"),
        ("1 * 2 * 3", "((1 * 2) * 3)"),
        ("1 + (2 + 3)", "(1 + (2 + 3))"),
        ("1 * (2 + 3)", "(1 * (2 + 3))"),
        (r"1 \ 2 + 3", r"((1 \ 2) + 3)"),
        (r"1 * 2 \ 3 + 4", r"((1 * (2 \ 3)) + 4)"),
        (r"1 \ (2 \ 3)", r"(1 \ (2 \ 3))"),
        (r"(1 + 2) \ 3", r"((1 + 2) \ 3)"),
        (r"1 \ 2 * 3 \ 4", r"((1 \ 2) * (3 \ 4))"),
        ("((((1))))", "1"),
        ("((1)+((2)))", "(1 + 2)"),
    ] {
        assert_eq!(grouped(&parse(&long(text)).unwrap()), long(expected), "{text}");
    }
}

#[test]
fn only_needed_brackets_are_printed() {
    for (text, expected) in [
        ("(1)", "1"),
        ("((1 + 2)) * (3)", "1 + 2 * 3"),
        ("1 + (2 * 3)", "1 + (2 * 3)"),
        (r"1 + (2 \ 3)", r"1 + 2 \ 3"),
        (r"(1 \ 2) \ 3", r"1 \ 2 \ 3"),
        (r"1 \ (2 \ 3)", r"1 \ (2 \ 3)"),
        (r"(1 + 2) \ (3 * 4)", r"(1 + 2) \ (3 * 4)"),
        (r"(1 \ 2) * 3", r"1 \ 2 * 3"),
        ("1+2*3", "1 + 2 * 3"),
    ] {
        assert_eq!(parse(&long(text)).unwrap().to_string(), long(expected), "{text}");
    }
}

/// The samples of the documentation, with their broken quotes and brackets mended.
#[test]
fn documented_samples_are_read_and_printed() {
    for (text, printed) in [
        (
            r#"A("00000-00000") * T("Language", EQ, "en") * (AT("00000-00000", "CustomTag", EQ, "FirstValue") + AT("00000-00000", "Application Version", IN, ["1.0.0", "1.0.5"]))"#,
            None,
        ),
        (
            r#"A("XXXXX-XXXXX", ["iOS", "Android", "Blackberry", "Windows_Phone", "OsX", "Windows", "Amazon", "Safari", "Chrome", "Firefox"])"#,
            None,
        ),
        (r#"T("Age", IN, [17,20])"#, Some(r#"T("Age", IN, [17, 20])"#)),
        (r#"AT("XXXXX-XXXXX", "TagName", EQ, "VALUE")"#, None),
        (r#"G("11111-11111", ["iOS","Android"])"#, Some(r#"G("11111-11111", ["iOS", "Android"])"#)),
        (r#"T ("Age", EQ, 30)"#, Some(r#"T("Age", EQ, 30)"#)),
        (
            r#"T ("favorite_color", IN, ["red","green","blue"])"#,
            Some(r#"T("favorite_color", IN, ["red", "green", "blue"])"#),
        ),
        (r#"T ("Name", NOTSET, "")"#, Some(r#"T("Name", NOTSET, "")"#)),
        (r#"T ("Level", EQ, 14)"#, Some(r#"T("Level", EQ, 14)"#)),
        (r#"T ("Level", BETWEEN, [1,5])"#, Some(r#"T("Level", BETWEEN, [1, 5])"#)),
        (r#"T ("Level", GTE, 29)"#, Some(r#"T("Level", GTE, 29)"#)),
        (r#"T("Category", IN, ["breaking_news", "business", "politics"])"#, None),
        (r#"AT("7777D-322A7", "Last Application Open", BETWEEN, ["2022-02-28", "2022-03-02"])"#, None),
        (
            r#"AT("7777D-322A7","Last Application Open", GTE, "90 days ago")"#,
            Some(r#"AT("7777D-322A7", "Last Application Open", GTE, "90 days ago")"#),
        ),
        (r#"A("12345-12345") \ A("67890-67890")"#, None),
        (r#"A("00000-00000", ["iOS"])"#, None),
        (r#"A("00000-00000") * T("Gender",EQ,"F")"#, Some(r#"A("00000-00000") * T("Gender", EQ, "F")"#)),
        (r#"A("00000-00000") + G("11111-11111")"#, None),
        (
            r#"( A("00000-00000") + A("11111-11111") ) \ A("12345-12345")"#,
            Some(r#"(A("00000-00000") + A("11111-11111")) \ A("12345-12345")"#),
        ),
        (
            r#"( A("00000-00000") * T("gender", EQ, "M") ) + ( A("12345-12345") * T("gender", EQ, "F") )"#,
            Some(r#"A("00000-00000") * T("gender", EQ, "M") + (A("12345-12345") * T("gender", EQ, "F"))"#),
        ),
    ] {
        let filter = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.to_string(), printed.unwrap_or(text));
        assert_eq!(parse(&filter.to_string()).unwrap(), filter);
    }
}

#[test]
fn what_the_provider_may_take_is_read() {
    for text in [
        " \t\r\n( A\n(\"1\"\t)\r) \n",
        r#"A("1",["IOS","WINDOWS_PHONE","osx"])"#,
        r#"A("1", ["iOS", "iOS"])"#,
        r#"T("Names \ of “things” (1, [2]) + 'x'", EQ, "a\b,)")"#,
        r#"T("n", EQ, "")"#,
        r#"T("n", EQ, "2022-02-30")"#,
        r#"T("n", NOTEQ, -5)"#,
        r#"T("n", EQ, -9223372036854775808)"#,
        r#"T("n", EQ, 9223372036854775807)"#,
        r#"T("n", IN, [1, 2, "2"])"#,
        r#"T("n", NOTIN, ["x"])"#,
        r#"T("n", GTE, "2022-02-28 00:00")"#,
        r#"T("n", LTE, "1645999200")"#,
        r#"T("n", BETWEEN, ["90 days ago", 1645999200])"#,
        r#"T("n", NOTSET, 0)"#,
        r#"T("n", ANY, ["what", "ever"])"#,
        "T(\"line\nbreak\", EQ, \"\u{1F600}\u{0}\")",
    ] {
        if let Err(error) = parse(text) {
            panic!("{text}: {error}");
        }
    }
}

#[test]
fn an_operand_that_nobody_looks_at_becomes_the_documented_one() {
    for operand in ["\"\"", "\"x\"", "5", "[1, \"x\"]"] {
        let filter = parse(&format!("T(\"n\", ANY, {operand})")).unwrap();
        assert_eq!(filter.to_string(), "T(\"n\", ANY, \"\")");
    }
}

const SET: &str = "A(…), G(…), T(…), AT(…) or `(`";
const AFTER: &str = "`+` (or), `*` (and), `\\` (and not), or the end of the text";
const AFTER_IN_BRACKETS: &str = "`+` (or), `*` (and), `\\` (and not), or `)`";
const OPERATORS: &str =
    "an operator, in capitals and without quotes: EQ, NOTEQ, IN, NOTIN, GTE, LTE, BETWEEN, NOTSET, ANY";
const STRAIGHT: &str = "a straight double quote (\")";
const NO_ESCAPE: &str = "`,`, `)` or `]`: a text can't hold a double quote, there is no escape for one";
const NO_BACKSLASH: &str =
    "a text without a backslash before its closing quote: there is no escape for a quote";
const WHOLE: &str = "a whole number, or a text in straight double quotes";
const BOUND: &str =
    "a whole number or a date: \"YYYY-MM-DD\", \"YYYY-MM-DD HH:mm\", \"N days ago\", Unix seconds";
const PAIR: &str = "a list of two values, low then high";
const LIST: &str = "a list of at least one value";
const ONE: &str = "one text or whole number";
const NUMBERS: &str = "a whole number from -9223372036854775808 to 9223372036854775807";
const PLATFORMS: &str =
    "one of iOS, Android, Blackberry, Windows_Phone, OsX, Windows, Amazon, Safari, Chrome, Firefox";

#[test]
fn errors_say_where_what_and_what_instead() {
    let t = "T(\"n\", ";
    let operator = |word: &str| format!("{t}{word}, 1)");
    let operand = |operand: &str| format!("{t}{operand})");
    let meant = |word: &str| format!("{OPERATORS}; did you mean {word}?");
    let cases: Vec<(String, usize, &str, String)> = vec![
        // Structure.
        (String::new(), 1, "the end of the text", SET.into()),
        (" \t\n".into(), 4, "the end of the text", SET.into()),
        ("()".into(), 2, "`)`", SET.into()),
        (long("(1"), 8, "the end of the text", "`)`: a bracket is open".into()),
        (long("((1) + 2"), 19, "the end of the text", "`)`: a bracket is open".into()),
        (long("1)"), 7, "`)` that closes no bracket", AFTER.into()),
        (long("(1))"), 9, "`)` that closes no bracket", AFTER.into()),
        (long("1 2"), 8, "`A`", AFTER.into()),
        (long("(1 2)"), 9, "`A`", AFTER_IN_BRACKETS.into()),
        (long("1 +"), 9, "the end of the text", SET.into()),
        (long("+ 1"), 1, "`+`", SET.into()),
        (long("1 + * 2"), 10, "`*`", SET.into()),
        (long("1 & 2"), 8, "`&`", AFTER.into()),
        (long("1 - 2"), 8, "`-`", AFTER.into()),
        (long("1 AND 2"), 8, "an unknown word of 3 characters", AFTER.into()),
        (long("1;"), 7, "`;`", AFTER.into()),
        (long("1\u{a0}+ 2"), 7, "the character U+00A0", AFTER.into()),
        ("\"x\"".into(), 1, "a text of 1 character", SET.into()),
        ("5".into(), 1, "a number", SET.into()),
        // Letters.
        ("X(\"1\")".into(), 1, "an unknown letter", SET.into()),
        ("a(\"1\")".into(), 1, "`a`", format!("{SET}; did you mean A?")),
        ("At(\"1\")".into(), 1, "`At`", format!("{SET}; did you mean AT?")),
        ("TAG(\"1\")".into(), 1, "an unknown word of 3 characters", SET.into()),
        ("EQ".into(), 1, "`EQ`", SET.into()),
        ("A".into(), 2, "the end of the text", "`(`".into()),
        ("A \"1\"".into(), 3, "a text of 1 character", "`(`".into()),
        // Codes, names, platforms.
        ("A()".into(), 3, "`)`", "the code of an application in straight double quotes".into()),
        ("A(\" \")".into(), 3, "an empty text", "the code of an application".into()),
        ("G(\"\")".into(), 3, "an empty text", "the code of a group of applications".into()),
        ("A(00000-00000)".into(), 3, "a number that is not whole, or a text without quotes", WHOLE.into()),
        (
            "A(ABCDE-00000)".into(),
            3,
            "an unknown word of 5 characters",
            "the code of an application in straight double quotes".into(),
        ),
        ("A(\"1\"".into(), 6, "the end of the text", "`,` and a list of platforms, or `)`".into()),
        (
            "A(\"1\", \"iOS\")".into(),
            8,
            "a text of 3 characters",
            "a list of platforms, such as [\"iOS\", \"Android\"]".into(),
        ),
        ("A(\"1\", [])".into(), 9, "an empty list", "a platform; all of them without a list".into()),
        ("A(\"1\", [\"Palm\"])".into(), 9, "a text of 4 characters that names no platform", PLATFORMS.into()),
        (
            "A(\"1\", [\"Androi\"])".into(),
            9,
            "a text of 6 characters that names no platform",
            format!("{PLATFORMS}; did you mean Android?"),
        ),
        (
            "A(\"1\", [iOS])".into(),
            9,
            "an unknown word of 3 characters",
            format!("a platform in straight double quotes: {}", &PLATFORMS["one of ".len()..]),
        ),
        ("A(\"1\", [\"iOS\" \"Android\"])".into(), 15, "a text of 7 characters", "`,` or `]`".into()),
        ("A(\"1\", [\"iOS\"".into(), 14, "the end of the text", "`,` or `]`".into()),
        ("A(\"1\", [\"iOS\"], 5)".into(), 15, "`,`", "`)`".into()),
        ("T(\"\", EQ, 1)".into(), 3, "an empty text", "the name of a tag".into()),
        ("AT(\"1\", EQ, 1)".into(), 9, "`EQ`", "the name of a tag in straight double quotes".into()),
        // Operators.
        (operator("eq"), 8, "`eq`", meant("EQ")),
        (operator("Between"), 8, "`Between`", meant("BETWEEN")),
        (operator("BETWEN"), 8, "an unknown word of 6 characters", meant("BETWEEN")),
        (operator("EQUALS"), 8, "an unknown word of 6 characters", OPERATORS.into()),
        (operator("\"EQ\""), 8, "an operator in quotes", OPERATORS.into()),
        (operator("\"value\""), 8, "a text of 5 characters", OPERATORS.into()),
        (operator("="), 8, "`=`", OPERATORS.into()),
        (
            operator("EQ NOT"),
            11,
            "an unknown word of 3 characters",
            "`,` and an operand; \"\" for NOTSET and ANY".into(),
        ),
        (operand("NOTSET"), 14, "`)`", "`,` and an operand; \"\" for NOTSET and ANY".into()),
        // Texts and quotes.
        ("A(\"1".into(), 3, "a text without an end", "a double quote (\") at both ends of the text".into()),
        ("A(“1”)".into(), 3, "a curly quote", STRAIGHT.into()),
        ("A('1')".into(), 3, "a single quote", STRAIGHT.into()),
        ("A(\"1” ".into(), 5, "a curly quote", STRAIGHT.into()),
        ("T(\"n”, EQ, 1)".into(), 5, "a curly quote", STRAIGHT.into()),
        ("A(\"1\", [\"OsX”, \"iOS\"])".into(), 13, "a curly quote", STRAIGHT.into()),
        (operand("EQ, \"a\"b\""), 14, "a double quote inside a text", NO_ESCAPE.into()),
        (operand("EQ, \"“a” \"b\""), 17, "a double quote inside a text", NO_ESCAPE.into()),
        (operand("EQ, \"a\"\"b\""), 14, "a double quote inside a text", NO_ESCAPE.into()),
        (operand("EQ, \"a\\\"b\""), 15, "a backslash before a double quote", NO_BACKSLASH.into()),
        (operand("EQ, \"a\\\""), 15, "a backslash before a double quote", NO_BACKSLASH.into()),
        (
            "T(\\\"n\\\", EQ, 1)".into(),
            3,
            "`\\`",
            "the name of a tag in straight double quotes, without a backslash before it".into(),
        ),
        // Operands.
        (
            operand("EQ, "),
            12,
            "`)`",
            "a text in straight double quotes, a whole number, or a list of these".into(),
        ),
        (
            operand("EQ, true"),
            12,
            "an unknown word of 4 characters",
            "a text in straight double quotes, a whole number, or a list of these".into(),
        ),
        (operand("EQ, 1.5"), 12, "a number that is not whole, or a text without quotes", WHOLE.into()),
        (operand("EQ, 5x"), 12, "a number that is not whole, or a text without quotes", WHOLE.into()),
        (operand("EQ, 9223372036854775808"), 12, "a number too large", NUMBERS.into()),
        (operand("EQ, -9223372036854775809"), 12, "a number too large", NUMBERS.into()),
        (operand("EQ, 1, 2"), 13, "`,`", "`)`".into()),
        (operand("EQ, [1]"), 12, "a list of 1 item for EQ", ONE.into()),
        (operand("NOTEQ, [1, 2]"), 15, "a list of 2 items for NOTEQ", ONE.into()),
        (operand("GTE, [1]"), 13, "a list of 1 item for GTE", ONE.into()),
        (operand("GTE, \"high\""), 13, "a text of 4 characters for GTE", BOUND.into()),
        (operand("LTE, \"2022-02-30\""), 13, "a text of 10 characters for LTE", BOUND.into()),
        (operand("IN, 1"), 12, "a number for IN", LIST.into()),
        (operand("IN, []"), 13, "an empty list", "at least one value".into()),
        (operand("ANY, []"), 14, "an empty list", "at least one value".into()),
        (operand("NOTIN, \"x\""), 15, "a text of 1 character for NOTIN", LIST.into()),
        (operand("BETWEEN, 1"), 17, "a number for BETWEEN", PAIR.into()),
        (operand("BETWEEN, [1]"), 17, "a list of 1 item for BETWEEN", PAIR.into()),
        (operand("BETWEEN, [1, 2, 3]"), 17, "a list of 3 items for BETWEEN", PAIR.into()),
        (operand("BETWEEN, [1, \"x\"]"), 21, "a text of 1 character for BETWEEN", BOUND.into()),
        (operand("BETWEEN, [1,5"), 21, "`)`", "`,` or `]`".into()),
        (operand("IN, [1,]"), 15, "`]`", "a text in straight double quotes or a whole number".into()),
        (operand("IN, [[1]]"), 13, "`[`", "a text in straight double quotes or a whole number".into()),
        // Columns count characters.
        ("T(\"日本\", é".into(), 9, "an unknown letter", OPERATORS.into()),
    ];
    let mut wrong = String::new();
    for (text, column, found, expected) in cases {
        let told = error(&text).to_string();
        let due = format!("column {column}: found {found}, expected {expected}");
        if told != due {
            wrong.push_str(&format!("{text}\n  due  {due}\n  told {told}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_excerpt_points_at_the_place() {
    let error = error("A(\"00000-00000\") *\n\tT(\"Name\", eq, \"user-17\")");
    assert_eq!(
        error.excerpt(),
        "A(\"···········\") *  T(\"····\", eq, \"·······\")\n                              ^"
    );
}

#[test]
fn a_value_cannot_end_its_text() {
    for (value, text, name) in [
        ("x", None, None),
        ("a\\b", None, None),
        ("", None, Some(BadText::Blank)),
        (" ", None, Some(BadText::Blank)),
        ("a\"b", Some(BadText::Quote), Some(BadText::Quote)),
        ("\") + T(\"Age\", ANY, \"", Some(BadText::Quote), Some(BadText::Quote)),
        ("a\\", Some(BadText::Backslash), Some(BadText::Backslash)),
    ] {
        assert_eq!(Text::new(value).err(), text, "{value}");
        assert_eq!(Name::new(value).err(), name, "{value}");
    }
}

#[test]
fn a_condition_is_built_only_if_it_fits_a_type() {
    let text = |value: &str| Scalar::Text(Text::new(value).unwrap());
    for (operator, operand, fits) in [
        (Operator::Eq, Operand::One(Scalar::Number(1)), true),
        (Operator::Eq, Operand::List(vec![]), false),
        (Operator::In, Operand::List(vec![]), false),
        (Operator::In, Operand::List(vec![text("x")]), true),
        (Operator::Gte, Operand::One(text("x")), false),
        (Operator::Between, Operand::List(vec![text("1 days ago"), text("x")]), false),
        (Operator::NotSet, Operand::List(vec![]), true),
    ] {
        assert_eq!(Condition::new(operator, operand.clone()).is_ok(), fits, "{operator:?} {operand:?}");
    }
}

#[test]
fn debugging_shows_no_value() {
    let filter = parse("A(\"secret\") * T(\"secret\", IN, [\"secret\"])").unwrap();
    assert!(!format!("{filter:?}").contains("secret"));
}

#[test]
fn filters_that_reach_every_application() {
    for (text, expected) in [
        ("A(\"1\")", false),
        ("G(\"1\")", false),
        ("AT(\"1\", \"n\", EQ, 1)", false),
        ("T(\"n\", EQ, 1)", true),
        ("T(\"n\", EQ, 1) \\ T(\"m\", EQ, \"A(1)\")", true),
        ("T(\"n\", EQ, 1) \\ A(\"1\")", true),
        ("A(\"1\") \\ T(\"n\", EQ, 1)", false),
        ("A(\"1\") * T(\"n\", EQ, 1)", false),
        ("A(\"1\") + T(\"n\", EQ, 1)", true),
        ("T(\"n\", EQ, 1) * (T(\"m\", EQ, 1) + A(\"1\"))", true),
        ("A(\"1\") + T(\"n\", EQ, 1) * G(\"1\")", false),
        ("A(\"1\") * (T(\"n\", EQ, 1) + T(\"m\", EQ, 1))", false),
    ] {
        assert_eq!(reaches_every_application(&parse(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn filters_name_applications_and_hold_values() {
    let filter = parse(
        "A(\"app\", [\"iOS\"]) * AT(\"app2\", \"tag\", IN, [\"red\", 5]) + T(\"Name\", EQ, \"Ada\") \\ G(\"g\")",
    )
    .unwrap();
    assert_eq!(codes(&filter).collect::<Vec<_>>(), ["app", "app2", "g"]);
    let texts: Vec<_> = values(&filter).map(ToString::to_string).collect();
    assert_eq!(texts, ["\"red\"", "5", "\"Ada\""]);
}

#[test]
fn the_rule_finds_the_place_and_the_schema_agrees() {
    jsonschema::meta::validate(&schema()).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (value, valid, refused_by_schema) in [
        (json!("A(\"1\")"), true, false),
        (json!(" \u{b}( AT(\"1\", \"n\", EQ, \"x\ny\") ) \u{c}\n"), true, false),
        (json!("G(\"1\") + T(\"n\", EQ, 1)"), true, false),
        (json!("A(\"1\") A(\"1\")"), false, false),
        (json!(""), false, true),
        (json!("x"), false, true),
        (json!("A(\"1\""), false, true),
        (json!(5), false, true),
        (json!(null), false, true),
        (json!(["A(\"1\")"]), false, true),
    ] {
        let mut report = Report::new("another source");
        check(&value, Place::Payload.member("devices_filter"), &mut report);
        assert_eq!(report.is_empty(), valid, "{value}");
        assert_eq!(validator.is_valid(&value), !refused_by_schema, "{value}");
    }
}

#[test]
fn the_finding_says_all() {
    let mut report = Report::new("another source");
    check(&json!("A(\"1\") * T(\"n\", eq, 1)"), Place::Payload.member("devices_filter"), &mut report);
    let [finding] = &report.into_findings()[..] else { panic!("not one finding") };
    assert_eq!(finding.pointer, "/payload/devices_filter");
    assert_eq!(finding.found, "`eq` at column 17");
    assert_eq!(finding.allowed, format!("{OPERATORS}; did you mean EQ?"));
    assert_eq!(finding.source, "Pushwoosh Messages API");
    assert_eq!(finding.excerpt.as_deref(), Some("A(\"·\") * T(\"·\", eq, ·)\n                ^"));
}

#[test]
fn every_word_of_the_language_is_known_to_the_excerpt() {
    let words = Operator::ALL.map(Operator::word);
    assert!(words.iter().chain(&["A", "G", "T", "AT"]).all(|word| error::KNOWN_WORDS.contains(word)));
}
