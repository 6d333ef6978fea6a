//! The queries behind psql's backslash commands, pgbench's start and drivers' type look-ups give rows, not errors.

mod common;

use common::Harness;

/// A table with everything that `\d` shows.
const SETUP: &str = "
    CREATE TABLE t (id bigserial PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'x', price numeric(10,2) CHECK (price > 0),
        code integer UNIQUE, n integer GENERATED ALWAYS AS IDENTITY);
    CREATE VIEW v AS SELECT id, name FROM t;
    CREATE SEQUENCE s;
    COMMENT ON TABLE t IS 'things';
    COMMENT ON COLUMN t.name IS 'what it is called'";

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_a_table() {
    let mut harness = Harness::new();
    harness.run(SETUP).await;
    let found = harness
        .rows(
            "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default
               AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3",
        )
        .await;
    assert_eq!(found.len(), 1);
    let oid = found[0].split('|').next().unwrap().to_owned();

    let class = harness
        .rows(&format!(
            "SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity,
             c.relforcerowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace,
             CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END,
             c.relpersistence, c.relreplident, am.amname
             FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)
             LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid) WHERE c.oid = '{oid}'"
        ))
        .await;
    assert_eq!(class, ["1|r|t|f|f|f|f|f|f||0||p|d|heap"]);

    let columns = harness
        .rows(&format!(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
             (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
              WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
             a.attnotnull,
             (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
              WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
             a.attidentity, a.attgenerated
             FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        ))
        .await;
    assert_eq!(
        columns,
        [
            "id|bigint|nextval('t_id_seq'::regclass)|t|NULL||",
            "name|character varying(20)|'x'|t|NULL||",
            "price|numeric(10,2)|NULL|f|NULL||",
            "code|integer|NULL|f|NULL||",
            "n|integer|NULL|t|NULL|a|",
        ]
    );

    let indexes = harness
        .rows(&format!(
            "SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid,
             pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), pg_catalog.pg_get_constraintdef(con.oid, true), contype,
             condeferrable, condeferred, i.indisreplident, c2.reltablespace
             FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
             LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid
                 AND contype IN ('p','u','x'))
             WHERE c.oid = '{oid}' AND c.oid = i.indrelid AND i.indexrelid = c2.oid
             ORDER BY i.indisprimary DESC, c2.relname"
        ))
        .await;
    assert_eq!(
        indexes,
        [
            "t_pkey|t|t|f|t|CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)|PRIMARY KEY (id)|p|f|f|f|0",
            "t_code_key|f|t|f|t|CREATE UNIQUE INDEX t_code_key ON public.t USING btree (code)|UNIQUE (code)|u|f|f|f|0",
        ]
    );

    for sql in [
        "SELECT r.conname, pg_catalog.pg_get_constraintdef(r.oid, true) FROM pg_catalog.pg_constraint r
         WHERE r.conrelid = 'OID' AND r.contype = 'c' ORDER BY 1",
        "SELECT pol.polname, pol.polpermissive, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE
         pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,
         pg_catalog.pg_get_expr(pol.polqual, pol.polrelid), pg_catalog.pg_get_expr(pol.polwithcheck, pol.polrelid),
         CASE pol.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END AS cmd
         FROM pg_catalog.pg_policy pol WHERE pol.polrelid = 'OID' ORDER BY 1",
        "SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname,
         pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns, 'd' = any(stxkind) AS ndist_enabled,
         'f' = any(stxkind) AS deps_enabled, 'm' = any(stxkind) AS mcv_enabled, stxstattarget
         FROM pg_catalog.pg_statistic_ext WHERE stxrelid = 'OID' ORDER BY nsp, stxname",
        "SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication p
         JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
         JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid
         WHERE pc.oid ='OID' and pg_catalog.pg_relation_is_publishable('OID')
         UNION
         SELECT pubname, pg_get_expr(pr.prqual, c.oid), (CASE WHEN pr.prattrs IS NOT NULL THEN
             (SELECT string_agg(attname, ', ')
              FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s, pg_catalog.pg_attribute
              WHERE attrelid = pr.prrelid AND attnum = prattrs[s]) ELSE NULL END)
         FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid
         JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid WHERE pr.prrelid = 'OID'
         UNION
         SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication p
         WHERE p.puballtables AND pg_catalog.pg_relation_is_publishable('OID') ORDER BY 1",
        "SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
         WHERE c.oid = i.inhparent AND i.inhrelid = 'OID' AND c.relkind != 'p' AND c.relkind != 'I' ORDER BY inhseqno",
        "SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
         FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid AND i.inhparent = 'OID'
         ORDER BY pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text",
    ] {
        harness.rows(&sql.replace("OID", &oid)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_lists_what_there_is() {
    let mut harness = Harness::new();
    harness.run(SETUP).await;
    let listed = harness
        .rows(
            r#"SELECT n.nspname as "Schema", c.relname as "Name",
             CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index'
             WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' END as "Type",
             pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
             FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
             WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast'
             AND n.nspname <> 'information_schema' AND n.nspname <> 'colonnade'
             AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2"#,
        )
        .await;
    assert_eq!(
        listed,
        [
            "public|s|sequence|colonnade",
            "public|t|table|colonnade",
            "public|t_id_seq|sequence|colonnade",
            "public|t_n_seq|sequence|colonnade",
            "public|v|view|colonnade",
        ]
    );
    for sql in [
        r#"SELECT d.datname as "Name", pg_catalog.pg_get_userbyid(d.datdba) as "Owner",
         pg_catalog.pg_encoding_to_char(d.encoding) as "Encoding", d.datcollate as "Collate", d.datctype as "Ctype",
         d.daticulocale as "ICU Locale", CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS "Locale Provider",
         pg_catalog.array_to_string(d.datacl, E'\n') AS "Access privileges" FROM pg_catalog.pg_database d ORDER BY 1"#,
        r#"SELECT n.nspname AS "Name", pg_catalog.pg_get_userbyid(n.nspowner) AS "Owner" FROM pg_catalog.pg_namespace n
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1"#,
        "SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconnlimit, r.rolvaliduntil,
         ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
         WHERE m.member = r.oid) as memberof, r.rolreplication, r.rolbypassrls
         FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1",
        r#"SELECT n.nspname as "Schema", pg_catalog.format_type(t.oid, NULL) AS "Name",
         pg_catalog.obj_description(t.oid, 'pg_type') as "Description"
         FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
         WHERE (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))
         AND NOT EXISTS(SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)
         AND pg_catalog.pg_type_is_visible(t.oid) ORDER BY 1, 2"#,
        r#"SELECT e.extname AS "Name", e.extversion AS "Version", n.nspname AS "Schema", c.description AS "Description"
         FROM pg_catalog.pg_extension e LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
         LEFT JOIN pg_catalog.pg_description c ON c.objoid = e.oid AND c.classoid = 'pg_catalog.pg_extension'::pg_catalog.regclass
         ORDER BY 1"#,
        r#"SELECT n.nspname as "Schema", p.proname as "Name", pg_catalog.pg_get_function_result(p.oid) as "Result data type",
         pg_catalog.pg_get_function_arguments(p.oid) as "Argument data types",
         CASE p.prokind WHEN 'a' THEN 'agg' WHEN 'w' THEN 'window' WHEN 'p' THEN 'proc' ELSE 'func' END as "Type"
         FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE pg_catalog.pg_function_is_visible(p.oid) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema'
         ORDER BY 1, 2, 4"#,
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r','S','v','m','f','p')
         AND substring(pg_catalog.quote_ident(c.relname),1,1)='t' AND pg_catalog.pg_table_is_visible(c.oid) LIMIT 1000",
        "select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c
         join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace)
         cross join lateral (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n)
         left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid)
         left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent)
         where c.relname = 't' and o.n is not null group by 1, 2 order by 1 asc limit 1",
        "SELECT t.oid, t.typname, t.typtype, t.typelem, t.typinput::text FROM pg_type t WHERE t.typname = 'int4'",
    ] {
        harness.rows(sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_system_view_can_be_read() {
    let mut harness = Harness::new();
    harness.run(SETUP).await;
    for (schema, oid) in [("pg_catalog", 11), ("information_schema", 13_000), ("colonnade", 13_001)] {
        for name in colonnade_execution::pg_catalog::table_names(colonnade_types::Oid(oid)) {
            harness.rows(&format!("SELECT * FROM {schema}.{name}")).await;
        }
    }
}
