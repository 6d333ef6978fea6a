//! Statements through a session, over a real database in a directory.

mod fast;
mod locking;
mod server;

use server::{TestServer, copy_in, fails, ok, query};

async fn with_table() -> (TestServer, colonnade_execution::Session) {
    let server = TestServer::start();
    let mut session = server.session();
    ok(&mut session, "create table t (a int primary key, b text, c numeric(10,2) default 1.5, d timestamp)").await;
    (server, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_in_and_come_out() {
    let (_server, mut s) = with_table().await;
    assert_eq!(ok(&mut s, "insert into t (a, b) values (1, 'one'), (2, null)").await, ["INSERT 0 2"]);
    assert_eq!(ok(&mut s, "insert into t values (3, 'three', 2.345, '2024-02-29 12:00')").await, ["INSERT 0 1"]);
    assert_eq!(
        ok(&mut s, "select * from t order by a").await,
        ["1|one|1.50|NULL", "2|NULL|1.50|NULL", "3|three|2.35|2024-02-29 12:00:00"]
    );
    assert_eq!(ok(&mut s, "select count(*), sum(a), avg(a), max(b) from t").await, ["3|6|2.0000000000000000|three"]);
    assert_eq!(ok(&mut s, "insert into t select a + 10, b from t returning a, upper(b) as u").await.len(), 3);
    assert_eq!(ok(&mut s, "select a from t where d = '2024-02-29 12:00'").await, ["3"]);
    assert_eq!(
        ok(&mut s, "select a from t where a in ('1', 11) or b like 'th%' order by a desc").await,
        ["13", "11", "3", "1"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constraints_are_kept() {
    let (_server, mut s) = with_table().await;
    ok(&mut s, "insert into t values (1, 'one')").await;
    let error = fails(&mut s, "insert into t values (1, 'again')", "23505").await;
    assert_eq!(error.message, "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(error.detail.as_deref(), Some("Key (a)=(1) already exists."));
    let error = fails(&mut s, "insert into t (b) values ('x')", "23502").await;
    assert_eq!(error.message, "null value in column \"a\" of relation \"t\" violates not-null constraint");
    assert_eq!(error.detail.as_deref(), Some("Failing row contains (null, x, 1.50, null)."));
    ok(&mut s, "alter table t add constraint positive check (a > 0)").await;
    let error = fails(&mut s, "insert into t values (-1)", "23514").await;
    assert_eq!(error.message, "new row for relation \"t\" violates check constraint \"positive\"");
    fails(&mut s, "insert into t values (2147483648)", "22003").await;
    fails(&mut s, "insert into t values ('x')", "22P02").await;
    fails(&mut s, "insert into t (nope) values (1)", "42703").await;
    fails(&mut s, "insert into t (a, a) values (1, 2)", "42701").await;
    fails(&mut s, "insert into t values (1, 'x', 1, null, 5)", "42601").await;
    fails(&mut s, "insert into missing values (1)", "42P01").await;
    assert_eq!(ok(&mut s, "select count(*) from t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_and_deletes_find_their_rows() {
    let (_server, mut s) = with_table().await;
    ok(&mut s, "insert into t (a, b) values (1, 'one'), (2, 'two'), (3, 'three')").await;
    assert_eq!(ok(&mut s, "update t set b = b || '!', c = a where a >= 2").await, ["UPDATE 2"]);
    assert_eq!(ok(&mut s, "select b, c from t order by a").await, ["one|1.50", "two!|2.00", "three!|3.00"]);
    assert_eq!(ok(&mut s, "update t as x set a = x.a + 10 where a = 1 returning a, b, a * 2").await, ["11|one|22"]);
    ok(&mut s, "create table u (k int, v text)").await;
    ok(&mut s, "insert into u values (2, 'p'), (2, 'q'), (3, 'r')").await;
    assert_eq!(ok(&mut s, "update t set b = v from u where k = a and v <> 'q' returning t.a, k").await.len(), 2);
    assert_eq!(ok(&mut s, "delete from t using u where k = a returning a").await.len(), 2);
    assert_eq!(ok(&mut s, "delete from t").await, ["DELETE 1"]);
    assert_eq!(ok(&mut s, "truncate u").await, ["TRUNCATE TABLE"]);
    assert_eq!(ok(&mut s, "select count(*) from u").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_end_as_they_are_told() {
    let (server, mut s) = with_table().await;
    let mut other = server.session();
    ok(&mut s, "begin").await;
    ok(&mut s, "insert into t values (1)").await;
    assert_eq!(ok(&mut s, "select count(*) from t").await, ["1"]);
    assert_eq!(ok(&mut other, "select count(*) from t").await, ["0"]);
    ok(&mut s, "savepoint p").await;
    fails(&mut s, "insert into t values (1)", "23505").await;
    let error = fails(&mut s, "select 1", "25P02").await;
    assert_eq!(error.message, "current transaction is aborted, commands ignored until end of transaction block");
    ok(&mut s, "rollback to p").await;
    ok(&mut s, "insert into t values (2)").await;
    assert_eq!(ok(&mut s, "commit").await, ["COMMIT"]);
    assert_eq!(ok(&mut other, "select count(*) from t").await, ["2"]);
    ok(&mut s, "begin; create table made (x int); insert into made values (1)").await;
    ok(&mut s, "rollback").await;
    fails(&mut s, "select * from made", "42P01").await;
    fails(&mut s, "begin isolation level serializable", "0A000").await;
    // A message of several statements is one transaction.
    fails(&mut s, "insert into t values (5); insert into t values (5)", "23505").await;
    assert_eq!(ok(&mut s, "select count(*) from t").await, ["2"]);
    ok(&mut s, "begin read only").await;
    fails(&mut s, "insert into t values (9)", "25006").await;
    assert_eq!(ok(&mut s, "commit").await, ["ROLLBACK"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_row_wait_and_look_again() {
    let (server, mut s) = with_table().await;
    ok(&mut s, "insert into t (a, c) values (1, 0)").await;
    ok(&mut s, "begin; update t set c = c + 1 where a = 1").await;
    let mut other = server.session();
    let waiting = tokio::spawn(async move { query(&mut other, "update t set c = c + 1 where a = 1").await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    ok(&mut s, "commit").await;
    assert_eq!(waiting.await.unwrap().unwrap(), ["UPDATE 1"]);
    assert_eq!(ok(&mut s, "select c from t").await, ["2.00"]);
    // REPEATABLE READ fails instead.
    ok(&mut s, "begin isolation level repeatable read; select * from t").await;
    let mut other = server.session();
    ok(&mut other, "update t set c = 9").await;
    fails(&mut s, "update t set c = 10", "40001").await;
    ok(&mut s, "rollback").await;
    // lock_timeout ends a wait.
    ok(&mut other, "begin; update t set c = 11").await;
    ok(&mut s, "set lock_timeout = '50ms'").await;
    fails(&mut s, "update t set c = 12", "55P03").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_postgresqls() {
    let (_server, mut s) = with_table().await;
    let error = fails(&mut s, "select nope from t", "42703").await;
    assert_eq!((error.message.as_str(), error.position), ("column \"nope\" does not exist", Some(8)));
    let error = fails(&mut s, "select * from nope", "42P01").await;
    assert_eq!(error.message, "relation \"nope\" does not exist");
    fails(&mut s, "select x.a from t", "42P01").await;
    fails(&mut s, "select nofunc(1)", "42883").await;
    fails(&mut s, "select b from t group by a", "42803").await;
    fails(&mut s, "select 1 / 0", "22012").await;
    fails(&mut s, "select 1.0 / 0", "22012").await;
    fails(&mut s, "select 2147483647 + 1", "22003").await;
    fails(&mut s, "select 'x'::int", "22P02").await;
    fails(&mut s, "select '2024-13-01'::date", "22008").await;
    fails(&mut s, "select a from t where a = 'x'", "22P02").await;
    let error = fails(&mut s, "selec 1", "42601").await;
    assert_eq!(error.message, "syntax error at or near \"selec\"");
    fails(&mut s, "set nonsense = 1", "42704").await;
    fails(&mut s, "create table v (a nonsense)", "42704").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_have_postgresqls_types_and_text() {
    let (_server, mut s) = with_table().await;
    for (sql, expected) in [
        ("select 1, 1, 'a'", "1|1|a"),
        ("select pg_typeof(1), pg_typeof(1 + 1)", "integer|integer"),
        ("select sum(x) over (order by x rows between 1 preceding and 1 following) from (values (1)) v(x)", "1"),
        ("select count(*) from (values (1, 2)) v(a, b) where (a, b) in ((1, 2), (2, 1))", "1"),
        ("select case when x > 1 then 1 else 2.5 end from (values (1)) v(x)", "2.5"),
        ("select -2 ^ 2, ~5, round(1234.567, -2)::int", "4|-6|1200"),
        ("select 7 / 2, 7 % 2, 7.0 / 2", "3|1|3.5000000000000000"),
        ("select true::text, 1.50::text, date '2024-01-31'::text", "true|1.50|2024-01-31"),
        ("select date '2024-01-31' + 1, date '2024-03-01' - date '2024-02-01'", "2024-02-01|29"),
        ("select timestamp '2024-01-02 03:00' - timestamp '2024-01-01'", "1 day 03:00:00"),
        ("select interval '1 day 2 hours' * 2", "2 days 04:00:00"),
        ("select '12'::int + 1, '{1,2}'::int[]", "13|{1,2}"),
        ("select coalesce(null, 5), nullif(1, 1), case when true then 1 else 2 end", "5|NULL|1"),
        ("select '\\x41'::bytea, 'a'::varchar(1), 'abc'::char(5) || '|'", "\\x41|a|abc|"),
        ("select sum(x), count(x) from (values (1), (2), (null)) as v(x)", "3|2"),
        ("select 2 ^ 10, abs(-5), round(2.567, 1)", "1024|5|2.6"),
        ("select 'a' = 'a', 1 < 2, 'b' > 'a', not true", "t|t|t|f"),
        ("select a from (select 1 as a union all select 2) x order by a desc limit 1", "2"),
        ("with r as (select 1 as n) select n + 1 from r", "2"),
        ("select current_schema(), current_user", "public|colonnade"),
        ("select extract(year from timestamp '2024-05-06')", "2024"),
        ("select '{\"a\": 1}'::jsonb", "{\"a\": 1}"),
        (
            "select x::text from (select '550e8400-e29b-41d4-a716-446655440000'::uuid as x) q",
            "550e8400-e29b-41d4-a716-446655440000",
        ),
        ("select avg(x) from (values (1), (2)) v(x)", "1.5000000000000000"),
        ("select 'nan'::float8 = 'nan'::float8, 1::float8 / 3", "t|0.3333333333333333"),
    ] {
        let rows = ok(&mut s, sql).await;
        assert_eq!(rows, [expected], "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_columns_are_postgresqls() {
    let (server, _) = with_table().await;
    let mut s = server.session();
    let statements =
        s.parse("select count(*), 1, a, sum(a), a::text, upper(b), case when a = 1 then 2 end, a, true from t group by a, b").unwrap();
    let prepared = s.prepare(&statements[0], &[]).await.unwrap();
    s.finish(true).await.unwrap();
    let names: Vec<_> = prepared.columns.unwrap().columns.iter().map(|c| c.name.clone()).collect();
    assert_eq!(names, ["count", "?column?", "a", "sum", "a", "upper", "case", "a", "bool"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_take_their_types_from_where_they_stand() {
    use bytes::Bytes;
    use colonnade_execution::ScalarParameter;
    use colonnade_types::{Format, SqlType};
    let (_server, mut s) = with_table().await;
    let text =
        |value: &str| ScalarParameter { format: Format::Text, value: Some(Bytes::copy_from_slice(value.as_bytes())) };
    let statement = s.parse("insert into t values ($1, $2, $3, $4)").unwrap().remove(0);
    let prepared = s.prepare(&statement, &[]).await.unwrap();
    assert_eq!(
        prepared.parameters,
        [SqlType::Integer, SqlType::Text, SqlType::Numeric(Some((10, 2))), SqlType::Timestamp]
    );
    let values = vec![text("1"), text("it's"), text("2.5"), text("2024-01-01")];
    s.execute_prepared(&prepared, values).await.unwrap();
    s.finish(true).await.unwrap();
    let statement = s.parse("select b from t where a = $1 and c > $2 limit $3").unwrap().remove(0);
    let prepared = s.prepare(&statement, &[]).await.unwrap();
    assert_eq!(prepared.parameters[0], SqlType::Integer);
    assert_eq!(prepared.parameters[2], SqlType::BigInt);
    let binary = ScalarParameter { format: Format::Binary, value: Some(Bytes::from_static(&[0, 0, 0, 1])) };
    let outcome = s.execute_prepared(&prepared, vec![binary, text("1"), text("5")]).await.unwrap();
    assert_eq!(server::collect(&s, outcome, None).await.unwrap(), ["it's"]);
    s.finish(true).await.unwrap();
    let statement = s.parse("update t set c = c + $1, b = $2 where a = $3").unwrap().remove(0);
    let prepared = s.prepare(&statement, &[]).await.unwrap();
    s.execute_prepared(&prepared, vec![text("1"), text("x"), text("1")]).await.unwrap();
    s.finish(true).await.unwrap();
    assert_eq!(ok(&mut s, "select b, c from t").await, ["x|3.50"]);
    ok(&mut s, "prepare p (int) as select $1 + 1").await;
    assert_eq!(ok(&mut s, "execute p(41)").await, ["42"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_moves_text_and_csv_both_ways() {
    let (_server, mut s) = with_table().await;
    let data = b"1\tone\t1.25\t\\N\n2\ttab\\there\t\\N\t2024-01-01 00:00:00\n\\.\n";
    assert_eq!(copy_in(&mut s, "copy t from stdin", data).await.unwrap(), ["COPY 2"]);
    assert_eq!(ok(&mut s, "copy (select a, b from t order by a) to stdout").await, ["1\tone\n2\ttab\\there\n"]);
    assert_eq!(
        ok(&mut s, "copy (select a, b, d from t order by a) to stdout with (format csv, header)").await,
        ["a,b,d\n1,one,\n2,tab\there,2024-01-01 00:00:00\n"]
    );
    let csv = b"a,b\n10,\"x,y\"\n11,\"\"\n12,\n";
    assert_eq!(copy_in(&mut s, "copy t (a, b) from stdin (format csv, header match)", csv).await.unwrap(), ["COPY 3"]);
    assert_eq!(ok(&mut s, "select b, c from t where a >= 10 order by a").await, ["x,y|1.50", "|1.50", "NULL|1.50"]);
    let error = copy_in(&mut s, "copy t (a, b) from stdin", b"20\tx\nbad\ty\n").await.unwrap_err();
    assert_eq!(error.sql_state.code(), "22P02");
    assert_eq!(error.message, "invalid input syntax for type integer: \"bad\"");
    assert_eq!(error.context.as_deref(), Some("COPY t, line 2, column a: \"bad\""));
    let error = copy_in(&mut s, "copy t (a, b) from stdin", b"20\tx\ty\n").await.unwrap_err();
    assert_eq!((error.sql_state.code(), error.message.as_str()), ("22P04", "extra data after last expected column"));
    let error = copy_in(&mut s, "copy t (a, b) from stdin", b"20\n").await.unwrap_err();
    assert_eq!(error.message, "missing data for column \"b\"");
    let error = copy_in(&mut s, "copy t (a, b) from stdin csv", b"20,\"x\n").await.unwrap_err();
    assert_eq!(error.message, "unterminated CSV quoted field");
    assert_eq!(ok(&mut s, "select count(*) from t where a = 20").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_written_and_read() {
    let (server, mut s) = with_table().await;
    ok(&mut s, "insert into t values (1, 'one', 2.50, '2024-01-01'), (2, 'two', null, null)").await;
    for format in ["text", "csv", "binary", "parquet"] {
        let path = server.path(&format!("t.{format}"));
        assert_eq!(ok(&mut s, &format!("copy t to '{path}' (format {format})")).await, ["COPY 2"], "{format}");
        ok(&mut s, "create table back (a int, b text, c numeric(10,2), d timestamp)").await;
        assert_eq!(ok(&mut s, &format!("copy back from '{path}' (format {format})")).await, ["COPY 2"], "{format}");
        assert_eq!(
            ok(&mut s, "select * from back order by a").await,
            ["1|one|2.50|2024-01-01 00:00:00", "2|two|NULL|NULL"],
            "{format}"
        );
        ok(&mut s, "drop table back").await;
    }
    let path = server.path("t.parquet");
    assert_eq!(ok(&mut s, &format!("select a, b from read_parquet('{path}') where a > 1")).await, ["2|two"]);
    ok(&mut s, &format!("copy t to '{}' (format csv, header)", server.path("h.csv"))).await;
    assert_eq!(ok(&mut s, &format!("select sum(a) from read_csv('{}')", server.path("h.csv"))).await, ["3"]);
    fails(&mut s, "copy t from '/no/such/file'", "58P01").await;
    std::fs::write(server.path("bad.parquet"), b"PAR1 this is none").unwrap();
    fails(&mut s, &format!("copy t from '{}' (format parquet)", server.path("bad.parquet")), "22P04").await;
    fails(&mut s, &format!("select * from read_parquet('{}')", server.path("bad.parquet")), "22P04").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_loads_go_to_segments_and_filters_skip_granules() {
    let server = TestServer::start();
    let mut s = server.session();
    ok(&mut s, "create table big (id bigint, grp int, txt text) with (sort_key = 'id')").await;
    assert_eq!(
        ok(&mut s, "insert into big select i, (i % 10)::int, 'row ' || i from generate_series(1, 150000) as g(i)")
            .await,
        ["INSERT 0 150000"]
    );
    assert_eq!(ok(&mut s, "select count(*), min(id), max(id), sum(grp) from big").await, ["150000|1|150000|675000"]);
    assert_eq!(ok(&mut s, "select txt from big where id = 77777").await, ["row 77777"]);
    let plan = ok(&mut s, "explain analyze select txt from big where id between 70000 and 70010").await.join("\n");
    assert!(plan.contains("Segments: read=") && plan.contains("by filter="), "{plan}");
    assert_eq!(ok(&mut s, "delete from big where id <= 1000").await, ["DELETE 1000"]);
    assert_eq!(ok(&mut s, "update big set grp = -1 where id = 2000").await, ["UPDATE 1"]);
    assert_eq!(ok(&mut s, "select count(*), min(grp) from big").await, ["149000|-1"]);
    assert_eq!(ok(&mut s, "select id from big order by id limit 2").await, ["1001", "1002"]);
    assert_eq!(
        ok(&mut s, "select grp, count(*) from big group by grp order by grp limit 2").await,
        ["-1|1", "0|14899"]
    );
    ok(&mut s, "create table few (k bigint)").await;
    ok(&mut s, "insert into few values (140000), (140001)").await;
    assert_eq!(ok(&mut s, "select count(*) from big join few on id = k").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_query_can_be_cancelled_or_run_out_of_time() {
    let server = TestServer::start();
    let mut s = server.session();
    ok(&mut s, "create table n (i int)").await;
    ok(&mut s, "insert into n select i::int from generate_series(1, 3000) as g(i)").await;
    ok(&mut s, "set statement_timeout = '100ms'").await;
    let slow = "select count(*) from n a, n b, n c where a.i + b.i + c.i = 7";
    let error = fails(&mut s, slow, "57014").await;
    assert_eq!(error.message, "canceling statement due to statement timeout");
    ok(&mut s, "reset statement_timeout").await;
    let cancel = s.cancel_handle();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        cancel.cancel();
    });
    let error = fails(&mut s, slow, "57014").await;
    assert_eq!(error.message, "canceling statement due to user request");
    assert_eq!(ok(&mut s, "select 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_from_queries_and_views_are_expanded() {
    let (_server, mut s) = with_table().await;
    ok(&mut s, "insert into t (a, b) values (1, 'x'), (2, 'y')").await;
    assert_eq!(ok(&mut s, "create table copied as select a, b, a * 2 as c from t").await, ["SELECT 2"]);
    assert_eq!(ok(&mut s, "select sum(c) from copied").await, ["6"]);
    ok(&mut s, "select a into other from t").await;
    assert_eq!(ok(&mut s, "select count(*) from other").await, ["2"]);
    ok(&mut s, "create view v as select a, upper(b) as u from t where a > 1").await;
    assert_eq!(ok(&mut s, "select * from v").await, ["2|Y"]);
    ok(&mut s, "create table ids (id serial, g int generated always as identity, x text)").await;
    ok(&mut s, "insert into ids (x) values ('a'), ('b')").await;
    assert_eq!(ok(&mut s, "select * from ids order by id").await, ["1|1|a", "2|2|b"]);
    fails(&mut s, "insert into ids values (1, 1, 'c')", "428C9").await;
    ok(&mut s, "insert into ids overriding system value values (7, 7, 'c')").await;
    assert_eq!(ok(&mut s, "insert into ids values (default, default, 'd') returning id, g").await, ["3|3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_follow_their_transaction() {
    let (_server, mut s) = with_table().await;
    ok(&mut s, "begin; set local timezone = 'Europe/Berlin'").await;
    assert_eq!(ok(&mut s, "show timezone").await, ["Europe/Berlin"]);
    ok(&mut s, "commit").await;
    assert_eq!(ok(&mut s, "show timezone").await, ["UTC"]);
    ok(&mut s, "begin; set application_name = 'x'; rollback").await;
    assert_eq!(ok(&mut s, "show application_name").await, [""]);
    ok(&mut s, "set timezone = 'Europe/Berlin'").await;
    assert_eq!(ok(&mut s, "select timestamptz '2024-07-01 12:00+00'").await, ["2024-07-01 14:00:00+02"]);
    assert_eq!(ok(&mut s, "show transaction isolation level").await, ["read committed"]);
    fails(&mut s, "show nonsense", "42704").await;
}
