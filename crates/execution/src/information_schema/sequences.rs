//! `sequences`.

use colonnade_types::{Relation, SqlType};

use super::view;
use crate::pg_catalog::view::{SystemView, row};

pub(super) const SEQUENCES: SystemView = view(
    5,
    "sequences",
    "sequence_catalog name, sequence_schema name, sequence_name name, data_type text, numeric_precision int4,
        numeric_precision_radix int4, numeric_scale int4, start_value text, minimum_value text, maximum_value text,
        increment text, cycle_option text",
    |source| {
        let catalog = &source.statement.catalog;
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            let Relation::Sequence(sequence) = relation else { continue };
            let bits = match sequence.sql_type {
                SqlType::SmallInt => 16i32,
                SqlType::Integer => 32,
                _ => 64,
            };
            rows.push(row![
                source.info.database_name(),
                catalog.schema(sequence.schema).map(|schema| schema.name.clone()),
                &sequence.name,
                sequence.sql_type.base_name(),
                bits,
                2i32,
                0i32,
                sequence.start.to_string(),
                sequence.min.to_string(),
                sequence.max.to_string(),
                sequence.increment.to_string(),
                if sequence.cycle { "YES" } else { "NO" }
            ]);
        }
        Ok(rows)
    },
);
