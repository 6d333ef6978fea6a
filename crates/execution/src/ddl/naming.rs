//! Names that PostgreSQL makes up: `t_pkey`, `t_a_key`, `t_a_check`, `t_id_seq`.

use colonnade_storage::Catalog;
use colonnade_types::{Oid, Relation, TableDefinition};

/// Bytes that an identifier may have.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 63;

/// Cuts an identifier at 63 bytes, between characters.
pub(crate) fn truncate(name: &str) -> &str {
    clip(name, IDENTIFIER_BYTES_MAX)
}

fn clip(name: &str, bytes: usize) -> &str {
    if name.len() <= bytes {
        return name;
    }
    let mut end = bytes;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// Puts `first`, `second` and `label` together with underscores; the longer of the first two gives way if it gets too long.
pub(crate) fn object_name(first: &str, second: &str, label: &str) -> String {
    let overhead = label.len() + usize::from(!label.is_empty()) + usize::from(!second.is_empty());
    let available = IDENTIFIER_BYTES_MAX.saturating_sub(overhead);
    let (mut first_bytes, mut second_bytes) = (first.len(), second.len());
    while first_bytes + second_bytes > available {
        if first_bytes > second_bytes {
            first_bytes -= 1;
        } else {
            second_bytes -= 1;
        }
    }
    let parts = [clip(first, first_bytes), clip(second, second_bytes), label];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// Finds a free name: `label`, then `label1`, `label2`, ...
pub(crate) fn choose(first: &str, second: &str, label: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = object_name(first, second, label);
    let mut number = 0u32;
    while taken(&name) {
        number += 1;
        name = object_name(first, second, &format!("{label}{number}"));
    }
    name
}

/// Whether a relation, or the index of a key, has this name in the schema.
pub(crate) fn relation_exists(catalog: &Catalog, schema: Oid, name: &str) -> bool {
    catalog.relation_by_name(schema, name).is_some() || index_owner(catalog, schema, name).is_some()
}

/// The table that has a key of this name in the schema.
pub(crate) fn index_owner<'a>(catalog: &'a Catalog, schema: Oid, name: &str) -> Option<&'a TableDefinition> {
    catalog.relations().find_map(|relation| match relation {
        Relation::Table(table) if table.schema == schema && table.keys.iter().any(|key| key.name == name) => {
            Some(table.as_ref())
        }
        _ => None,
    })
}

/// Whether a constraint of the table has this name.
pub(crate) fn constraint_exists(table: &TableDefinition, name: &str) -> bool {
    table.checks.iter().any(|check| check.name == name) || table.keys.iter().any(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_where_postgresql_cuts_them() {
        assert_eq!(object_name("t", "", "pkey"), "t_pkey");
        assert_eq!(object_name("t", "a", "key"), "t_a_key");
        let long = "x".repeat(63);
        let name = object_name(&long, "col", "seq");
        assert_eq!(name.len(), 63);
        assert!(name.ends_with("_col_seq"));
        let both = object_name(&long, &"y".repeat(63), "key");
        assert_eq!(both.len(), 63);
        assert_eq!(both.matches('x').count(), 29);
        assert_eq!(truncate(&"é".repeat(40)).len(), 62);
    }

    #[test]
    fn taken_names_get_a_number() {
        assert_eq!(choose("t", "a", "check", |name| name == "t_a_check"), "t_a_check1");
    }
}
