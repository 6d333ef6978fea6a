//! The types that `pg_type` lists, with PostgreSQL's own oids, and `format_type`.
//!
//! The list is longer than [`SqlType`]: drivers join it, and catalogs mention types (`int2vector`, `aclitem`) that no user column has here.

use std::fmt::Write as _;
use std::sync::LazyLock;

use colonnade_types::{Oid, SqlType};

/// One row of `pg_type`.
#[derive(Clone, Debug)]
pub struct TypeRow {
    /// Its identifier.
    pub oid: Oid,
    /// `typname`
    pub name: String,
    /// `typlen`
    pub length: i16,
    /// `typtype`: `b` base, `p` pseudo.
    pub kind: &'static str,
    /// `typcategory`
    pub category: &'static str,
    /// `typispreferred`
    pub preferred: bool,
    /// `typelem`
    pub element: Oid,
    /// `typarray`
    pub array: Oid,
    /// What the input and output functions' names begin with.
    pub io: String,
    /// Whether those names have an underscore before `in` and `out`.
    pub underscore: bool,
    /// `typalign`
    pub align: &'static str,
    /// `typstorage`
    pub storage: &'static str,
    /// `typcollation`
    pub collation: Oid,
    /// What `format_type` calls it.
    pub sql_name: String,
}

/// The default collation, and `"C"`.
pub const DEFAULT_COLLATION: Oid = Oid(100);
/// The collation `"C"`, which `name` has.
pub const C_COLLATION: Oid = Oid(950);

/// oid, typname, SQL name, length, kind, category, preferred, element, array, io prefix, underscore, alignment
type Entry = (
    u32,
    &'static str,
    &'static str,
    i16,
    &'static str,
    &'static str,
    bool,
    u32,
    u32,
    &'static str,
    bool,
    &'static str,
);

const TYPES: &[Entry] = &[
    (16, "bool", "boolean", 1, "b", "B", true, 0, 1000, "bool", false, "c"),
    (17, "bytea", "bytea", -1, "b", "U", false, 0, 1001, "bytea", false, "i"),
    (18, "char", "\"char\"", 1, "b", "Z", false, 0, 1002, "char", false, "c"),
    (19, "name", "name", 64, "b", "S", false, 18, 1003, "name", false, "c"),
    (20, "int8", "bigint", 8, "b", "N", false, 0, 1016, "int8", false, "d"),
    (21, "int2", "smallint", 2, "b", "N", false, 0, 1005, "int2", false, "s"),
    (22, "int2vector", "int2vector", -1, "b", "A", false, 21, 1006, "int2vector", false, "i"),
    (23, "int4", "integer", 4, "b", "N", false, 0, 1007, "int4", false, "i"),
    (24, "regproc", "regproc", 4, "b", "N", false, 0, 1008, "regproc", false, "i"),
    (25, "text", "text", -1, "b", "S", true, 0, 1009, "text", false, "i"),
    (26, "oid", "oid", 4, "b", "N", true, 0, 1028, "oid", false, "i"),
    (27, "tid", "tid", 6, "b", "U", false, 0, 1010, "tid", false, "s"),
    (28, "xid", "xid", 4, "b", "U", false, 0, 1011, "xid", false, "i"),
    (29, "cid", "cid", 4, "b", "U", false, 0, 1012, "cid", false, "i"),
    (30, "oidvector", "oidvector", -1, "b", "A", false, 26, 1013, "oidvector", false, "i"),
    (114, "json", "json", -1, "b", "U", false, 0, 199, "json", true, "i"),
    (194, "pg_node_tree", "pg_node_tree", -1, "b", "Z", false, 0, 0, "pg_node_tree", true, "i"),
    (700, "float4", "real", 4, "b", "N", false, 0, 1021, "float4", false, "i"),
    (701, "float8", "double precision", 8, "b", "N", true, 0, 1022, "float8", false, "d"),
    (705, "unknown", "unknown", -2, "p", "X", false, 0, 0, "unknown", false, "c"),
    (1033, "aclitem", "aclitem", 16, "b", "U", false, 0, 1034, "aclitem", false, "d"),
    (1042, "bpchar", "character", -1, "b", "S", false, 0, 1014, "bpchar", false, "i"),
    (1043, "varchar", "character varying", -1, "b", "S", false, 0, 1015, "varchar", false, "i"),
    (1082, "date", "date", 4, "b", "D", false, 0, 1182, "date", true, "i"),
    (1083, "time", "time without time zone", 8, "b", "D", false, 0, 1183, "time", true, "d"),
    (1114, "timestamp", "timestamp without time zone", 8, "b", "D", false, 0, 1115, "timestamp", true, "d"),
    (1184, "timestamptz", "timestamp with time zone", 8, "b", "D", true, 0, 1185, "timestamptz", true, "d"),
    (1186, "interval", "interval", 16, "b", "T", true, 0, 1187, "interval", true, "d"),
    (1700, "numeric", "numeric", -1, "b", "N", false, 0, 1231, "numeric", true, "i"),
    (2205, "regclass", "regclass", 4, "b", "N", false, 0, 2210, "regclass", false, "i"),
    (2206, "regtype", "regtype", 4, "b", "N", false, 0, 2211, "regtype", false, "i"),
    (2249, "record", "record", -1, "p", "P", false, 0, 2287, "record", true, "d"),
    (2275, "cstring", "cstring", -2, "p", "P", false, 0, 1263, "cstring", true, "c"),
    (2276, "any", "\"any\"", 4, "p", "P", false, 0, 0, "any", true, "i"),
    (2277, "anyarray", "anyarray", -1, "p", "P", false, 0, 0, "anyarray", true, "d"),
    (2278, "void", "void", 4, "p", "P", false, 0, 0, "void", true, "i"),
    (2279, "trigger", "trigger", 4, "p", "P", false, 0, 0, "trigger", true, "i"),
    (2281, "internal", "internal", 8, "p", "P", false, 0, 0, "internal", true, "d"),
    (2283, "anyelement", "anyelement", 4, "p", "P", false, 0, 0, "anyelement", true, "i"),
    (2950, "uuid", "uuid", 16, "b", "U", false, 0, 2951, "uuid", true, "c"),
    (3802, "jsonb", "jsonb", -1, "b", "U", false, 0, 3807, "jsonb", true, "i"),
    (4089, "regnamespace", "regnamespace", 4, "b", "N", false, 0, 4090, "regnamespace", false, "i"),
    (4096, "regrole", "regrole", 4, "b", "N", false, 0, 4097, "regrole", false, "i"),
];

static ROWS: LazyLock<Vec<TypeRow>> = LazyLock::new(|| {
    let mut rows = Vec::new();
    for &(oid, name, sql_name, length, kind, category, preferred, element, array, io, underscore, align) in TYPES {
        let collation = match name {
            "text" | "varchar" | "bpchar" => DEFAULT_COLLATION,
            "name" => C_COLLATION,
            _ => Oid(0),
        };
        rows.push(TypeRow {
            oid: Oid(oid),
            name: name.to_owned(),
            length,
            kind,
            category,
            preferred,
            element: Oid(element),
            array: Oid(array),
            io: io.to_owned(),
            underscore,
            align,
            storage: if length > 0 || length == -2 { "p" } else { "x" },
            collation,
            sql_name: sql_name.to_owned(),
        });
        if array != 0 {
            rows.push(TypeRow {
                oid: Oid(array),
                name: format!("_{name}"),
                length: -1,
                kind: if kind == "p" { "p" } else { "b" },
                category: "A",
                preferred: false,
                element: Oid(oid),
                array: Oid(0),
                io: "array".to_owned(),
                underscore: true,
                align: if align == "d" { "d" } else { "i" },
                storage: "x",
                collation,
                sql_name: format!("{sql_name}[]"),
            });
        }
    }
    rows.sort_by_key(|row| row.oid);
    rows
});

/// All types, by oid.
#[must_use]
pub fn all() -> &'static [TypeRow] {
    &ROWS
}

/// Finds a type by oid.
#[must_use]
pub fn by_oid(oid: Oid) -> Option<&'static TypeRow> {
    ROWS.binary_search_by_key(&oid, |row| row.oid).ok().map(|index| &ROWS[index])
}

/// Finds a type by `typname`.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static TypeRow> {
    ROWS.iter().find(|row| row.name == name)
}

/// The name of a type with its modifier, as PostgreSQL's `format_type` writes it.
#[must_use]
pub fn format_type(oid: Oid, modifier: Option<i32>) -> String {
    if oid.0 == 0 {
        return "-".to_owned();
    }
    let Some(row) = by_oid(oid) else {
        return "???".to_owned();
    };
    if let Some(element) = by_oid(row.element).filter(|_| row.category == "A" && row.io == "array") {
        return format!("{}[]", format_type(element.oid, modifier));
    }
    let mut text = row.sql_name.clone();
    let Some(modifier) = modifier else {
        return text;
    };
    match row.name.as_str() {
        // Without a length it is not what SQL calls `character`.
        "bpchar" if modifier < 0 => "bpchar".clone_into(&mut text),
        "varchar" | "bpchar" if modifier >= 4 => {
            let _ = write!(text, "({})", modifier - 4);
        }
        "numeric" if modifier >= 4 => {
            if let Some(sql_type) = SqlType::from_oid(oid, modifier) {
                text = sql_type.to_string();
            }
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_and_names_are_unique_and_every_element_exists() {
        for (index, row) in all().iter().enumerate() {
            assert!(all()[index + 1..].iter().all(|other| other.oid != row.oid && other.name != row.name), "{row:?}");
            assert!(row.element.0 == 0 || by_oid(row.element).is_some(), "{row:?}");
            assert!(row.array.0 == 0 || by_oid(row.array).is_some(), "{row:?}");
        }
    }

    #[test]
    fn every_sql_type_is_listed_under_its_own_oid_and_name() {
        for text in
            ["int", "numeric(10,2)", "varchar(3)", "char(2)", "text[]", "jsonb", "regclass", "\"char\"", "uuid[]"]
        {
            let sql_type = SqlType::parse(text).expect(text);
            let row = by_oid(sql_type.oid()).expect(text);
            assert_eq!(row.name, sql_type.typname());
            assert_eq!(row.length, sql_type.type_length());
            assert_eq!(format_type(sql_type.oid(), Some(sql_type.type_modifier())), sql_type.to_string());
        }
    }
}
