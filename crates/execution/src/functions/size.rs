//! Sizes on disk, from the storage's own figures.

use arrow::datatypes::i256;
use colonnade_types::{Oid, Relation};

use super::function::{Call, Function};
use super::value::Value;
use crate::error::Result;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::volatile("pg_relation_size(regclass) -> bigint", relation_size),
        Function::volatile("pg_relation_size(regclass, text) -> bigint", |call, arguments| {
            if arguments[1].text() == "main" { relation_size(call, arguments) } else { Ok(0i64.into()) }
        }),
        Function::volatile("pg_total_relation_size(regclass) -> bigint", relation_size),
        Function::volatile("pg_table_size(regclass) -> bigint", relation_size),
        Function::volatile("pg_indexes_size(regclass) -> bigint", |_, _| Ok(0i64.into())),
        Function::volatile("pg_database_size(name) -> bigint", |call, _| Ok(database_size(call).into())),
        Function::volatile("pg_database_size(oid) -> bigint", |call, _| Ok(database_size(call).into())),
        Function::volatile("pg_tablespace_size(oid) -> bigint", |call, _| Ok(database_size(call).into())),
        Function::volatile("pg_tablespace_size(name) -> bigint", |call, _| Ok(database_size(call).into())),
        Function::immutable("pg_size_pretty(bigint) -> text", |_, arguments| Ok(pretty(arguments[0].int()).into())),
        Function::immutable("pg_size_pretty(numeric) -> text", |_, arguments| {
            let Value::Decimal(digits, scale) = arguments[0] else { return Ok(Value::Null) };
            let whole = digits / i256::from_i128(10i128.pow(u32::from(scale.unsigned_abs()).min(38)));
            let whole = whole.to_i128().and_then(|whole| i64::try_from(whole).ok()).unwrap_or(i64::MAX);
            Ok(pretty(whole).into())
        }),
        Function::stable("pg_relation_filenode(regclass) -> oid", |call, arguments| {
            Ok(match call.statement.catalog.relation(arguments[0].oid()) {
                Some(Relation::Table(table)) => Oid(u32::try_from(table.storage.0).unwrap_or(0)).into(),
                _ => Value::Null,
            })
        }),
    ]
}

fn bytes(call: &Call<'_>, relation: &Relation) -> u64 {
    match relation {
        Relation::Table(table) => {
            let status = call.info.database().table_status(table.storage);
            status.segment_bytes + status.tail_bytes
        }
        _ => 0,
    }
}

fn relation_size(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let relation = call.statement.catalog.relation(arguments[0].oid());
    Ok(relation.map_or(Value::Int(0), |relation| bytes(call, relation).into()))
}

fn database_size(call: &Call<'_>) -> u64 {
    call.statement.catalog.relations().map(|relation| bytes(call, relation)).sum()
}

/// The size in the largest unit of which there are at least ten, rounded.
fn pretty(bytes: i64) -> String {
    let mut size = i128::from(bytes);
    if size.abs() < 10 * 1024 {
        return format!("{bytes} bytes");
    }
    // PostgreSQL keeps one extra bit on the way, and rounds by it at the end.
    size >>= 9;
    let units = ["kB", "MB", "GB", "TB", "PB"];
    for (index, unit) in units.iter().enumerate() {
        if size.abs() < 20 * 1024 - 1 || index + 1 == units.len() {
            let rounded = (size + if size < 0 { -1 } else { 1 }) / 2;
            return format!("{rounded} {unit}");
        }
        size >>= 10;
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn sizes_are_written_as_postgresql_writes_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (1_073_741_824, "1024 MB"),
            (-10_240, "-10 kB"),
        ] {
            assert_eq!(pretty(bytes), text);
        }
    }
}
