use super::*;

const ANYTHING: Shape = Shape::Any;
const NUMBERS: Shape = Shape::Integer { min: 1, max: 3 };
const YES: Form = Form { allowed: "yes", pattern: "^yes$", fits: |text| text == "yes" };
const INNER: [Member; 1] = [required("in", Shape::Boolean)];

fn places(shape: &Shape, value: &Value) -> Vec<String> {
    let mut report = Report::new("test");
    check(shape, value, Place::Payload, &mut report);
    report.into_findings().into_iter().map(|finding| finding.pointer).collect()
}

fn schema_accepts(shape: &Shape, value: &Value) -> bool {
    jsonschema::validator_for(&schema(shape)).unwrap().is_valid(value)
}

#[test]
fn every_shape_with_what_fits_and_what_does_not() {
    let cases: [(Shape, Vec<Value>, Vec<Value>); 21] = [
        (Shape::Any, vec![json!(null), json!(1), json!([])], vec![]),
        (Shape::Refused { found: "x", allowed: "y" }, vec![], vec![json!(null), json!("a")]),
        (Shape::Text, vec![json!(""), json!("a")], vec![json!(1), json!(null), json!([])]),
        (FILLED, vec![json!("a")], vec![json!(""), json!(" \n"), json!(1)]),
        (
            Shape::Filled { least: 5 },
            vec![json!("abcde"), json!("äöüßé")],
            vec![json!("abcd"), json!("     ")],
        ),
        (Shape::Form(YES), vec![json!("yes")], vec![json!("no"), json!(true)]),
        (Shape::OneOf(&["A", "B"]), vec![json!("A")], vec![json!("a"), json!(null)]),
        (Shape::Boolean, vec![json!(true)], vec![json!(1), json!("true")]),
        (
            NUMBERS,
            vec![json!(1), json!(3)],
            vec![json!(0), json!(4), json!(1.5), json!("1"), json!(u64::MAX)],
        ),
        (
            Shape::Number { min: -1.5, max: 3.0 },
            vec![json!(-1.5), json!(3), json!(0.25)],
            vec![json!(-1.6), json!(4), json!("1"), json!(null)],
        ),
        (
            Shape::Number { min: 0.0, max: f64::MAX },
            vec![json!(0), json!(u64::MAX), json!(1e300)],
            vec![json!(-1)],
        ),
        (NUMBER, vec![json!(0), json!(-1.5)], vec![json!("1"), json!(null)]),
        (Shape::Phrased { shape: &NUMBERS, allowed: "few" }, vec![json!(1)], vec![json!(4), json!("1")]),
        (Shape::OneOfNumbers(&[0, 2]), vec![json!(0), json!(2)], vec![json!(1), json!("0")]),
        (Shape::Object, vec![json!({})], vec![json!([]), json!(null)]),
        (
            Shape::Localized,
            vec![json!("a"), json!(""), json!({"en": "a"})],
            vec![json!({}), json!({"en": 1}), json!([]), json!(null)],
        ),
        (
            Shape::List { min: 1, max: 2, item: &NUMBERS },
            vec![json!([1]), json!([1, 2])],
            vec![json!([]), json!([1, 2, 3]), json!([9]), json!({}), json!(1)],
        ),
        (
            Shape::List { min: 0, max: usize::MAX, item: &ANYTHING },
            vec![json!([]), json!([1, null])],
            vec![json!("a")],
        ),
        (
            Shape::Texts,
            vec![json!({}), json!({"a": "b"})],
            vec![json!({"a": 1}), json!({"a": "b", "c": null}), json!([]), json!("a")],
        ),
        (
            Shape::AnyOf { shapes: &[Shape::Boolean, NUMBERS], allowed: "a boolean or a number" },
            vec![json!(true), json!(2)],
            vec![json!(4), json!("true"), json!(null)],
        ),
        (
            Shape::Members(&INNER),
            vec![json!({"in": true, "x": 1})],
            vec![json!({}), json!({"in": 1}), json!([])],
        ),
    ];
    for (shape, fitting, wrong) in cases {
        for value in fitting {
            assert_eq!(places(&shape, &value), Vec::<String>::new(), "{shape:?} {value}");
            assert!(schema_accepts(&shape, &value), "{shape:?} {value}");
        }
        for value in wrong {
            assert_eq!(places(&shape, &value).len(), 1, "{shape:?} {value}");
            assert!(!schema_accepts(&shape, &value), "{shape:?} {value}");
        }
    }
}

#[test]
fn places_are_pointers_to_what_is_wrong() {
    let list = Shape::List { min: 0, max: 9, item: &Shape::Members(&INNER) };
    assert_eq!(places(&list, &json!([{"in": true}, {}, 5])), ["/payload/1/in", "/payload/2"]);
    assert_eq!(places(&Shape::Localized, &json!({"en": 1, "de-CH": 2})), ["/payload/en", "/payload/de-CH"]);
}

#[test]
fn findings_hold_no_values() {
    let secret = "dec301908b9ba8df85e57a58e40f96f523f4c2068674f5fe2ba25cdc250a2a41";
    let mut report = Report::new("test");
    check(&Shape::OneOf(&["A"]), &json!(secret), Place::Payload, &mut report);
    check(&Shape::Localized, &json!({secret: 1}), Place::Payload, &mut report);
    check(&NUMBERS, &json!(79_991_234_567_i64), Place::Payload, &mut report);
    let object = json!({secret: 1, "a/b": 2, "Your code is 1234": 3});
    unknown_members(&[&INNER], object.as_object().unwrap(), Place::Payload, &mut report);
    let findings = report.into_findings();
    assert_eq!(findings.len(), 6);
    for finding in findings {
        let text = finding.to_string();
        for value in [secret, "79991234567", "a/b", "1234"] {
            assert!(!text.contains(value), "{text}");
        }
    }
}

#[test]
fn a_long_list_of_bad_items_gives_few_findings() {
    let list = Shape::List { min: 0, max: usize::MAX, item: &NUMBERS };
    let mut report = Report::new("test");
    check(&list, &json!(vec![0; 1000]), Place::Payload, &mut report);
    let findings = report.into_findings();
    assert_eq!(findings.len(), MOST_ITEM_FINDINGS);
    assert!(findings[4].found.ends_with("the items after it were not looked at"), "{}", findings[4]);

    let mut report = Report::new("test");
    let object: Object = (0..30).map(|n| (format!("unknown{n}"), json!(1))).collect();
    unknown_members(&[&INNER], &object, Place::Payload, &mut report);
    let findings = report.into_findings();
    assert_eq!(findings.len(), MOST_UNKNOWN);
    assert!(findings[19].found.ends_with("and 10 more of this object"), "{}", findings[19]);
}

#[test]
fn unknown_members_at_every_level_with_the_spelling_meant() {
    const LIST: Shape = Shape::List { min: 0, max: 9, item: &Shape::Members(&INNER) };
    const OUTER: &[Member] = &[
        optional("list", Shape::Phrased { shape: &LIST, allowed: "a list" }),
        optional("inner", Shape::Members(&INNER)),
    ];
    let object =
        json!({"x": 1, "list": [{"in": true}, {"IN": true}, 5], "inner": {"y": 1}, "Inner": {"z": 1}});
    let mut report = Report::new("test");
    unknown_within(&[OUTER], object.as_object().unwrap(), Place::Payload, &mut report);
    let findings = report.into_findings();
    let places: Vec<_> = findings.iter().map(|finding| finding.pointer.as_str()).collect();
    assert_eq!(places, ["/payload/x", "/payload/Inner", "/payload/list/1/IN", "/payload/inner/y"]);
    assert!(findings[1].allowed.starts_with("inner, with these capitals"));
    assert!(findings[2].allowed.starts_with("in, with these capitals"));
    assert!(findings[3].allowed.starts_with("a documented member"));
}

#[test]
fn what_is_allowed_where_nothing_stands() {
    const ONE: Shape = Shape::List { min: 1, max: 1, item: &NUMBERS };
    const FREE: Shape = Shape::List { min: 0, max: usize::MAX, item: &NUMBERS };
    assert_eq!(allowed(&ONE), "a list of exactly 1 item");
    assert_eq!(allowed(&FREE), "a list");
    assert_eq!(allowed(&Shape::Phrased { shape: &ONE, allowed: "one number" }), "one number");
}
