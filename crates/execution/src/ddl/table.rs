//! CREATE TABLE, and the table of CREATE TABLE AS and SELECT INTO.

use std::sync::Arc;

use colonnade_storage::{CatalogEdit, LockMode, LockTarget};
use colonnade_types::{ColumnDefinition, ColumnId, Oid, Relation, SqlState, SqlType, TableDefinition};
use sqlparser::ast::{
    CreateTable, CreateTableLikeDefaults, CreateTableLikeKind, CreateTableOptions, Expr, Ident, ObjectName, SqlOption,
    Value,
};

use super::column::{self, Column};
use super::constraint::{self, Key, Written};
use super::{naming, skipping};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, creation_schema, find_relation, fold, split_identifiers, undefined_relation};
use crate::outcome::ResultSchema;

/// Columns that a table may have.
const COLUMNS_MAX: usize = 1_600;

/// Locks a free name for a new relation; `None` if it is taken and that is allowed.
pub(super) async fn claim(
    context: &mut DdlContext<'_>,
    path: &ObjectPath,
    if_not_exists: bool,
) -> Result<Option<(Oid, String)>> {
    let schema = creation_schema(&context.transaction.catalog(), context.search_path, path)?;
    if schema.oid < Oid::FIRST_USER && schema.oid != Oid::PUBLIC {
        return Err(Error::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to create \"{}.{}\"", schema.name, path.name),
        )
        .with_detail("System catalog modifications are currently disallowed."));
    }
    let name = naming::truncate(&path.name).to_owned();
    context.lock(LockTarget::Schema(schema.name.clone()), LockMode::RowExclusive).await?;
    context.lock(LockTarget::Name(schema.oid, name.clone()), LockMode::AccessExclusive).await?;
    let catalog = context.transaction.catalog();
    if catalog.schema(schema.oid).is_none() {
        let message = format!("schema \"{}\" does not exist", schema.name);
        return Err(Error::new(SqlState::INVALID_SCHEMA_NAME, message));
    }
    if naming::relation_exists(&catalog, schema.oid, &name) {
        let message = format!("relation \"{name}\" already exists");
        if if_not_exists {
            skipping(context, SqlState::DUPLICATE_TABLE, format!("{message}, skipping"));
            return Ok(None);
        }
        return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
    }
    Ok(Some((schema.oid, name)))
}

/// An empty definition.
fn blank(context: &DdlContext<'_>, schema: Oid, name: String) -> TableDefinition {
    TableDefinition {
        oid: context.database.allocate_oid(),
        schema,
        name,
        owner: context.user.to_owned(),
        columns: Vec::new(),
        next_column: ColumnId(1),
        checks: Vec::new(),
        keys: Vec::new(),
        sort_key: Vec::new(),
        storage: context.database.allocate_storage(),
    }
}

/// Takes the next column id.
pub(super) fn next_id(table: &mut TableDefinition) -> ColumnId {
    let id = table.next_column;
    table.next_column = ColumnId(id.0 + 1);
    id
}

/// Refuses a column name that is taken, and a column too many.
fn check_new(table: &TableDefinition, name: &str) -> Result<()> {
    if table.column(name).is_some() {
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
    }
    if table.columns.len() >= COLUMNS_MAX {
        return Err(Error::new(SqlState::TOO_MANY_COLUMNS, format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    Ok(())
}

fn refuse_unsupported(create: &CreateTable) -> Result<()> {
    let refused = [
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "partitioning"),
        (create.on_commit.is_some(), "ON COMMIT"),
        (create.clone.is_some(), "CLONE"),
    ];
    match refused.into_iter().find(|(present, _)| *present) {
        Some((_, "CREATE TEMPORARY TABLE")) => Err(Error::unsupported("CREATE TEMPORARY TABLE")
            .with_hint("Create a table in a schema of its own, and drop it when done.")),
        Some((_, what)) => Err(Error::unsupported(what)),
        None => Ok(()),
    }
}

/// CREATE TABLE with column definitions.
pub(super) async fn create(context: &mut DdlContext<'_>, create: &CreateTable) -> Result<()> {
    refuse_unsupported(create)?;
    if create.query.is_some() {
        return Err(Error::internal("CREATE TABLE AS came to the wrong place"));
    }
    let path = ObjectPath::from_ast(&create.name)?;
    let Some((schema, name)) = claim(context, &path, create.if_not_exists).await? else {
        return Ok(());
    };
    let mut table = blank(context, schema, name);
    let mut keys = Vec::new();
    let mut checks = Vec::new();
    if let Some(CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = &create.like {
        let defaults = matches!(like.defaults, Some(CreateTableLikeDefaults::Including));
        copy_columns(context, &mut table, &like.name, defaults)?;
    }
    for definition in &create.columns {
        let column = Column::read(definition, &table.name)?;
        check_new(&table, &column.name)?;
        let id = next_id(&mut table);
        let defined = column.define(context, &table, id).await?;
        for key in &column.keys {
            keys.push(Key {
                name: key.name.clone(),
                columns: vec![defined.name.clone()],
                primary: key.primary,
                nulls_not_distinct: key.nulls_not_distinct,
            });
        }
        checks.extend(column.checks);
        table.columns.push(defined);
    }
    for written in &create.constraints {
        match constraint::read(written)? {
            Written::Check { name, expr } => checks.push((name, *expr)),
            Written::Key(key) => keys.push(key),
        }
    }
    // Constraints that have a name come first, so that the made-up ones get out of their way.
    checks.sort_by_key(|(name, _)| name.is_none());
    for (name, expr) in &checks {
        constraint::add_check(context, &mut table, name.as_deref(), expr)?;
    }
    keys.sort_by_key(|key| (!key.primary, key.name.is_none()));
    for key in &keys {
        constraint::add_key(context, &mut table, key).await?;
    }
    apply_options(&mut table, options(&create.table_options)?)?;
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(table))))?;
    Ok(())
}

/// LIKE: names, types and NOT NULL; defaults if asked for.
fn copy_columns(
    context: &DdlContext<'_>,
    table: &mut TableDefinition,
    from: &ObjectName,
    defaults: bool,
) -> Result<()> {
    let path = ObjectPath::from_ast(from)?;
    let catalog = context.transaction.catalog();
    match find_relation(&catalog, context.search_path, &path) {
        Some(Relation::Table(source)) => {
            for column in &source.columns {
                let id = next_id(table);
                table.columns.push(ColumnDefinition {
                    id,
                    default: if defaults { column.default.clone() } else { None },
                    identity: None,
                    missing: None,
                    ..column.clone()
                });
            }
            Ok(())
        }
        Some(Relation::View(source)) => {
            for column in &source.columns {
                let id = next_id(table);
                table.columns.push(plain_column(id, &column.name, &column.sql_type));
            }
            Ok(())
        }
        Some(Relation::Sequence(_)) => Err(Error::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("relation \"{}\" is invalid in LIKE clause", path.name),
        )),
        None => Err(undefined_relation(&path)),
    }
}

fn plain_column(id: ColumnId, name: &str, sql_type: &SqlType) -> ColumnDefinition {
    ColumnDefinition {
        id,
        name: name.to_owned(),
        sql_type: sql_type.clone(),
        not_null: false,
        default: None,
        identity: None,
        missing: None,
    }
}

/// What CREATE TABLE AS and SELECT INTO say of their table.
pub(crate) struct TableFromQuery<'a> {
    /// The table's name.
    pub(crate) name: &'a ObjectName,
    /// Names for its columns, where the query's do not suit; may be fewer.
    pub(crate) columns: &'a [Ident],
    /// WITH (...).
    pub(crate) options: Option<&'a CreateTableOptions>,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// What the query returns.
    pub(crate) schema: &'a ResultSchema,
}

/// Makes the table of CREATE TABLE AS or SELECT INTO, without rows; `None` if it exists and that is allowed.
///
/// # Errors
/// As CREATE TABLE; 42601 for more names than columns.
pub(crate) async fn create_from_query(
    context: &mut DdlContext<'_>,
    from: &TableFromQuery<'_>,
) -> Result<Option<Arc<TableDefinition>>> {
    let path = ObjectPath::from_ast(from.name)?;
    let Some((schema, name)) = claim(context, &path, from.if_not_exists).await? else {
        return Ok(None);
    };
    if from.columns.len() > from.schema.columns.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    let mut table = blank(context, schema, name);
    for (index, result) in from.schema.columns.iter().enumerate() {
        let name = from.columns.get(index).map_or_else(|| result.name.clone(), fold);
        let name = naming::truncate(&name);
        column::check_name(name)?;
        check_new(&table, name)?;
        let sql_type = match &result.sql_type {
            SqlType::Unknown => &SqlType::Text,
            other => other,
        };
        column::check_type(name, sql_type)?;
        let id = next_id(&mut table);
        table.columns.push(plain_column(id, name, sql_type));
    }
    if let Some(written) = from.options {
        apply_options(&mut table, options(written)?)?;
    }
    let table = Arc::new(table);
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&table))))?;
    Ok(Some(table))
}

/// The options of WITH.
fn options(options: &CreateTableOptions) -> Result<&[SqlOption]> {
    match options {
        CreateTableOptions::None => Ok(&[]),
        CreateTableOptions::With(options) => Ok(options),
        other => Err(Error::unsupported(format!("table options {other}"))),
    }
}

/// Puts WITH (...) into a definition: `sort_key` counts, PostgreSQL's own storage parameters are checked and then ignored.
pub(super) fn apply_options(table: &mut TableDefinition, options: &[SqlOption]) -> Result<()> {
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            let name = option.to_string();
            if matches!(name.to_ascii_lowercase().as_str(), "autovacuum_enabled" | "vacuum_truncate") {
                continue;
            }
            return Err(unrecognized(&name));
        };
        let name = fold(key);
        let text = option_text(value);
        match name.as_str() {
            "sort_key" => table.sort_key = sort_key(table, &text)?,
            "fillfactor" => {
                let number: i64 = text.parse().map_err(|_| {
                    Error::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("invalid value for integer option \"fillfactor\": {text}"),
                    )
                })?;
                if !(10..=100).contains(&number) {
                    return Err(Error::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("value {number} out of bounds for option \"fillfactor\""),
                    )
                    .with_detail("Valid values are between \"10\" and \"100\"."));
                }
            }
            "oids" if matches!(text.as_str(), "false" | "off") => {}
            "parallel_workers"
            | "toast_tuple_target"
            | "user_catalog_table"
            | "vacuum_truncate"
            | "vacuum_index_cleanup"
            | "log_autovacuum_min_duration" => {}
            other if other.starts_with("autovacuum_") => {}
            other => return Err(unrecognized(other)),
        }
    }
    Ok(())
}

fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\""))
}

fn option_text(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// Reads `a, b`; an empty text is no sort key.
fn sort_key(table: &TableDefinition, text: &str) -> Result<Vec<ColumnId>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let invalid =
        || Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for option \"sort_key\": {text}"));
    let names = split_identifiers(text, ',').ok_or_else(invalid)?;
    let mut columns = Vec::new();
    for name in names {
        let column = table.column(&name).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" named in sort_key does not exist"))
        })?;
        if columns.contains(&column.id) {
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" appears twice in sort_key")));
        }
        columns.push(column.id);
    }
    Ok(columns)
}
