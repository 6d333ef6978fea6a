//! `pg_stat_*`: sessions and tables as they are now.

use colonnade_types::{Oid, Relation};

use super::pg_database::DATABASES;
use super::view::{SystemView, row};
use crate::functions::names::owner_oid;
use crate::functions::value::Value;

pub(super) const PG_STAT_ACTIVITY: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_218),
    name: "pg_stat_activity",
    kind: "v",
    columns: "datid oid, datname name, pid int4, leader_pid int4, usesysid oid, usename name, application_name text,
        client_addr text, client_hostname text, client_port int4, backend_start timestamptz, xact_start timestamptz,
        query_start timestamptz, state_change timestamptz, wait_event_type text, wait_event text, state text,
        backend_xid oid, backend_xmin oid, query_id int8, query text, backend_type text",
    rows: Some(|source| {
        let time = |micros: Option<i64>| micros.map_or(Value::Null, Value::Timestamp);
        let mut rows = Vec::new();
        for session in source.info.sessions().activity() {
            // Whoever waited for a transaction that has ended does not wait any more, even if it has not gone on yet.
            let locked = session.waits_for.is_some_and(|holder| source.info.database().is_running(holder));
            let wait = |text: &'static str| if locked { Value::from(text) } else { Value::Null };
            rows.push(row![
                DATABASES[0].0,
                &session.database,
                session.process_id,
                Value::Null,
                owner_oid(&session.user),
                &session.user,
                &session.application_name,
                Value::Null,
                Value::Null,
                Value::Null,
                time(Some(session.session_start)),
                time(session.transaction_start),
                time(session.statement_start),
                time(Some(session.state_change)),
                wait("Lock"),
                wait("transactionid"),
                session.state,
                Value::Null,
                Value::Null,
                Value::Null,
                &session.query,
                "client backend"
            ]);
        }
        Ok(rows)
    }),
};

pub(super) const PG_STAT_DATABASE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_260),
    name: "pg_stat_database",
    kind: "v",
    columns: "datid oid, datname name, numbackends int4",
    rows: Some(|source| {
        let count = source.info.sessions().activity().len();
        Ok(vec![row![DATABASES[0].0, DATABASES[0].1, count]])
    }),
};

pub(super) const PG_STAT_USER_TABLES: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_160),
    name: "pg_stat_user_tables",
    kind: "v",
    columns: "relid oid, schemaname name, relname name, n_live_tup int8, n_dead_tup int8",
    rows: Some(|source| {
        let catalog = &source.statement.catalog;
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            let Relation::Table(table) = relation else { continue };
            let status = source.info.database().table_status(table.storage);
            rows.push(row![
                table.oid,
                catalog.schema(table.schema).map(|schema| schema.name.clone()),
                &table.name,
                (status.segment_rows + status.tail_rows).saturating_sub(status.deleted_rows),
                status.deleted_rows
            ]);
        }
        Ok(rows)
    }),
};
