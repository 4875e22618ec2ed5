use super::*;

fn places(value: &Value) -> Vec<String> {
    let mut report = Report::new("test");
    check(value, Place::Payload, &mut report);
    report.into_findings().into_iter().map(|finding| finding.pointer).collect()
}

#[test]
fn conditions_valid_and_invalid() {
    let cases = [
        (json!([["Age", "EQ", 30]]), None),
        (json!([["Name", "EQ", "x"], ["Paid", "EQ", true]]), None),
        (json!([["Level", "BETWEEN", [1, 5]]]), None),
        (json!([["Seen", "GTE", "90 days ago"]]), None),
        (json!([["Country", "IN", ["BR", "PT"]]]), None),
        (json!([["Name", "NOTSET", ""]]), None),
        (json!([["Name", "ANY", {"what": "ever"}]]), None),
        (json!([["Name", "NOTSET"]]), None),
        (json!([]), Some("/payload")),
        (json!({}), Some("/payload")),
        (json!("Age EQ 30"), Some("/payload")),
        (json!(["Age EQ 30"]), Some("/payload/0")),
        (json!([["Age"]]), Some("/payload/0")),
        (json!([["Age", "EQ"]]), Some("/payload/0")),
        (json!([["Age", "EQ", 1, 2]]), Some("/payload/0")),
        (json!([["Name", "ANY", "", ""]]), Some("/payload/0")),
        (json!([["", "EQ", 1]]), Some("/payload/0/0")),
        (json!([[5, "EQ", 1]]), Some("/payload/0/0")),
        (json!([["Age", "eq", 1]]), Some("/payload/0/1")),
        (json!([["Age", 1, 1]]), Some("/payload/0/1")),
        (json!([["Age", "EQ", [1]]]), Some("/payload/0/2")),
        (json!([["Age", "EQ", 1.5]]), Some("/payload/0/2")),
        (json!([["Age", "EQ", null]]), Some("/payload/0/2")),
        (json!([["Age", "IN", 1]]), Some("/payload/0/2")),
        (json!([["Age", "IN", []]]), Some("/payload/0/2")),
        (json!([["Age", "IN", [1, {}]]]), Some("/payload/0/2/1")),
        (json!([["Seen", "EQ", "90 days ago"], ["Seen", "NOTEQ", "2026-01-31 00:00"]]), None),
        (json!([["Seen", "LTE", "2026-01-31 00:00"], ["Seen", "GTE", "2026-01-31"]]), None),
        (json!([["Seen", "GTE", "2026-01-31 00:00:00"], ["Seen", "GTE", 1_700_000_000]]), None),
        (json!([["Seen", "BETWEEN", ["2026-01-01 00:00", "2026-01-31 00:00"]]]), None),
        (json!([["Seen", "BETWEEN", ["2026-01-01 00:00", "2026-01-01"]]]), None),
        (json!([["Seen", "BETWEEN", ["90 days ago", "30 days ago"]]]), None),
        (json!([["Seen", "BETWEEN", ["90 days ago", "2026-01-31 00:00"]]]), None),
        (json!([["Seen", "BETWEEN", ["2026-01-31 00:00", 1_700_000_000]]]), None),
        (json!([["Seen", "IN", ["2026-01-31 00:00", 1_700_000_000]]]), None),
        (json!([["Seen", "BETWEEN", ["2026-02-01 00:00", "2026-01-31 00:00"]]]), Some("/payload/0/2")),
        (json!([["Seen", "BETWEEN", ["30 days ago", "90 days ago"]]]), Some("/payload/0/2")),
        (json!([["Level", "BETWEEN", [5, 1]]]), Some("/payload/0/2")),
        (json!([["Level", "BETWEEN", [5, 5]]]), None),
        (json!([["Level", "BETWEEN", [-5, u64::MAX]]]), None),
        (json!([["Level", "BETWEEN", ["a", "b"]]]), Some("/payload/0/2/0")),
        (json!([["Level", "BETWEEN", {"0": 1, "1": 2}]]), Some("/payload/0/2")),
        (json!([["Level", "BETWEEN", "1,5"]]), Some("/payload/0/2")),
        (json!([["Seen", "GTE", "2026-02-30 00:00"]]), Some("/payload/0/2")),
        (json!([["Seen", "GTE", "90 days"]]), Some("/payload/0/2")),
        (json!([["Seen", "GTE", " days ago"]]), Some("/payload/0/2")),
        (json!([["Level", "GTE", "5"]]), Some("/payload/0/2")),
        (json!([["Level", "LTE", [5]]]), Some("/payload/0/2")),
        (json!([["Paid", "NOTEQ", true]]), Some("/payload/0/2")),
        (json!([["Paid", "IN", [true]]]), Some("/payload/0/2/0")),
        (json!([["Paid", "GTE", false]]), Some("/payload/0/2")),
        (json!([["Name", "IN", ["red", 5]]]), Some("/payload/0/2")),
        (json!([["Name", "NOTIN", [5, "90 days ago"]]]), Some("/payload/0/2")),
        (json!([["Country", "EQ", "BR"], ["Language", "NOTIN", ["pt", "de"]]]), None),
        (json!([["Country", "ANY", ""], ["Language", "NOTSET"]]), None),
        (json!([["country", "EQ", "br"]]), None),
        (json!([["Country", "EQ", "br"]]), Some("/payload/0/2")),
        (json!([["Country", "EQ", "BRA"]]), Some("/payload/0/2")),
        (json!([["Country", "EQ", "BR-SP"]]), Some("/payload/0/2")),
        (json!([["Country", "IN", ["BR", "pt"]]]), Some("/payload/0/2/1")),
        (json!([["Country", "EQ", 55]]), Some("/payload/0/2")),
        (json!([["Country", "GTE", 55]]), Some("/payload/0/1")),
        (json!([["Language", "EQ", "PT"]]), Some("/payload/0/2")),
        (json!([["Age", "BETWEEN", [1]]]), Some("/payload/0/2")),
        (json!([["Age", "BETWEEN", [1, 2, 3]]]), Some("/payload/0/2")),
    ];
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (value, expected) in cases {
        let found = places(&value);
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{value}");
        assert!(expected.is_some() || validator.is_valid(&value), "{value}");
    }
}

#[test]
fn pairs_become_triples() {
    let mut notification = Object::new();
    notification.insert("conditions".into(), json!([["a", "ANY"], ["b", "EQ", 1], ["c", "NOTSET"]]));
    assert_eq!(pairs(&notification).collect::<Vec<_>>(), [0, 2]);
    notification["conditions"] = completed(&notification["conditions"]);
    assert_eq!(notification["conditions"], json!([["a", "ANY", ""], ["b", "EQ", 1], ["c", "NOTSET", ""]]));
    assert_eq!(pairs(&notification).count(), 0);
}

#[test]
fn days_are_written_with_their_midnight_where_only_a_date_can_stand() {
    let mut notification = Object::new();
    let conditions = json!([
        ["a", "GTE", "2026-01-31"],
        ["a", "BETWEEN", ["2026-01-01", "30 days ago"]],
        ["a", "EQ", "2026-01-31"],
        ["a", "IN", ["2026-01-31"]],
        ["a", "LTE", 5],
    ]);
    notification.insert("conditions".into(), conditions);
    notification["conditions"] = completed(&notification["conditions"]);
    let expected = json!([
        ["a", "GTE", "2026-01-31 00:00"],
        ["a", "BETWEEN", ["2026-01-01 00:00", "30 days ago"]],
        ["a", "EQ", "2026-01-31"],
        ["a", "IN", ["2026-01-31"]],
        ["a", "LTE", 5],
    ]);
    assert_eq!(notification["conditions"], expected);
}

/// Every operator with an operand of every type, as the document's matrix has it.
#[test]
fn the_matrix() {
    let one = [json!("red"), json!(5), json!("2026-01-31 00:00"), json!(true)];
    for (operator, scalars, lists) in [
        ("EQ", [true, true, true, true], [false; 4]),
        ("NOTEQ", [true, true, true, false], [false; 4]),
        ("IN", [false; 4], [true, true, true, false]),
        ("NOTIN", [false; 4], [true, true, true, false]),
        ("GTE", [false, true, true, false], [false; 4]),
        ("LTE", [false, true, true, false], [false; 4]),
        ("BETWEEN", [false; 4], [false, true, true, false]),
        ("NOTSET", [true; 4], [true; 4]),
        ("ANY", [true; 4], [true; 4]),
    ] {
        for (value, (scalar, list)) in one.iter().zip(scalars.into_iter().zip(lists)) {
            let single = json!([["Tag", operator, value]]);
            assert_eq!(places(&single).is_empty(), scalar, "{single}");
            let pair = json!([["Tag", operator, [value, value]]]);
            assert_eq!(places(&pair).is_empty(), list, "{pair}");
        }
    }
}
