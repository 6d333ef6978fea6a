//! A column definition, as CREATE TABLE and ALTER TABLE ADD COLUMN write it.

use colonnade_types::{ColumnDefinition, ColumnId, Identity, IdentityKind, Oid, SqlState, SqlType, TableDefinition};
use sqlparser::ast::{
    self, CheckConstraint, ColumnDef, ColumnOption, DataType, Expr, GeneratedAs, NullsDistinctOption, SequenceOptions,
};

use super::{expression, naming, sequence};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, find_relation, fold, undefined_relation};

/// A column as it was written, before names and sequences are made for it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sql_type: SqlType,
    pub(super) not_null: bool,
    default: Option<Expr>,
    generator: Option<Generator>,
    pub(super) checks: Vec<(Option<String>, Expr)>,
    pub(super) keys: Vec<InlineKey>,
}

/// PRIMARY KEY or UNIQUE on a column.
pub(super) struct InlineKey {
    pub(super) name: Option<String>,
    pub(super) primary: bool,
    pub(super) nulls_not_distinct: bool,
}

/// A sequence that the column brings along.
struct Generator {
    identity: Option<IdentityKind>,
    options: Vec<SequenceOptions>,
}

/// `column "a" of relation "t" does not exist`.
pub(super) fn missing(column: &str, table: &str) -> Error {
    Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{column}\" of relation \"{table}\" does not exist"))
}

/// Reads a type.
///
/// # Errors
/// 42704 for a type that does not exist, 22023 for a modifier out of range.
pub(super) fn data_type(data_type: &DataType) -> Result<SqlType> {
    crate::binder::types::sql_type_of(data_type)
}

/// The integer type behind `serial` and its like.
fn serial(data_type: &DataType) -> Option<SqlType> {
    let DataType::Custom(name, modifiers) = data_type else {
        return None;
    };
    let ident = name.0.last().filter(|_| name.0.len() == 1 && modifiers.is_empty())?.as_ident()?;
    match fold(ident).as_str() {
        "serial" | "serial4" => Some(SqlType::Integer),
        "bigserial" | "serial8" => Some(SqlType::BigInt),
        "smallserial" | "serial2" => Some(SqlType::SmallInt),
        _ => None,
    }
}

/// Columns that every table has without saying so.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Refuses names that system columns have.
pub(super) fn check_name(name: &str) -> Result<()> {
    if SYSTEM_COLUMNS.contains(&name) {
        return Err(Error::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column name \"{name}\" conflicts with a system column name"),
        ));
    }
    Ok(())
}

/// Refuses types that no column can have.
pub(super) fn check_type(name: &str, sql_type: &SqlType) -> Result<()> {
    if matches!(sql_type, SqlType::Void | SqlType::Unknown) {
        return Err(Error::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("column \"{name}\" has pseudo-type {sql_type}"),
        ));
    }
    Ok(())
}

impl Column {
    /// Reads a definition.
    pub(super) fn read(definition: &ColumnDef, table: &str) -> Result<Column> {
        let name = naming::truncate(&fold(&definition.name)).to_owned();
        check_name(&name)?;
        let serial = serial(&definition.data_type);
        let sql_type = match &serial {
            Some(sql_type) => sql_type.clone(),
            None => data_type(&definition.data_type)?,
        };
        check_type(&name, &sql_type)?;
        let mut column = Column {
            name,
            sql_type,
            not_null: serial.is_some(),
            default: None,
            generator: serial.map(|_| Generator { identity: None, options: Vec::new() }),
            checks: Vec::new(),
            keys: Vec::new(),
        };
        let mut null = None;
        for option in &definition.options {
            let constraint = option.name.as_ref().map(fold);
            column.option(&option.option, constraint, table, &mut null)?;
        }
        if null == Some(true) && column.not_null {
            return Err(column.conflicting_nulls(table));
        }
        Ok(column)
    }

    fn conflicting_nulls(&self, table: &str) -> Error {
        Error::new(
            SqlState::SYNTAX_ERROR,
            format!("conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"", self.name),
        )
    }

    fn option(
        &mut self,
        option: &ColumnOption,
        constraint: Option<String>,
        table: &str,
        null: &mut Option<bool>,
    ) -> Result<()> {
        let several = |what: &str, column: &str| {
            Error::new(
                SqlState::SYNTAX_ERROR,
                format!("multiple {what} specified for column \"{column}\" of table \"{table}\""),
            )
        };
        match option {
            ColumnOption::Null => {
                if *null == Some(false) {
                    return Err(self.conflicting_nulls(table));
                }
                *null = Some(true);
            }
            ColumnOption::NotNull => {
                if *null == Some(true) {
                    return Err(self.conflicting_nulls(table));
                }
                *null = Some(false);
                self.not_null = true;
            }
            ColumnOption::Default(expr) => {
                if self.default.is_some() || self.generator.is_some() {
                    let what = match &self.generator {
                        Some(generator) if generator.identity.is_some() => {
                            return Err(self.default_and_identity(table));
                        }
                        _ => "default values",
                    };
                    return Err(several(what, &self.name));
                }
                self.default = Some(expr.clone());
            }
            ColumnOption::PrimaryKey(_) => {
                self.keys.push(InlineKey { name: constraint, primary: true, nulls_not_distinct: false });
            }
            ColumnOption::Unique(unique) => {
                let nulls_not_distinct = unique.nulls_distinct == NullsDistinctOption::NotDistinct;
                self.keys.push(InlineKey { name: constraint, primary: false, nulls_not_distinct });
            }
            ColumnOption::Check(CheckConstraint { name, expr, .. }) => {
                self.checks.push((constraint.or_else(|| name.as_ref().map(fold)), expr.as_ref().clone()));
            }
            ColumnOption::ForeignKey(_) => return Err(foreign_key()),
            ColumnOption::Generated { generation_expr: Some(_), .. } => {
                return Err(Error::unsupported("a generated column"));
            }
            ColumnOption::Generated { generated_as, sequence_options, .. } => {
                let kind = match generated_as {
                    GeneratedAs::Always => IdentityKind::Always,
                    GeneratedAs::ByDefault => IdentityKind::ByDefault,
                    GeneratedAs::ExpStored => return Err(Error::unsupported("a generated column")),
                };
                self.set_identity(kind, sequence_options.as_deref().unwrap_or(&[]), table)?;
            }
            ColumnOption::Collation(name) => check_collation(name)?,
            other => return Err(Error::unsupported(format!("column option {other}"))),
        }
        Ok(())
    }

    fn default_and_identity(&self, table: &str) -> Error {
        Error::new(
            SqlState::SYNTAX_ERROR,
            format!("both default and identity specified for column \"{}\" of table \"{table}\"", self.name),
        )
    }

    fn set_identity(&mut self, kind: IdentityKind, options: &[SequenceOptions], table: &str) -> Result<()> {
        if self.default.is_some() || self.generator.is_some() {
            return Err(self.default_and_identity(table));
        }
        check_identity_type(&self.sql_type)?;
        self.not_null = true;
        self.generator = Some(Generator { identity: Some(kind), options: options.to_vec() });
        Ok(())
    }

    /// Whether values come from a sequence of the column's own.
    pub(super) fn has_generator(&self) -> bool {
        self.generator.is_some()
    }

    /// Whether a DEFAULT was written.
    pub(super) fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Makes the definition, with the sequence if there is one, and checks the default against `table`.
    pub(super) async fn define(
        &self,
        context: &mut DdlContext<'_>,
        table: &TableDefinition,
        id: ColumnId,
    ) -> Result<ColumnDefinition> {
        let mut definition = ColumnDefinition {
            id,
            name: self.name.clone(),
            sql_type: self.sql_type.clone(),
            not_null: self.not_null,
            default: None,
            identity: None,
            missing: None,
        };
        if let Some(expr) = &self.default {
            definition.default = default(context, table, &self.name, &self.sql_type, expr)?;
        }
        if let Some(generator) = &self.generator {
            let place = sequence::ColumnPlace {
                schema: table.schema,
                table: table.oid,
                table_name: &table.name,
                column: &self.name,
                id,
            };
            let sequence = sequence::for_column(context, &place, self.sql_type.clone(), &generator.options).await?;
            match generator.identity {
                Some(kind) => definition.identity = Some(Identity { kind, sequence }),
                None => definition.default = Some(expression::nextval_of(sequence)),
            }
        }
        Ok(definition)
    }
}

/// Refuses identity columns of other types than integers.
pub(super) fn check_identity_type(sql_type: &SqlType) -> Result<()> {
    if matches!(sql_type, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt) {
        return Ok(());
    }
    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "identity column type must be smallint, integer, or bigint"))
}

/// `DEFAULT expr`, checked, as text to store; `DEFAULT NULL` is none.
pub(super) fn default(
    context: &DdlContext<'_>,
    table: &TableDefinition,
    column: &str,
    sql_type: &SqlType,
    expr: &Expr,
) -> Result<Option<String>> {
    if let Expr::Value(value) = expr
        && matches!(value.value, ast::Value::Null)
    {
        return Ok(None);
    }
    let text = expression::stored(expr, |path| sequence_oid(context, path))?;
    context.bind_default(&text, table, column, sql_type)?;
    Ok(Some(text))
}

fn sequence_oid(context: &DdlContext<'_>, path: &ObjectPath) -> Result<Oid> {
    let catalog = context.transaction.catalog();
    find_relation(&catalog, context.search_path, path)
        .map(|relation| relation.oid())
        .ok_or_else(|| undefined_relation(path))
}

/// FOREIGN KEY, which is not there.
pub(super) fn foreign_key() -> Error {
    Error::unsupported("FOREIGN KEY").with_hint("References between tables are not enforced; leave the constraint out.")
}

/// Text compares by its bytes; a COLLATE that says so is accepted.
fn check_collation(name: &ast::ObjectName) -> Result<()> {
    let collation = ObjectPath::from_ast(name)?.name;
    if matches!(collation.as_str(), "default" | "C" | "POSIX" | "ucs_basic") {
        return Ok(());
    }
    Err(Error::unsupported(format!("collation \"{collation}\""))
        .with_hint("Text compares by its bytes: COLLATE \"C\"."))
}
