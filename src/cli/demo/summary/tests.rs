use super::*;

fn summary() -> Summary {
    let account = |name, totals, limit, most| {
        let minute = Duration::from_secs(12);
        Account { name, totals, limit, most, minute, refused: 0 }
    };
    let shop = Totals {
        published: 3_101,
        delivered: 3_098,
        duplicate: 1,
        expired: 0,
        dead: [("invalid".to_owned(), 1), ("rejected".to_owned(), 1)].into(),
    };
    let news = Totals { published: 1_122, delivered: 1_121, expired: 1, ..Totals::default() };
    Summary {
        totals: shop.clone().plus(&news),
        accounts: vec![account("shop", shop, 600, 583), account("news", news, 900, 880)],
        taken: 4_219,
        twice: 0,
        ledger_whole: true,
        usual_code_time: Some(Duration::from_millis(47)),
        took: Duration::from_millis(40_200),
        interrupted: false,
        program: "paceline".to_owned(),
        kept: None,
    }
}

#[test]
fn a_person_reads_what_became_of_it_all() {
    let summary = summary();
    let text: Vec<String> = summary.lines().iter().map(Line::plain).collect();
    let expected = " paceline demo  done after 40.2 s: every promise held

                         shop      news       all
   published            3,101     1,122     4,223
   delivered            3,098     1,121     4,219
   duplicate                1         0         1
   expired                  0         1         1
   dead, invalid            1         0         1
   dead, rejected           1         0         1

  ✓ shop: at most 583 counted requests in any 12 s, limit 600, none refused
  ✓ news: at most 880 counted requests in any 12 s, limit 900, none refused
  ✓ sent twice: 0, by the providers' own ledger of 4,219 accepted deliveries
  ✓ nothing lost: 4,223 = 4,219 delivered + 1 duplicate + 1 expired + 2 dead
  ✓ only the second, the late, the faulty and the invalid one were not delivered
  · half of the exempt messages: at most 47 ms from publishing to receipt

 What to try next
   paceline demo --speed 10   the same with minutes of 6 s
   paceline simulate          the providers alone, for your tests
   make run                   with RabbitMQ and Redis";
    assert_eq!(text.join("\n"), expected, "\n{}", text.join("\n"));
}

/// A promise, and what breaks it.
type Break = (&'static str, fn(&mut Summary));

#[test]
fn each_promise_can_fail_by_itself() {
    let broken: [Break; 9] = [
        ("limit", |all| all.accounts[1].most = 901),
        ("limit", |all| all.accounts[0].refused = 1),
        ("twice", |all| all.twice = 1),
        ("twice", |all| all.ledger_whole = false),
        ("conserved", |all| all.totals.published += 1),
        ("conserved", |all| all.totals.published -= 1),
        ("conserved", |all| all.taken -= 1),
        ("planned", |all| {
            all.totals.dead.insert("uncertain".to_owned(), 1);
            all.totals.delivered -= 1;
            all.taken -= 1;
        }),
        ("planned", |all| {
            all.totals.duplicate += 1;
            all.totals.published += 1;
        }),
    ];
    assert!(summary().holds(), "{:?}", summary().checks());
    for (name, breaks) in broken {
        let mut summary = summary();
        breaks(&mut summary);
        let failed: Vec<&str> =
            summary.checks().iter().filter(|check| !check.holds).map(|check| check.name).collect();
        assert_eq!(failed, [name]);
        assert!(!summary.holds());
        assert_eq!(summary.json()["checks"][name], false);
        assert!(summary.heading().plain().contains("did not hold"));
    }
}

#[test]
fn what_was_interrupted_may_still_wait() {
    let mut summary = summary();
    summary.interrupted = true;
    summary.totals.published = 5_000;
    summary.totals.duplicate = 0;
    assert!(summary.holds(), "{:?}", summary.checks());
    let text: String = summary.lines().iter().map(|line| line.plain() + "\n").collect();
    assert!(text.contains("interrupted, drained") && text.contains("still waiting"), "{text}");
    assert_eq!(summary.json()["waiting"], summary.totals.open());
}

#[test]
fn a_file_that_is_kept_is_named() {
    let mut summary = summary();
    summary.kept = Some("my.db".to_owned());
    let text: String = summary.lines().iter().map(|line| line.plain() + "\n").collect();
    assert!(text.contains("my.db"), "{text}");
}
