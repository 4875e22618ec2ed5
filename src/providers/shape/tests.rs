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
    let cases: [(Shape, Vec<Value>, Vec<Value>); 16] = [
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
        (Shape::OneOfNumbers(&[0, 2]), vec![json!(0), json!(2)], vec![json!(1), json!("0")]),
        (Shape::Object, vec![json!({})], vec![json!([]), json!(null)]),
        (Shape::TextOrObject, vec![json!("{}"), json!({})], vec![json!([]), json!(1)]),
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
    assert_eq!(places(&list, &json!(vec![0; 1000])).len(), MOST_ITEM_FINDINGS);
}
