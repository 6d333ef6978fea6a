//! `has_*_privilege`: both roles are superusers, so the answer is yes wherever the object exists.

use colonnade_types::SqlState;

use super::function::{Body, Call, Function};
use super::names;
use super::value::Value;
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<Function> {
    let mut functions = Vec::new();
    let yes: Body = |_, _| Ok(true.into());
    for declaration in [
        "has_table_privilege(regclass, text) -> boolean",
        "has_table_privilege(name, regclass, text) -> boolean",
        "has_table_privilege(oid, regclass, text) -> boolean",
        "has_any_column_privilege(regclass, text) -> boolean",
        "has_any_column_privilege(name, regclass, text) -> boolean",
        "has_column_privilege(regclass, text, text) -> boolean",
        "has_column_privilege(regclass, smallint, text) -> boolean",
        "has_column_privilege(name, regclass, text, text) -> boolean",
        "has_sequence_privilege(regclass, text) -> boolean",
        "has_sequence_privilege(name, regclass, text) -> boolean",
        "has_schema_privilege(regnamespace, text) -> boolean",
        "has_schema_privilege(name, regnamespace, text) -> boolean",
        "has_function_privilege(regproc, text) -> boolean",
        "has_function_privilege(name, regproc, text) -> boolean",
        "has_type_privilege(regtype, text) -> boolean",
        "has_language_privilege(oid, text) -> boolean",
        "has_tablespace_privilege(oid, text) -> boolean",
        "has_tablespace_privilege(text, text) -> boolean",
        "has_parameter_privilege(text, text) -> boolean",
        "has_foreign_data_wrapper_privilege(oid, text) -> boolean",
        "has_server_privilege(oid, text) -> boolean",
        "pg_has_role(regrole, text) -> boolean",
        "pg_has_role(name, regrole, text) -> boolean",
        "pg_has_role(oid, regrole, text) -> boolean",
        "row_security_active(regclass) -> boolean",
    ] {
        let body: Body = if declaration.starts_with("row_security") { |_, _| Ok(false.into()) } else { yes };
        functions.push(Function::stable(declaration, body));
    }
    functions.push(Function::stable("has_database_privilege(text, text) -> boolean", database));
    functions.push(Function::stable("has_database_privilege(oid, text) -> boolean", yes));
    functions.push(Function::stable("has_database_privilege(name, text, text) -> boolean", |call, arguments| {
        role(&arguments[0])?;
        database(call, &arguments[1..])
    }));
    functions
}

fn database(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let name = arguments[0].text();
    if name == "colonnade" || name == "postgres" || name == call.info.database_name() {
        return Ok(true.into());
    }
    Err(Error::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist")))
}

fn role(name: &Value) -> Result<()> {
    let name = name.text();
    if name == "public" || names::role_oid(name).is_some() {
        return Ok(());
    }
    Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
}
