//! PostgreSQL's text forms, one type a file; numeric's binary form lives beside its text.

pub(crate) mod array;
pub(crate) mod boolean;
pub(crate) mod bytea;
pub(crate) mod date_time;
pub(crate) mod date_time_decoder;
pub(crate) mod date_time_fields;
pub(crate) mod date_time_print;
pub(crate) mod float;
pub(crate) mod integer;
pub(crate) mod interval;
pub(crate) mod json;
pub(crate) mod numeric;
pub(crate) mod string;
pub(crate) mod uuid;

pub use boolean::parse_boolean;
