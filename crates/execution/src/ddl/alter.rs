//! ALTER TABLE, and the renames that ALTER VIEW, SEQUENCE and INDEX share with it.
//!
//! The actions of one statement are applied in order to a copy of the definition. Rows are looked at once the copy is complete, and only then is
//! the copy stored.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int16Array, Int32Array, Int64Array};
use colonnade_storage::{CatalogEdit, LockMode, LockTarget};
use colonnade_types::{
    ColumnDefinition, ColumnId, DisplaySettings, Identity, IdentityKind, Oid, Relation, SqlState, SqlType,
    TableDefinition, coerce,
};
use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, DataType, DropBehavior, Expr, GeneratedAs, Ident,
    ObjectName, Owner, RenameTableNameKind, SequenceOptions,
};

use super::column::{self, Column};
use super::constraint::{self, Key, Written};
use super::drop::{self, Doomed};
use super::{expression, naming, rows, sequence, skipping, table, view};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::functions::names::role_oid;
use crate::names::{ObjectPath, fold, undefined_relation};

/// Reads OWNER TO.
pub(super) fn owner(context: &DdlContext<'_>, owner: &Owner) -> Result<String> {
    match owner {
        Owner::Ident(ident) => {
            let name = fold(ident);
            if role_oid(&name).is_none() && name != context.user {
                return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")));
            }
            Ok(name)
        }
        Owner::CurrentRole | Owner::CurrentUser | Owner::SessionUser => Ok(context.user.to_owned()),
    }
}

/// A change under way.
struct Change {
    /// The definition before.
    old: TableDefinition,
    /// The definition as changed so far.
    new: TableDefinition,
    /// Columns whose existing rows must not be NULL.
    not_null: Vec<ColumnId>,
    /// Keys that existing rows must fulfil, by oid.
    keys: Vec<Oid>,
    /// Checks that existing rows must fulfil, by oid.
    checks: Vec<Oid>,
    /// Columns whose values come from their own sequence for existing rows.
    generated: Vec<(ColumnId, Oid)>,
    /// Whether rows must be written anew.
    rewrite: bool,
    /// Sequences that go with a column.
    sequences: Vec<Oid>,
}

/// ALTER TABLE [IF EXISTS] name action, ...
pub(super) async fn alter_table(context: &mut DdlContext<'_>, alter: &AlterTable) -> Result<()> {
    let path = ObjectPath::from_ast(&alter.name)?;
    let Some(relation) = drop::find_and_lock(context, &path).await? else {
        let error = undefined_relation(&path);
        if alter.if_exists {
            skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message));
            return Ok(());
        }
        return Err(error);
    };
    refuse_system(&relation)?;
    let table = match &relation {
        Relation::Table(table) => table.as_ref().clone(),
        // PostgreSQL lets ALTER TABLE rename and give away views and sequences too.
        other => return alter_other(context, other, &alter.operations).await,
    };
    let mut change = Change {
        old: table.clone(),
        new: table,
        not_null: Vec::new(),
        keys: Vec::new(),
        checks: Vec::new(),
        generated: Vec::new(),
        rewrite: false,
        sequences: Vec::new(),
    };
    for operation in &alter.operations {
        apply(context, &mut change, operation).await?;
    }
    finish(context, change).await
}

fn refuse_system(relation: &Relation) -> Result<()> {
    if relation.oid() < Oid::FIRST_USER {
        let message = format!("permission denied: \"{}\" is a system catalog", relation.name());
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
    }
    Ok(())
}

async fn alter_other(
    context: &mut DdlContext<'_>,
    relation: &Relation,
    operations: &[AlterTableOperation],
) -> Result<()> {
    for operation in operations {
        match operation {
            AlterTableOperation::RenameTable { table_name } => {
                rename(context, relation.oid(), &new_name(table_name)?).await?;
            }
            AlterTableOperation::OwnerTo { new_owner } => {
                let owner = owner(context, new_owner)?;
                set_owner(context, relation.oid(), owner)?;
            }
            _ => {
                return Err(Error::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("ALTER action cannot be performed on relation \"{}\"", relation.name()),
                )
                .with_detail(format!("This operation is not supported for {}s.", relation.kind())));
            }
        }
    }
    Ok(())
}

/// Gives a relation another owner.
pub(super) fn set_owner(context: &mut DdlContext<'_>, oid: Oid, owner: String) -> Result<()> {
    let Some(relation) = context.transaction.catalog().relation(oid).cloned() else {
        return Ok(());
    };
    let relation = match relation {
        Relation::Table(table) => Relation::Table(Arc::new(TableDefinition { owner, ..table.as_ref().clone() })),
        Relation::View(view) => {
            Relation::View(Arc::new(colonnade_types::ViewDefinition { owner, ..view.as_ref().clone() }))
        }
        Relation::Sequence(sequence) => {
            Relation::Sequence(Arc::new(colonnade_types::SequenceDefinition { owner, ..sequence.as_ref().clone() }))
        }
    };
    context.transaction.edit_catalog(CatalogEdit::PutRelation(relation))?;
    Ok(())
}

fn new_name(name: &RenameTableNameKind) -> Result<String> {
    let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = name;
    let path = ObjectPath::from_ast(name)?;
    if path.schema.is_some() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \".\""));
    }
    Ok(naming::truncate(&path.name).to_owned())
}

/// Gives a relation another name; views that name it follow.
pub(super) async fn rename(context: &mut DdlContext<'_>, oid: Oid, name: &str) -> Result<()> {
    let Some(relation) = context.transaction.catalog().relation(oid).cloned() else {
        return Ok(());
    };
    let schema = relation.schema();
    move_to(context, &relation, schema, name).await
}

/// Moves a relation to another schema.
pub(super) async fn set_schema(context: &mut DdlContext<'_>, oid: Oid, schema: &str) -> Result<()> {
    context.lock(LockTarget::Schema(schema.to_owned()), LockMode::RowExclusive).await?;
    let catalog = context.transaction.catalog();
    let Some(schema) = catalog.schema_by_name(schema).map(|schema| schema.oid) else {
        let message = format!("schema \"{schema}\" does not exist");
        return Err(Error::new(SqlState::INVALID_SCHEMA_NAME, message));
    };
    if schema < Oid::FIRST_USER && schema != Oid::PUBLIC {
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, "cannot move objects into a system schema"));
    }
    let Some(relation) = catalog.relation(oid).cloned() else {
        return Ok(());
    };
    if relation.schema() == schema {
        return Ok(());
    }
    move_to(context, &relation, schema, relation.name()).await?;
    // Sequences go where their table goes.
    let owned: Vec<Relation> = context
        .transaction
        .catalog()
        .relations()
        .filter(|other| matches!(other, Relation::Sequence(s) if s.owned_by.is_some_and(|(table, _)| table == oid)))
        .cloned()
        .collect();
    for sequence in owned {
        let name = sequence.name().to_owned();
        move_to(context, &sequence, schema, &name).await?;
    }
    Ok(())
}

async fn move_to(context: &mut DdlContext<'_>, relation: &Relation, schema: Oid, name: &str) -> Result<()> {
    context.lock(LockTarget::Name(schema, name.to_owned()), LockMode::AccessExclusive).await?;
    let catalog = context.transaction.catalog();
    if naming::relation_exists(&catalog, schema, name) {
        return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
    }
    let name = name.to_owned();
    let moved = match relation {
        Relation::Table(table) => {
            Relation::Table(Arc::new(TableDefinition { schema, name: name.clone(), ..table.as_ref().clone() }))
        }
        Relation::View(view) => Relation::View(Arc::new(colonnade_types::ViewDefinition {
            schema,
            name: name.clone(),
            ..view.as_ref().clone()
        })),
        Relation::Sequence(sequence) => Relation::Sequence(Arc::new(colonnade_types::SequenceDefinition {
            schema,
            name: name.clone(),
            ..sequence.as_ref().clone()
        })),
    };
    context.transaction.edit_catalog(CatalogEdit::PutRelation(moved))?;
    view::follow_rename(context, relation, schema, &name).await
}

async fn apply(context: &mut DdlContext<'_>, change: &mut Change, operation: &AlterTableOperation) -> Result<()> {
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
            add_column(context, change, column_def, *if_not_exists).await
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            for name in column_names {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                drop_column(context, change, &fold(name), *if_exists, cascade).await?;
            }
            Ok(())
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            rename_column(context, change, &fold(old_column_name), &fold(new_column_name))
        }
        AlterTableOperation::RenameTable { table_name } => {
            let name = new_name(table_name)?;
            // The copy is stored by the rename itself; both go on with the new name.
            let oid = change.new.oid;
            context
                .transaction
                .edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(change.new.clone()))))?;
            rename(context, oid, &name).await?;
            change.new.name = name;
            Ok(())
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            rename_constraint(context, change, &fold(old_name), &fold(new_name)).await
        }
        AlterTableOperation::AlterColumn { column_name, op } => alter_column(context, change, column_name, op).await,
        AlterTableOperation::AddConstraint { constraint, not_valid } => {
            if *not_valid {
                return Err(Error::unsupported("NOT VALID"));
            }
            match constraint::read(constraint)? {
                Written::Check { name, expr } => {
                    constraint::add_check(context, &mut change.new, name.as_deref(), &expr)?;
                    change.checks.extend(change.new.checks.last().map(|check| check.oid));
                }
                Written::Key(key) => add_key(context, change, &key).await?,
            }
            Ok(())
        }
        AlterTableOperation::DropConstraint { if_exists, name, .. } => {
            drop_constraint(context, change, &fold(name), *if_exists)
        }
        AlterTableOperation::OwnerTo { new_owner } => {
            change.new.owner = owner(context, new_owner)?;
            Ok(())
        }
        AlterTableOperation::SetOptionsParens { options }
        | AlterTableOperation::SetTblProperties { table_properties: options } => {
            table::apply_options(&mut change.new, options)
        }
        AlterTableOperation::ValidateConstraint { name } => {
            let name = fold(name);
            if naming::constraint_exists(&change.new, &name) { Ok(()) } else { Err(no_constraint(change, &name)) }
        }
        other => Err(Error::unsupported(format!("ALTER TABLE {other}"))),
    }
}

async fn add_key(context: &mut DdlContext<'_>, change: &mut Change, key: &Key) -> Result<()> {
    let nullable: Vec<ColumnId> =
        change.new.columns.iter().filter(|column| !column.not_null).map(|column| column.id).collect();
    constraint::add_key(context, &mut change.new, key).await?;
    if let Some(added) = change.new.keys.last() {
        change.keys.push(added.oid);
        if added.primary {
            change.not_null.extend(added.columns.iter().filter(|id| nullable.contains(id)));
        }
    }
    Ok(())
}

async fn add_column(
    context: &mut DdlContext<'_>,
    change: &mut Change,
    definition: &ColumnDef,
    if_not_exists: bool,
) -> Result<()> {
    let column = Column::read(definition, &change.new.name)?;
    if change.new.column(&column.name).is_some() {
        let message = format!("column \"{}\" of relation \"{}\" already exists", column.name, change.new.name);
        if if_not_exists {
            skipping(context, SqlState::DUPLICATE_COLUMN, format!("{message}, skipping"));
            return Ok(());
        }
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
    }
    if change.new.columns.len() >= 1_600 {
        return Err(Error::new(SqlState::TOO_MANY_COLUMNS, "tables can have at most 1600 columns"));
    }
    let id = table::next_id(&mut change.new);
    let mut defined = column.define(context, &change.new, id).await?;
    let empty = rows::is_empty(context, &change.old)?;
    if !empty && column.has_generator() {
        let sequences = expression::sequences_of(defined.default.as_deref().unwrap_or(""));
        let sequence = sequences.first().copied().or(defined.identity.as_ref().map(|identity| identity.sequence));
        change.generated.extend(sequence.map(|sequence| (id, sequence)));
        change.rewrite = true;
    } else if !empty
        && column.has_default()
        && let Some(default) = &defined.default
    {
        let bound = context.bind_default(default, &change.new, &defined.name, &defined.sql_type)?;
        if bound.volatile {
            return Err(Error::unsupported("adding a column with a volatile default to a table that has rows")
                .with_hint("Add the column without the default, fill it by UPDATE, then set the default."));
        }
        defined.missing = context.evaluate(default, &defined.sql_type)?;
    }
    if defined.not_null && defined.missing.is_none() && !empty && !column.has_generator() {
        return Err(Error::new(
            SqlState::NOT_NULL_VIOLATION,
            format!("column \"{}\" of relation \"{}\" contains null values", defined.name, change.new.name),
        )
        .with_table(&change.new.name)
        .with_column(&defined.name));
    }
    let name = defined.name.clone();
    change.new.columns.push(defined);
    for (constraint, expr) in &column.checks {
        constraint::add_check(context, &mut change.new, constraint.as_deref(), expr)?;
        change.checks.extend(change.new.checks.last().map(|check| check.oid));
    }
    for key in &column.keys {
        let key = Key {
            name: key.name.clone(),
            columns: vec![name.clone()],
            primary: key.primary,
            nulls_not_distinct: key.nulls_not_distinct,
        };
        add_key(context, change, &key).await?;
    }
    Ok(())
}

async fn drop_column(
    context: &mut DdlContext<'_>,
    change: &mut Change,
    name: &str,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let Some(column) = change.new.column(name).cloned() else {
        let error = column::missing(name, &change.new.name);
        if if_exists {
            skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message));
            return Ok(());
        }
        return Err(error);
    };
    let catalog = context.transaction.catalog();
    let views = view::naming_column(&catalog, change.new.oid, name);
    if !views.is_empty() {
        if !cascade {
            let table = format!("table {}", change.new.name);
            let lines: Vec<String> =
                views.iter().map(|view| format!("view {} depends on column {name} of {table}", view.name)).collect();
            return Err(Error::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop column {name} of {table} because other objects depend on it"),
            )
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        let mut doomed = Doomed::default();
        for view in &views {
            doomed.add(&catalog, view.oid);
        }
        drop::remove(context, doomed, true, &format!("column {name}"), None).await?;
    }
    for relation in catalog.relations() {
        if let Relation::Sequence(sequence) = relation
            && sequence.owned_by == Some((change.new.oid, column.id))
        {
            change.sequences.push(sequence.oid);
        }
    }
    let gone_checks: Vec<Oid> = change
        .new
        .checks
        .iter()
        .filter(|check| expression::columns_of(&change.new, &check.expression).contains(&column.id))
        .map(|check| check.oid)
        .collect();
    change.new.checks.retain(|check| !gone_checks.contains(&check.oid));
    change.new.keys.retain(|key| !key.columns.contains(&column.id));
    change.new.sort_key.retain(|id| *id != column.id);
    change.new.columns.retain(|other| other.id != column.id);
    change.checks.retain(|oid| change.new.checks.iter().any(|check| check.oid == *oid));
    change.keys.retain(|oid| change.new.keys.iter().any(|key| key.oid == *oid));
    change.not_null.retain(|id| *id != column.id);
    Ok(())
}

fn rename_column(context: &mut DdlContext<'_>, change: &mut Change, from: &str, to: &str) -> Result<()> {
    let to = naming::truncate(to);
    if change.new.column(from).is_none() {
        return Err(Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{from}\" does not exist")));
    }
    column::check_name(to)?;
    if change.new.column(to).is_some() {
        return Err(Error::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{to}\" of relation \"{}\" already exists", change.new.name),
        ));
    }
    if let Some(view) = view::naming_column(&context.transaction.catalog(), change.new.oid, from).first() {
        return Err(Error::unsupported(format!("renaming a column that view \"{}\" names", view.name)));
    }
    for check in &mut change.new.checks {
        check.expression = expression::rename_column(&check.expression, from, to);
    }
    for column in change.new.columns.iter_mut().filter(|column| column.name == from) {
        to.clone_into(&mut column.name);
    }
    Ok(())
}

fn no_constraint(change: &Change, name: &str) -> Error {
    Error::new(
        SqlState::UNDEFINED_OBJECT,
        format!("constraint \"{name}\" of relation \"{}\" does not exist", change.new.name),
    )
}

async fn rename_constraint(context: &mut DdlContext<'_>, change: &mut Change, from: &str, to: &str) -> Result<()> {
    let to = naming::truncate(to).to_owned();
    if !naming::constraint_exists(&change.new, from) {
        let message = format!("constraint \"{from}\" for table \"{}\" does not exist", change.new.name);
        return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
    }
    if naming::constraint_exists(&change.new, &to) {
        return Err(Error::new(
            SqlState::DUPLICATE_OBJECT,
            format!("constraint \"{to}\" for relation \"{}\" already exists", change.new.name),
        ));
    }
    if change.new.keys.iter().any(|key| key.name == from) {
        let schema = change.new.schema;
        context.lock(LockTarget::Name(schema, to.clone()), LockMode::AccessExclusive).await?;
        if naming::relation_exists(&context.transaction.catalog(), schema, &to) {
            return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{to}\" already exists")));
        }
    }
    for check in change.new.checks.iter_mut().filter(|check| check.name == from) {
        check.name.clone_from(&to);
    }
    for key in change.new.keys.iter_mut().filter(|key| key.name == from) {
        key.name.clone_from(&to);
    }
    Ok(())
}

fn drop_constraint(context: &mut DdlContext<'_>, change: &mut Change, name: &str, if_exists: bool) -> Result<()> {
    if !naming::constraint_exists(&change.new, name) {
        let error = no_constraint(change, name);
        if if_exists {
            skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message));
            return Ok(());
        }
        return Err(error);
    }
    change.new.checks.retain(|check| check.name != name);
    change.new.keys.retain(|key| key.name != name);
    change.checks.retain(|oid| change.new.checks.iter().any(|check| check.oid == *oid));
    change.keys.retain(|oid| change.new.keys.iter().any(|key| key.oid == *oid));
    Ok(())
}

async fn alter_column(
    context: &mut DdlContext<'_>,
    change: &mut Change,
    name: &Ident,
    operation: &AlterColumnOperation,
) -> Result<()> {
    let name = fold(name);
    let Some(index) = change.new.columns.iter().position(|column| column.name == name) else {
        return Err(column::missing(&name, &change.new.name));
    };
    let found = change.new.columns[index].clone();
    let identity_error = || {
        Error::new(
            SqlState::SYNTAX_ERROR,
            format!("column \"{name}\" of relation \"{}\" is an identity column", change.new.name),
        )
    };
    match operation {
        AlterColumnOperation::SetDefault { value } => {
            if found.identity.is_some() {
                return Err(identity_error());
            }
            let default = column::default(context, &change.new, &name, &found.sql_type, value)?;
            change.new.columns[index].default = default;
        }
        AlterColumnOperation::DropDefault => {
            if found.identity.is_some() {
                return Err(identity_error().with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."));
            }
            change.new.columns[index].default = None;
        }
        AlterColumnOperation::SetNotNull => {
            if !found.not_null {
                change.new.columns[index].not_null = true;
                change.not_null.push(found.id);
            }
        }
        AlterColumnOperation::DropNotNull => {
            if change.new.primary_key().is_some_and(|key| key.columns.contains(&found.id)) {
                let message = format!("column \"{name}\" is in a primary key");
                return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message));
            }
            if found.identity.is_some() {
                return Err(identity_error());
            }
            change.new.columns[index].not_null = false;
            change.not_null.retain(|id| *id != found.id);
        }
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            set_type(context, change, index, data_type, using.as_ref())?;
        }
        AlterColumnOperation::AddGenerated { generated_as, sequence_options } => {
            let kind = match generated_as {
                Some(GeneratedAs::Always) | None => IdentityKind::Always,
                Some(GeneratedAs::ByDefault) => IdentityKind::ByDefault,
                Some(GeneratedAs::ExpStored) => return Err(Error::unsupported("a generated column")),
            };
            add_identity(context, change, &found, kind, sequence_options.as_deref().unwrap_or(&[])).await?;
        }
    }
    Ok(())
}

async fn add_identity(
    context: &mut DdlContext<'_>,
    change: &mut Change,
    column: &ColumnDefinition,
    kind: IdentityKind,
    options: &[SequenceOptions],
) -> Result<()> {
    let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    let of = format!("column \"{}\" of relation \"{}\"", column.name, change.new.name);
    if !column.not_null {
        let message = format!("{of} must be declared NOT NULL before identity can be added");
        return Err(Error::new(state, message));
    }
    if column.identity.is_some() {
        return Err(Error::new(state, format!("{of} is already an identity column")));
    }
    if column.default.is_some() {
        return Err(Error::new(state, format!("{of} already has a default value")));
    }
    column::check_identity_type(&column.sql_type)?;
    let table_name = change.new.name.clone();
    let place = sequence::ColumnPlace {
        schema: change.new.schema,
        table: change.new.oid,
        table_name: &table_name,
        column: &column.name,
        id: column.id,
    };
    let sequence = sequence::for_column(context, &place, column.sql_type.clone(), options).await?;
    for other in change.new.columns.iter_mut().filter(|other| other.id == column.id) {
        other.identity = Some(Identity { kind, sequence });
    }
    Ok(())
}

fn set_type(
    context: &mut DdlContext<'_>,
    change: &mut Change,
    index: usize,
    data_type: &DataType,
    using: Option<&Expr>,
) -> Result<()> {
    let found = change.new.columns[index].clone();
    let to = column::data_type(data_type)?;
    column::check_type(&found.name, &to)?;
    if let Some(using) = using {
        // `USING a::type` says what happens anyway.
        let text = using.to_string().to_lowercase();
        let column = found.name.to_lowercase();
        if !text.starts_with(&format!("{column}::"))
            && text != column
            && !text.starts_with(&format!("cast({column} as"))
        {
            return Err(Error::unsupported("ALTER COLUMN TYPE with USING"));
        }
    }
    if let Some(view) = view::naming_column(&context.transaction.catalog(), change.new.oid, &found.name).first() {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot alter type of a column used by a view or rule",
        )
        .with_detail(format!("rule _RETURN on view {} depends on column \"{}\"", view.name, found.name)));
    }
    let from = found.sql_type.clone();
    if from == to {
        return Ok(());
    }
    let nothing = coerce(
        &arrow::array::new_empty_array(&from.arrow_type()),
        &from,
        &to,
        using.is_some(),
        &DisplaySettings::default(),
    );
    if nothing.is_err() {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("column \"{}\" cannot be cast automatically to type {to}", found.name),
        )
        .with_hint(format!("You might need to specify \"USING {}::{to}\".", found.name)));
    }
    change.new.columns[index].sql_type = to.clone();
    if let Some(default) = &found.default
        && expression::sequences_of(default).is_empty()
    {
        context.bind_default(default, &change.new, &found.name, &to)?;
    }
    let checks: Vec<Oid> = change
        .new
        .checks
        .iter()
        .filter(|check| expression::columns_of(&change.new, &check.expression).contains(&found.id))
        .map(|check| check.oid)
        .collect();
    change.checks.extend(checks);
    change.rewrite = true;
    Ok(())
}

/// Looks at the rows, rewrites them if need be, and stores the definition.
async fn finish(context: &mut DdlContext<'_>, mut change: Change) -> Result<()> {
    if change.rewrite {
        change.new.storage = context.database.allocate_storage();
        rewrite(context, &change)?;
        // Rows written anew have no missing values.
        for column in &mut change.new.columns {
            column.missing = None;
        }
    }
    let ids = std::mem::take(&mut change.not_null);
    for id in ids {
        if let Some(column) = change.new.column_by_id(id).cloned() {
            rows::check_not_null(context, &change.new, &column)?;
        }
    }
    for oid in &change.checks {
        if let Some(check) = change.new.checks.iter().find(|check| check.oid == *oid)
            && !rows::is_empty(context, &change.new)?
        {
            rows::check_rows(context, &change.new, check)?;
        }
    }
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(change.new.clone()))))?;
    for oid in &change.keys {
        if let Some(key) = change.new.keys.iter().find(|key| key.oid == *oid) {
            context.transaction.validate_key(&change.new, key).map_err(|error| duplicate_rows(&key.name, error))?;
        }
    }
    if !change.sequences.is_empty() {
        let catalog = context.transaction.catalog();
        let mut doomed = Doomed::default();
        for sequence in &change.sequences {
            doomed.add(&catalog, *sequence);
        }
        drop::remove(context, doomed, false, "column", None).await?;
    }
    Ok(())
}

/// What PostgreSQL says when existing rows do not fulfil a new key.
fn duplicate_rows(name: &str, error: colonnade_storage::WriteError) -> Error {
    match error {
        colonnade_storage::WriteError::DuplicateKey { columns, values, .. } => {
            Error::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{name}\""))
                .with_detail(format!("Key ({})=({}) is duplicated.", columns.join(", "), values.join(", ")))
                .with_constraint(name)
        }
        other => other.into(),
    }
}

fn rewrite(context: &mut DdlContext<'_>, change: &Change) -> Result<()> {
    let database = context.database;
    let catalog = context.transaction.catalog();
    let (old, new) = (&change.old, &change.new);
    rows::rewrite(context, old, new, |batch| {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(new.columns.len());
        for column in &new.columns {
            if let Some(index) = old.column_index(column.id) {
                let array = batch.column(index);
                let from = &old.columns[index].sql_type;
                arrays.push(if *from == column.sql_type {
                    Arc::clone(array)
                } else {
                    coerce(array, from, &column.sql_type, true, &DisplaySettings::default())?
                });
                continue;
            }
            let generator = change.generated.iter().find(|(id, _)| *id == column.id);
            if let Some((_, sequence)) = generator
                && let Some(Relation::Sequence(sequence)) = catalog.relation(*sequence)
            {
                let mut values = Vec::with_capacity(batch.num_rows());
                for _ in 0..batch.num_rows() {
                    values.push(database.sequence_next(sequence)?);
                }
                arrays.push(match column.sql_type {
                    SqlType::SmallInt => Arc::new(Int16Array::from_iter(values.iter().map(|v| i16::try_from(*v).ok()))),
                    SqlType::Integer => Arc::new(Int32Array::from_iter(values.iter().map(|v| i32::try_from(*v).ok()))),
                    _ => Arc::new(Int64Array::from(values)),
                });
                continue;
            }
            arrays.push(match &column.missing {
                Some(text) => {
                    let one = colonnade_types::parse_value(&column.sql_type, text, &DisplaySettings::default())?;
                    let zeros = arrow::array::UInt32Array::from(vec![0; batch.num_rows()]);
                    arrow::compute::take(&one, &zeros, None).map_err(rows::arrow_error)?
                }
                None => arrow::array::new_null_array(&column.sql_type.arrow_type(), batch.num_rows()),
            });
        }
        Ok(arrays)
    })
}

/// The relation that ALTER VIEW, SEQUENCE or INDEX names.
pub(super) async fn find(context: &mut DdlContext<'_>, name: &ObjectName, kind: &str) -> Result<Option<Relation>> {
    let path = ObjectPath::from_ast(name)?;
    let found = drop::find_and_lock(context, &path).await?;
    match found {
        Some(relation) if relation.kind() != kind => {
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a {kind}", path.name)))
        }
        other => Ok(other),
    }
}
