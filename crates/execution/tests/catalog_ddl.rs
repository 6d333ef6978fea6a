//! DDL does what PostgreSQL's does, and says what it says.

mod common;

use common::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_postgresql_texts() {
    let mut harness = Harness::new();
    harness
        .run("CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c int); CREATE VIEW v AS SELECT a, b FROM t; CREATE SEQUENCE s")
        .await;
    for (sql, expected) in [
        ("CREATE TABLE t (x int)", "42P07 relation \"t\" already exists"),
        ("CREATE TABLE x (a int, a int)", "42701 column \"a\" specified more than once"),
        ("CREATE TABLE x (a nothing)", "42704 type \"nothing\" does not exist"),
        ("CREATE TABLE x (a int, PRIMARY KEY (z))", "42703 column \"z\" named in key does not exist"),
        (
            "CREATE TABLE x (a int PRIMARY KEY, b int PRIMARY KEY)",
            "42P16 multiple primary keys for table \"x\" are not allowed",
        ),
        ("CREATE TABLE nowhere.x (a int)", "3F000 schema \"nowhere\" does not exist"),
        ("CREATE TABLE x (a int CHECK (a + 1))", "42804 argument of CHECK must be type boolean, not type integer"),
        (
            "CREATE TABLE x (a int) WITH (fillfactor = 5)",
            "22023 value 5 out of bounds for option \"fillfactor\" (Valid values are between \"10\" and \"100\".)",
        ),
        ("DROP TABLE nothing", "42P01 table \"nothing\" does not exist"),
        ("DROP TABLE v", "42809 \"v\" is not a table"),
        ("DROP VIEW t", "42809 \"t\" is not a view"),
        ("DROP TABLE t", "2BP01 cannot drop table t because other objects depend on it (view v depends on table t)"),
        (
            "ALTER TABLE t DROP COLUMN b",
            "2BP01 cannot drop column b of table t because other objects depend on it (view v depends on column b of table t)",
        ),
        ("ALTER TABLE t DROP COLUMN z", "42703 column \"z\" of relation \"t\" does not exist"),
        ("ALTER TABLE t DROP CONSTRAINT z", "42704 constraint \"z\" of relation \"t\" does not exist"),
        ("ALTER TABLE t ALTER COLUMN a DROP NOT NULL", "42P16 column \"a\" is in a primary key"),
        ("CREATE SEQUENCE q INCREMENT 0", "22023 INCREMENT must not be zero"),
        (
            "CREATE SCHEMA pg_x",
            "42939 unacceptable schema name \"pg_x\" (The prefix \"pg_\" is reserved for system schemas.)",
        ),
        ("DROP SCHEMA nowhere", "3F000 schema \"nowhere\" does not exist"),
        ("COMMENT ON TABLE nothing IS 'x'", "42P01 relation \"nothing\" does not exist"),
        ("SELECT currval('s')", "55000 currval of sequence \"s\" is not yet defined in this session"),
        ("SELECT 'nothing'::regclass", "42P01 relation \"nothing\" does not exist"),
    ] {
        assert_eq!(harness.error(sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alter_table_looks_at_the_rows_that_are_there() {
    let mut harness = Harness::new();
    harness.run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL), (2, 'z')").await;
    for (sql, expected) in [
        ("ALTER TABLE t ALTER COLUMN b SET NOT NULL", "23502 column \"b\" of relation \"t\" contains null values"),
        ("ALTER TABLE t ADD COLUMN n int NOT NULL", "23502 column \"n\" of relation \"t\" contains null values"),
        (
            "ALTER TABLE t ADD CONSTRAINT small CHECK (a < 2)",
            "23514 check constraint \"small\" of relation \"t\" is violated by some row",
        ),
        (
            "ALTER TABLE t ADD UNIQUE (a)",
            "23505 could not create unique index \"t_a_key\" (Key (a)=(2) is duplicated.)",
        ),
    ] {
        assert_eq!(harness.error(sql).await, expected, "{sql}");
    }
    harness.run("ALTER TABLE t ADD COLUMN d int DEFAULT 7, ADD COLUMN e bigserial, ADD CHECK (a > 0)").await;
    assert_eq!(harness.rows("SELECT a, b, d, e FROM t ORDER BY e").await, ["1|x|7|1", "2|NULL|7|2", "2|z|7|3"]);
    harness.run("ALTER TABLE t ALTER COLUMN a TYPE text, RENAME COLUMN b TO bb; ").await;
    assert_eq!(harness.rows("SELECT a, bb FROM t ORDER BY e").await, ["1|x", "2|NULL", "2|z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_gave_are_postgresql_s() {
    let mut harness = Harness::new();
    harness
        .run("CREATE TABLE t (id serial PRIMARY KEY, a int UNIQUE, b int CHECK (b > 0), c int, UNIQUE (a, c), CHECK (b > c), CHECK (c > 1))")
        .await;
    assert_eq!(
        harness
            .rows(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass ORDER BY 1"
            )
            .await,
        [
            "t_a_c_key|UNIQUE (a, c)",
            "t_a_key|UNIQUE (a)",
            "t_b_check|CHECK ((b > 0))",
            "t_c_check|CHECK ((c > 1))",
            "t_check|CHECK ((b > c))",
            "t_pkey|PRIMARY KEY (id)",
        ]
    );
    assert_eq!(harness.rows("SELECT pg_get_serial_sequence('t', 'id')").await, ["public.t_id_seq"]);
    harness.run("CREATE TABLE IF NOT EXISTS t (a int); DROP TABLE IF EXISTS nothing").await;
    assert_eq!(
        harness.notices(),
        ["relation \"t\" already exists, skipping", "table \"nothing\" does not exist, skipping"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn views_follow_their_tables() {
    let mut harness = Harness::new();
    harness.run("CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 2); CREATE VIEW v AS SELECT * FROM t WHERE t.a > 0").await;
    harness
        .run("ALTER TABLE t ADD COLUMN c int; ALTER TABLE t RENAME TO u; CREATE SCHEMA x; ALTER TABLE u SET SCHEMA x")
        .await;
    assert_eq!(harness.rows("SELECT * FROM v").await, ["1|2"]);
    harness.run("DROP TABLE x.u CASCADE").await;
    assert_eq!(harness.notices(), ["drop cascades to view v"]);
    assert_eq!(harness.error("SELECT * FROM v").await, "42P01 relation \"v\" does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_rolled_back_with_its_transaction() {
    let mut harness = Harness::new();
    harness.run("BEGIN; CREATE TABLE t (a serial); INSERT INTO t VALUES (DEFAULT); ROLLBACK").await;
    assert_eq!(harness.error("SELECT * FROM t").await, "42P01 relation \"t\" does not exist");
    assert_eq!(
        harness
            .rows("SELECT count(*) FROM pg_class WHERE relname LIKE 't%' AND relkind IN ('r', 'S') AND oid > 16383")
            .await,
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_answer_as_postgresql_does() {
    let mut harness = Harness::new();
    harness.run("CREATE SEQUENCE s START 5").await;
    let mut wrong = Vec::new();
    for (sql, expected) in [
        ("SELECT nextval('s'), currval('s'), lastval()", "5|5|5"),
        ("SELECT setval('s', 41), nextval('s')", "41|42"),
        ("SELECT 'pg_class'::regclass::oid, 1259::regclass, 's'::regclass::text", "1259|pg_class|s"),
        ("SELECT 'int'::regtype, format_type(1043, 14), pg_typeof(1::int)", "integer|character varying(10)|integer"),
        ("SELECT quote_ident('A b'), quote_literal('it''s'), format('%I=%L', 'a', 1)", "\"A b\"|'it''s'|a='1'"),
        (
            "SELECT to_char(timestamp '2024-03-05 14:07:09', 'YYYY-MM-DD HH12:MI:SS pm Mon FMDay')",
            "2024-03-05 02:07:09 pm Mar Tuesday",
        ),
        ("SELECT to_char(1234.5, 'FM9,999.00'), to_char(12, '0000')", "1,234.50| 0012"),
        ("SELECT mod(7, -2), mod(-7, 2)", "1|-1"),
        ("SELECT age(timestamp '2001-04-10', timestamp '1957-06-13')", "43 years 9 mons 27 days"),
        ("SELECT current_schema(), current_user, current_database()", "public|colonnade|colonnade"),
        ("SELECT array_to_string(current_schemas(true), ',')", "pg_catalog,public"),
        ("SELECT count(*), min(n), max(n) FROM generate_series(1, 100000, 3) AS g(n)", "33334|1|100000"),
        ("SELECT sum(generate_series) FROM generate_series(1, 4)", "10"),
        (
            "SELECT count(*) FROM generate_series(timestamp '2024-01-31', timestamp '2024-05-31', interval '1 month')",
            "5",
        ),
        ("SELECT pg_size_pretty(123456789::bigint), pg_sleep(0)", "118 MB|"),
    ] {
        let rows = harness.try_rows(sql).await;
        if rows.as_ref().ok().is_none_or(|rows| rows != &[expected]) {
            wrong.push(format!("{sql}: {rows:?}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
