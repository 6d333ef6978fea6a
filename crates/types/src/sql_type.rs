//! SQL data types, their PostgreSQL identity and their Arrow form.
//!
//! Every SQL type has exactly one Arrow [`DataType`] (its *physical* form). Where several SQL types share one, the field's
//! metadata key [`METADATA_KEY`] tells them apart; an expression that lost the metadata has the type that
//! [`SqlType::from_arrow`] gives for the bare Arrow type.
//!
//! | SQL | Arrow | note |
//! |---|---|---|
//! | boolean | Boolean | |
//! | smallint, integer, bigint | Int16, Int32, Int64 | |
//! | oid | UInt32 | also the reg* types, by metadata |
//! | real, double precision | Float32, Float64 | |
//! | numeric(p, s), p <= 38 | Decimal128(p, s) | |
//! | numeric(p, s), p <= 76 | Decimal256(p, s) | larger p is refused |
//! | numeric | Decimal256(76, 18) | 58 digits before and 18 after the point, else 22003; printed without trailing zeros |
//! | text, varchar, char(n), name, json, jsonb | Utf8View | char(n) is stored without trailing blanks and padded on output |
//! | bytea | BinaryView | |
//! | date | Date32 | `i32::MAX` / `MIN` are infinity / -infinity |
//! | time | Time64(us) | |
//! | timestamp | Timestamp(us) | `i64::MAX` / `MIN` are infinity / -infinity |
//! | timestamptz | Timestamp(us, "UTC") | |
//! | interval | Interval(MonthDayNano) | |
//! | uuid | FixedSizeBinary(16) | |
//! | T[] | List(item: T) | one dimension, lower bound 1 |

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::ids::Oid;

/// Key of the Arrow field metadata that names a field's [`SqlType`] where the Arrow type alone does not.
pub const METADATA_KEY: &str = "colonnade.type";

/// Greatest declared precision of numeric.
pub const NUMERIC_PRECISION_MAX: u8 = 76;
/// Scale with which numeric without precision is stored.
pub const UNCONSTRAINED_NUMERIC_SCALE: i8 = 18;

/// A SQL data type with its modifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// `boolean`
    Boolean,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    DoublePrecision,
    /// `numeric(precision, scale)`; `None` is unconstrained numeric.
    Numeric(Option<(u8, i8)>),
    /// `text`
    Text,
    /// `character varying(n)`; `None` is without limit.
    Varchar(Option<u32>),
    /// `character(n)`
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `oid`
    Oid,
    /// `regclass` and its like; the name is PostgreSQL's.
    Reg(RegKind),
    /// `name`
    Name,
    /// `"char"`, PostgreSQL's one-byte catalog type.
    InternalChar,
    /// `unknown`: a literal that no context has typed yet.
    Unknown,
    /// `void`
    Void,
    /// One-dimensional array.
    Array(Box<SqlType>),
}

/// The `reg*` alias types of oid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegKind {
    /// `regclass`
    Class,
    /// `regtype`
    Type,
    /// `regproc`
    Proc,
    /// `regnamespace`
    Namespace,
    /// `regrole`
    Role,
}

impl RegKind {
    fn name(self) -> &'static str {
        match self {
            RegKind::Class => "regclass",
            RegKind::Type => "regtype",
            RegKind::Proc => "regproc",
            RegKind::Namespace => "regnamespace",
            RegKind::Role => "regrole",
        }
    }
}

/// PostgreSQL's fixed identity of a base type: name in `pg_type`, SQL name, oid, array's oid, `typlen`.
struct PgType {
    typname: &'static str,
    sql_name: &'static str,
    oid: u32,
    array_oid: u32,
    length: i16,
}

const fn pg(typname: &'static str, sql_name: &'static str, oid: u32, array_oid: u32, length: i16) -> PgType {
    PgType { typname, sql_name, oid, array_oid, length }
}

impl SqlType {
    fn pg(&self) -> PgType {
        match self {
            SqlType::Boolean => pg("bool", "boolean", 16, 1000, 1),
            SqlType::SmallInt => pg("int2", "smallint", 21, 1005, 2),
            SqlType::Integer => pg("int4", "integer", 23, 1007, 4),
            SqlType::BigInt => pg("int8", "bigint", 20, 1016, 8),
            SqlType::Real => pg("float4", "real", 700, 1021, 4),
            SqlType::DoublePrecision => pg("float8", "double precision", 701, 1022, 8),
            SqlType::Numeric(_) => pg("numeric", "numeric", 1700, 1231, -1),
            SqlType::Text => pg("text", "text", 25, 1009, -1),
            SqlType::Varchar(_) => pg("varchar", "character varying", 1043, 1015, -1),
            SqlType::Char(_) => pg("bpchar", "character", 1042, 1014, -1),
            SqlType::Bytea => pg("bytea", "bytea", 17, 1001, -1),
            SqlType::Date => pg("date", "date", 1082, 1182, 4),
            SqlType::Time => pg("time", "time without time zone", 1083, 1183, 8),
            SqlType::Timestamp => pg("timestamp", "timestamp without time zone", 1114, 1115, 8),
            SqlType::TimestampTz => pg("timestamptz", "timestamp with time zone", 1184, 1185, 8),
            SqlType::Interval => pg("interval", "interval", 1186, 1187, 16),
            SqlType::Uuid => pg("uuid", "uuid", 2950, 2951, 16),
            SqlType::Json => pg("json", "json", 114, 199, -1),
            SqlType::Jsonb => pg("jsonb", "jsonb", 3802, 3807, -1),
            SqlType::Oid => pg("oid", "oid", 26, 1028, 4),
            SqlType::Reg(RegKind::Class) => pg("regclass", "regclass", 2205, 2210, 4),
            SqlType::Reg(RegKind::Type) => pg("regtype", "regtype", 2206, 2211, 4),
            SqlType::Reg(RegKind::Proc) => pg("regproc", "regproc", 24, 1008, 4),
            SqlType::Reg(RegKind::Namespace) => pg("regnamespace", "regnamespace", 4089, 4090, 4),
            SqlType::Reg(RegKind::Role) => pg("regrole", "regrole", 4096, 4097, 4),
            SqlType::Name => pg("name", "name", 19, 1003, 64),
            SqlType::InternalChar => pg("char", "\"char\"", 18, 1002, 1),
            SqlType::Unknown => pg("unknown", "unknown", 705, 0, -2),
            SqlType::Void => pg("void", "void", 2278, 0, 4),
            SqlType::Array(element) => {
                let element = element.pg();
                // The names of array types are made by the callers, from the element.
                pg(element.typname, element.sql_name, element.array_oid, 0, -1)
            }
        }
    }

    /// PostgreSQL's oid of the type, modifiers aside.
    #[must_use]
    pub fn oid(&self) -> Oid {
        Oid(self.pg().oid)
    }

    /// PostgreSQL's `typlen`: bytes of a fixed-length type, -1 for variable length, -2 for C strings.
    #[must_use]
    pub fn type_length(&self) -> i16 {
        self.pg().length
    }

    /// Name in `pg_type`, such as `int4` or `_int4`.
    #[must_use]
    pub fn typname(&self) -> String {
        match self {
            SqlType::Array(_) => format!("_{}", self.pg().typname),
            _ => self.pg().typname.to_owned(),
        }
    }

    /// PostgreSQL's type modifier, or -1.
    #[must_use]
    pub fn type_modifier(&self) -> i32 {
        match self {
            SqlType::Numeric(Some((precision, scale))) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
            }
            SqlType::Varchar(Some(length)) | SqlType::Char(length) => {
                i32::try_from(*length).map_or(-1, |length| length + 4)
            }
            SqlType::Array(element) => element.type_modifier(),
            _ => -1,
        }
    }

    /// Finds a type by PostgreSQL's oid and modifier; `None` for types that are not supported.
    #[must_use]
    pub fn from_oid(oid: Oid, modifier: i32) -> Option<SqlType> {
        let base = |modifier: i32| -> Vec<SqlType> {
            let length = u32::try_from(modifier - 4).ok();
            let numeric = (modifier >= 4).then(|| {
                let bits = modifier - 4;
                // Eleven signed bits of scale, as PostgreSQL 15 packs them.
                let scale = ((bits & 0x7ff) ^ 1024) - 1024;
                (u8::try_from((bits >> 16) & 0xffff).unwrap_or(u8::MAX), i8::try_from(scale).unwrap_or(0))
            });
            vec![
                SqlType::Boolean,
                SqlType::SmallInt,
                SqlType::Integer,
                SqlType::BigInt,
                SqlType::Real,
                SqlType::DoublePrecision,
                SqlType::Numeric(numeric),
                SqlType::Text,
                SqlType::Varchar(length),
                SqlType::Char(length.unwrap_or(1)),
                SqlType::Bytea,
                SqlType::Date,
                SqlType::Time,
                SqlType::Timestamp,
                SqlType::TimestampTz,
                SqlType::Interval,
                SqlType::Uuid,
                SqlType::Json,
                SqlType::Jsonb,
                SqlType::Oid,
                SqlType::Reg(RegKind::Class),
                SqlType::Reg(RegKind::Type),
                SqlType::Reg(RegKind::Proc),
                SqlType::Reg(RegKind::Namespace),
                SqlType::Reg(RegKind::Role),
                SqlType::Name,
                SqlType::InternalChar,
                SqlType::Unknown,
                SqlType::Void,
            ]
        };
        for candidate in base(modifier) {
            let identity = candidate.pg();
            if identity.oid == oid.0 {
                return Some(candidate);
            }
            if identity.array_oid != 0 && identity.array_oid == oid.0 {
                return Some(SqlType::Array(Box::new(candidate)));
            }
        }
        None
    }

    /// The oid of the array type over this type; 0 if there is none.
    #[must_use]
    pub fn array_oid(&self) -> Oid {
        match self {
            SqlType::Array(_) => Oid(0),
            _ => Oid(self.pg().array_oid),
        }
    }

    /// The Arrow type that stores values of this type.
    #[must_use]
    pub fn arrow_type(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Integer => DataType::Int32,
            SqlType::BigInt => DataType::Int64,
            SqlType::Real => DataType::Float32,
            SqlType::DoublePrecision => DataType::Float64,
            SqlType::Numeric(None) => DataType::Decimal256(NUMERIC_PRECISION_MAX, UNCONSTRAINED_NUMERIC_SCALE),
            SqlType::Numeric(Some((precision, scale))) if *precision <= 38 => DataType::Decimal128(*precision, *scale),
            SqlType::Numeric(Some((precision, scale))) => DataType::Decimal256(*precision, *scale),
            SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Json
            | SqlType::Jsonb
            | SqlType::Name
            | SqlType::InternalChar
            | SqlType::Unknown => DataType::Utf8View,
            SqlType::Bytea => DataType::BinaryView,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Oid | SqlType::Reg(_) => DataType::UInt32,
            SqlType::Void => DataType::Null,
            SqlType::Array(element) => DataType::List(Arc::new(element.field("item", true))),
        }
    }

    /// An Arrow field of this type that carries the type in its metadata where Arrow's type alone would lose it.
    #[must_use]
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow_type(), nullable);
        let bare = SqlType::from_arrow(field.data_type());
        if bare.as_ref() == Some(self) || matches!(self, SqlType::Array(_)) {
            return field;
        }
        field.with_metadata(HashMap::from([(METADATA_KEY.to_owned(), self.to_string())]))
    }

    /// The SQL type of an Arrow field: what its metadata says, else what its Arrow type suggests.
    ///
    /// `None` for Arrow types that no SQL type has (unions, maps, structs).
    #[must_use]
    pub fn from_field(field: &Field) -> Option<SqlType> {
        if let Some(text) = field.metadata().get(METADATA_KEY) {
            // Metadata may outlive a cast; it counts only while it agrees with the physical type.
            if let Some(sql_type) = SqlType::parse(text)
                && SqlType::from_arrow(&sql_type.arrow_type()) == SqlType::from_arrow(field.data_type())
            {
                return Some(sql_type);
            }
        }
        match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                SqlType::from_field(item).map(|element| SqlType::Array(Box::new(element)))
            }
            other => SqlType::from_arrow(other),
        }
    }

    /// The SQL type that a bare Arrow type suggests, also for the foreign ones that files and functions bring.
    #[must_use]
    pub fn from_arrow(data_type: &DataType) -> Option<SqlType> {
        Some(match data_type {
            DataType::Null => SqlType::Unknown,
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => SqlType::SmallInt,
            DataType::UInt16 | DataType::Int32 => SqlType::Integer,
            DataType::UInt32 => SqlType::Oid,
            DataType::Int64 => SqlType::BigInt,
            DataType::UInt64 => SqlType::Numeric(Some((20, 0))),
            DataType::Float16 | DataType::Float32 => SqlType::Real,
            DataType::Float64 => SqlType::DoublePrecision,
            DataType::Decimal256(NUMERIC_PRECISION_MAX, UNCONSTRAINED_NUMERIC_SCALE) => SqlType::Numeric(None),
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => SqlType::Numeric(Some((*precision, *scale))),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Text,
            DataType::FixedSizeBinary(16) => SqlType::Uuid,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                SqlType::Bytea
            }
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
            DataType::Timestamp(_, None) => SqlType::Timestamp,
            DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz,
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                SqlType::Array(Box::new(SqlType::from_field(item)?))
            }
            DataType::Dictionary(_, value) => SqlType::from_arrow(value)?,
            DataType::RunEndEncoded(_, values) => SqlType::from_arrow(values.data_type())?,
            _ => return None,
        })
    }

    /// Reads a type as [`Display`](fmt::Display) writes it, and PostgreSQL's other names for it (`int4`, `varchar(3)`,
    /// `timestamptz`, `numeric(10,2)[]`). Case matters not; `None` if there is no such type or a modifier is out of range.
    #[must_use]
    pub fn parse(text: &str) -> Option<SqlType> {
        let text = text.trim();
        if let Some(element) = text.strip_suffix("[]") {
            return SqlType::parse(element).filter(SqlType::may_be_element).map(|t| SqlType::Array(Box::new(t)));
        }
        let lower = text.to_ascii_lowercase();
        let (name, modifiers) = match lower.find('(') {
            Some(open) => {
                let close = lower.rfind(')')?;
                let inner = lower.get(open + 1..close)?;
                let tail = lower.get(close + 1..)?.trim();
                let name = format!("{} {tail}", lower[..open].trim());
                let modifiers: Option<Vec<i64>> = inner.split(',').map(|m| m.trim().parse().ok()).collect();
                (name.trim().to_owned(), modifiers?)
            }
            None => (lower, Vec::new()),
        };
        let plain = match name.as_str() {
            "boolean" | "bool" => SqlType::Boolean,
            "smallint" | "int2" => SqlType::SmallInt,
            "integer" | "int" | "int4" => SqlType::Integer,
            "bigint" | "int8" => SqlType::BigInt,
            "real" | "float4" => SqlType::Real,
            "double precision" | "float8" => SqlType::DoublePrecision,
            "text" => SqlType::Text,
            "bytea" => SqlType::Bytea,
            "date" => SqlType::Date,
            "uuid" => SqlType::Uuid,
            "json" => SqlType::Json,
            "jsonb" => SqlType::Jsonb,
            "oid" => SqlType::Oid,
            "name" => SqlType::Name,
            "\"char\"" => SqlType::InternalChar,
            "regclass" => SqlType::Reg(RegKind::Class),
            "regtype" => SqlType::Reg(RegKind::Type),
            "regproc" => SqlType::Reg(RegKind::Proc),
            "regnamespace" => SqlType::Reg(RegKind::Namespace),
            "regrole" => SqlType::Reg(RegKind::Role),
            "unknown" => SqlType::Unknown,
            "void" => SqlType::Void,
            // A precision of fewer digits than six would round: it is refused above this layer.
            "time" | "time without time zone" => SqlType::Time,
            "timestamp" | "timestamp without time zone" => SqlType::Timestamp,
            "timestamptz" | "timestamp with time zone" => SqlType::TimestampTz,
            "interval" => SqlType::Interval,
            "numeric" | "decimal" | "dec" => return SqlType::numeric(&modifiers),
            "varchar" | "character varying" => {
                return match modifiers[..] {
                    [] => Some(SqlType::Varchar(None)),
                    [n] => char_length(n).map(|n| SqlType::Varchar(Some(n))),
                    _ => None,
                };
            }
            "char" | "character" | "bpchar" => {
                return match modifiers[..] {
                    [] => Some(SqlType::Char(1)),
                    [n] => char_length(n).map(SqlType::Char),
                    _ => None,
                };
            }
            _ => return None,
        };
        modifiers.is_empty().then_some(plain)
    }

    fn numeric(modifiers: &[i64]) -> Option<SqlType> {
        let (precision, scale) = match *modifiers {
            [] => return Some(SqlType::Numeric(None)),
            [precision] => (precision, 0),
            [precision, scale] => (precision, scale),
            _ => return None,
        };
        let precision = u8::try_from(precision).ok().filter(|p| (1..=NUMERIC_PRECISION_MAX).contains(p))?;
        let scale = i8::try_from(scale).ok().filter(|s| *s >= 0 && i16::from(*s) <= i16::from(precision))?;
        Some(SqlType::Numeric(Some((precision, scale))))
    }

    /// Whether arrays of this type exist here.
    #[must_use]
    pub fn may_be_element(&self) -> bool {
        !matches!(self, SqlType::Array(_) | SqlType::Void | SqlType::Unknown)
    }

    /// Whether the type is one of the character types, `name` and `unknown` included.
    #[must_use]
    pub fn is_string(&self) -> bool {
        matches!(
            self,
            SqlType::Text
                | SqlType::Varchar(_)
                | SqlType::Char(_)
                | SqlType::Name
                | SqlType::InternalChar
                | SqlType::Unknown
        )
    }

    /// The name without modifiers, as error texts use it (`integer`, `character varying`, `numeric`).
    #[must_use]
    pub fn base_name(&self) -> String {
        match self {
            SqlType::Array(element) => format!("{}[]", element.base_name()),
            _ => self.pg().sql_name.to_owned(),
        }
    }
}

fn char_length(n: i64) -> Option<u32> {
    u32::try_from(n).ok().filter(|n| (1..=10_485_760).contains(n))
}

/// Writes the type as PostgreSQL's `format_type` does: `character varying(20)`, `numeric(10,2)[]`.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            SqlType::Varchar(Some(length)) => write!(f, "character varying({length})"),
            SqlType::Char(length) => write!(f, "character({length})"),
            SqlType::Reg(kind) => f.write_str(kind.name()),
            SqlType::Array(element) => write!(f, "{element}[]"),
            _ => f.write_str(self.pg().sql_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<SqlType> {
        [
            "boolean",
            "smallint",
            "integer",
            "bigint",
            "real",
            "double precision",
            "numeric",
            "numeric(10,2)",
            "numeric(60,4)",
            "text",
            "varchar",
            "varchar(7)",
            "char(3)",
            "bytea",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "interval",
            "uuid",
            "json",
            "jsonb",
            "oid",
            "regclass",
            "name",
            "\"char\"",
        ]
        .iter()
        .map(|text| SqlType::parse(text).unwrap_or_else(|| panic!("{text}")))
        .collect()
    }

    #[test]
    fn every_type_survives_its_name_its_field_and_its_oid() {
        for base in all() {
            for sql_type in [base.clone(), SqlType::Array(Box::new(base))] {
                assert_eq!(SqlType::parse(&sql_type.to_string()), Some(sql_type.clone()));
                assert_eq!(SqlType::from_field(&sql_type.field("c", true)), Some(sql_type.clone()));
                assert_eq!(SqlType::from_oid(sql_type.oid(), sql_type.type_modifier()), Some(sql_type));
            }
        }
    }

    #[test]
    fn modifiers_out_of_range_are_no_type() {
        for text in ["numeric(0)", "numeric(77)", "numeric(3,4)", "char(0)", "varchar(10485761)", "int(3)", "int[][]"] {
            assert_eq!(SqlType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn metadata_that_a_cast_left_behind_is_ignored() {
        let field = SqlType::Jsonb.field("c", true).with_data_type(DataType::Int64);
        assert_eq!(SqlType::from_field(&field), Some(SqlType::BigInt));
    }
}
