//! PostgreSQL's text forms, one type a file.

pub(crate) mod boolean;

pub use boolean::parse_boolean;
