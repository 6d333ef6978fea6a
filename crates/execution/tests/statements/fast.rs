//! The fast path against the general one: which statements it takes, and that both do the same.

use colonnade_execution::{Error, Session};

use crate::server::{Rows, TestServer, collect, fails, ok};

/// Runs a text as a simple query would be: on the fast path if it is recognised. Says whether it was.
async fn simple(session: &mut Session, sql: &str) -> (bool, Result<Rows, Error>) {
    let Some(recognised) = session.recognise_text(sql).await else {
        return (false, crate::server::query(session, sql).await);
    };
    let outcome = match session.execute_recognised(&recognised) {
        Some(outcome) => outcome,
        None => {
            let (prepared, literals) = recognised.into_parts();
            session.execute_prepared(&prepared, literals).await
        }
    };
    let rows = match outcome {
        Ok(outcome) => collect(session, outcome, None).await,
        Err(error) => Err(error),
    };
    if rows.is_err() {
        session.fail();
    }
    let finished = session.finish(rows.is_ok()).await;
    (true, rows.and_then(|rows| finished.map(|()| rows)))
}

const TABLE: &str = "create table t (a int primary key, b text, c numeric(10,2) default 1.5, d timestamp, e bigint,
    f double precision, unique (b, e), check (c >= 0))";

/// Statements with whether the fast path takes them, in an order in which each finds something to do.
const STATEMENTS: &[(&str, bool)] = &[
    ("insert into t (a, b, e) values (1, 'one', 10)", true),
    ("insert into t (a, b, e) values (2, 'it''s', 20), (3, null, null)", true),
    ("insert into t values (4, 'four', 2.345, '2024-02-29 12:00', 3000000000, 1.5)", true),
    ("insert into t (a, b) values (5, upper('five')) returning a, b, c * 2 as twice", true),
    ("insert into t (a, d) values (6, current_timestamp)", true),
    ("insert into t (a) values (1)", true),
    ("insert into t (a, c) values (9, -1)", true),
    ("insert into t (a) values (null)", true),
    ("insert into t (a) values (default)", false),
    ("insert into t (a) select 7", false),
    ("select * from t where a = 4", true),
    ("select b, a + 1, c from t x where x.a = 2", true),
    ("select a from t where 2 = a and b = 'it''s'", true),
    ("select a from t where a = 2 and b = 'other'", true),
    ("select a from t where b = 'one' and e = 10", true),
    ("select a from t where b = 'one' and e = 10 and c > 1", true),
    ("select a from t where a = 99", true),
    ("select a from t where a = null", false),
    ("select a from t where a = 3000000000", true),
    ("select a from t where a = '4'", true),
    ("select a from t where a = 1 or a = 2", false),
    ("select a from t where a > 3 order by a", false),
    ("select count(*) from t where a = 1", false),
    ("select a from t where a = 1 for update", false),
    ("select a from t where a = 1 limit 1", false),
    ("select a, random() < 2 from t where a = 1", false),
    ("select a from t where a = (select 1)", false),
    ("update t set b = b || '!', e = e + -5 where a = 1", true),
    ("update t set c = c / 3 where a = 4 returning a, c", true),
    ("update t set a = 40 where a = 4", true),
    ("update t set a = 1 where a = 40", true),
    ("update t set c = -1 where a = 1", true),
    ("update t set b = null where a = 99", true),
    ("update t set b = 'all'", false),
    ("update t set e = 9223372036854775807 + e where a = 1", true),
    ("delete from t where a = 2 and e = 0", true),
    ("delete from t where a = 2 returning b", true),
    ("delete from t where a = 2", true),
    ("select a, b, c, d is null, e, f from t order by a", false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_paths_do_the_same() {
    let (one, other) = (TestServer::start(), TestServer::start());
    let (mut fast, mut general) = (one.session(), other.session());
    ok(&mut fast, TABLE).await;
    ok(&mut general, TABLE).await;
    // Twice: the second time the plans are known, and the rows are others.
    for _ in 0..2 {
        for (sql, expected) in STATEMENTS {
            let (is_fast, found) = simple(&mut fast, sql).await;
            assert_eq!(is_fast, *expected, "{sql}");
            let wanted = crate::server::query(&mut general, sql).await;
            match (found, wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{sql}"),
                (Err(found), Err(wanted)) => {
                    let said = |error: &Error| (error.sql_state, error.message.clone(), error.detail.clone());
                    assert_eq!(said(&found), said(&wanted), "{sql}");
                }
                (found, wanted) => panic!("{sql}: {found:?} and {wanted:?}"),
            }
        }
        for session in [&mut fast, &mut general] {
            ok(session, "delete from t").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_does_not_outlive_what_it_was_bound_to() {
    let server = TestServer::start();
    let mut s = server.session();
    ok(&mut s, "create table t (a int primary key, b int)").await;
    let select = "select * from t where a = 1";
    assert_eq!(simple(&mut s, "insert into t values (1, 2)").await.1.unwrap(), ["INSERT 0 1"]);
    assert_eq!(simple(&mut s, select).await.1.unwrap(), ["1|2"]);
    ok(&mut s, "alter table t add column c text default 'new'").await;
    assert_eq!(simple(&mut s, select).await.1.unwrap(), ["1|2|new"]);
    ok(&mut s, "alter table t drop column b").await;
    let (is_fast, rows) = simple(&mut s, select).await;
    assert_eq!((is_fast, rows.unwrap()), (true, vec!["1|new".to_owned()]));
    ok(&mut s, "create schema s; create table s.t (a int primary key); insert into s.t values (1)").await;
    ok(&mut s, "set search_path = s").await;
    assert_eq!(simple(&mut s, select).await.1.unwrap(), ["1"]);
    ok(&mut s, "reset search_path; drop table t").await;
    let (is_fast, rows) = simple(&mut s, select).await;
    assert_eq!((is_fast, rows.unwrap_err().message.as_str()), (false, "relation \"t\" does not exist"));
    ok(&mut s, "create view t as select 5 as a").await;
    assert_eq!(simple(&mut s, "select * from t where a = 5").await.1.unwrap(), ["5"]);
}

/// A row is found wherever it is: in the open chunk, in a segment, in chunks that an old snapshot still reads, among many versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_found_where_they_are() {
    let server = TestServer::start();
    let (mut s, mut old) = (server.session(), server.session());
    ok(&mut s, "create table t (a int primary key, b int)").await;
    ok(&mut s, "insert into t select g, 0 from generate_series(1, 20000) g").await;
    let read = "select b from t where a = 777";
    ok(&mut old, "begin isolation level repeatable read").await;
    assert_eq!(simple(&mut old, read).await.1.unwrap(), ["0"]);
    for round in 1..=30 {
        assert_eq!(simple(&mut s, "update t set b = b + 1 where a = 777").await.1.unwrap(), ["UPDATE 1"]);
        if round % 10 == 0 {
            ok(&mut s, if round == 20 { "compact table t" } else { "vacuum t" }).await;
        }
        let (is_fast, rows) = simple(&mut s, read).await;
        assert_eq!((is_fast, rows.unwrap()), (true, vec![round.to_string()]));
        assert_eq!(simple(&mut old, read).await.1.unwrap(), ["0"], "round {round}");
    }
    let error = simple(&mut old, "update t set b = 5 where a = 777").await.1.unwrap_err();
    assert_eq!(error.message, "could not serialize access due to concurrent update");
    ok(&mut old, "rollback").await;
    assert_eq!(simple(&mut old, read).await.1.unwrap(), ["30"]);
    assert_eq!(simple(&mut s, "delete from t where a = 777").await.1.unwrap(), ["DELETE 1"]);
    assert_eq!(simple(&mut s, read).await.1.unwrap(), Vec::<String>::new());
    fails(&mut s, "insert into t values (778, 0)", "23505").await;
    assert_eq!(simple(&mut s, "insert into t values (777, 7)").await.1.unwrap(), ["INSERT 0 1"]);
    assert_eq!(ok(&mut s, "select count(*), sum(b) from t").await, ["20000|7"]);
}
