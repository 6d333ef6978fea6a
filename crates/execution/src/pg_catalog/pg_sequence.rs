//! `pg_sequence` and `pg_sequences`.

use colonnade_types::{Oid, Relation};

use super::view::{SystemView, row};
use crate::functions::value::Value;

pub(super) const PG_SEQUENCE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2224),
    name: "pg_sequence",
    kind: "r",
    columns: "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, seqcache int8,
        seqcycle bool",
    rows: Some(|source| {
        let mut rows = Vec::new();
        for relation in source.statement.catalog.relations() {
            let Relation::Sequence(sequence) = relation else { continue };
            rows.push(row![
                sequence.oid,
                sequence.sql_type.oid(),
                sequence.start,
                sequence.increment,
                sequence.max,
                sequence.min,
                sequence.cache,
                sequence.cycle
            ]);
        }
        Ok(rows)
    }),
};

pub(super) const PG_SEQUENCES: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_030),
    name: "pg_sequences",
    kind: "v",
    columns: "schemaname name, sequencename name, sequenceowner name, data_type regtype, start_value int8,
        min_value int8, max_value int8, increment_by int8, cycle bool, cache_size int8, last_value int8",
    rows: Some(|source| {
        let mut rows = Vec::new();
        let catalog = &source.statement.catalog;
        for relation in catalog.relations() {
            let Relation::Sequence(sequence) = relation else { continue };
            let state = source.info.database().sequence_state(sequence);
            rows.push(row![
                catalog.schema(sequence.schema).map(|schema| schema.name.clone()),
                &sequence.name,
                &sequence.owner,
                sequence.sql_type.oid(),
                sequence.start,
                sequence.min,
                sequence.max,
                sequence.increment,
                sequence.cycle,
                sequence.cache,
                if state.is_called { Value::Int(state.last_value) } else { Value::Null }
            ]);
        }
        Ok(rows)
    }),
};
