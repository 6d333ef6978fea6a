//! CREATE VIEW, and views following the relations that they name.
//!
//! A view is kept as text in which every relation is qualified and every `*` is spelled out, so that it means the same whatever the search
//! path is and whatever columns are added later.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use colonnade_storage::{Catalog, CatalogEdit, LockMode, LockTarget};
use colonnade_types::{Oid, Relation, SqlState, SqlType, ViewColumn, ViewDefinition};
use sqlparser::ast::{
    self, CreateTableOptions, CreateView, Expr, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TableFactor,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::{drop, expression, naming, table};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, creation_schema, find_relation, fold};

/// CREATE [OR REPLACE] VIEW.
pub(super) async fn create(context: &mut DdlContext<'_>, create: &CreateView) -> Result<()> {
    if create.materialized {
        return Err(Error::unsupported("CREATE MATERIALIZED VIEW"));
    }
    if create.temporary {
        return Err(Error::unsupported("CREATE TEMPORARY VIEW"));
    }
    if !matches!(create.options, CreateTableOptions::None) {
        return Err(Error::unsupported("CREATE VIEW with options"));
    }
    if crate::locking::clause::locks(create.query.as_ref()) {
        return Err(Error::unsupported("locking rows in a view"));
    }
    let path = ObjectPath::from_ast(&create.name)?;
    let existing = if create.or_replace { drop::find_and_lock(context, &local(context, &path)?).await? } else { None };
    if let Some(relation) = existing.as_ref().filter(|relation| relation.kind() != "view") {
        let message = format!("\"{}\" is not a view", relation.name());
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
    }
    let (schema, name) = match &existing {
        Some(relation) => (relation.schema(), relation.name().to_owned()),
        None => match table::claim(context, &path, create.if_not_exists).await? {
            Some(claimed) => claimed,
            None => return Ok(()),
        },
    };
    let mut query = create.query.as_ref().clone();
    // What the view names must still be there when it commits.
    let bound = context.bind_query(&query)?;
    for oid in &bound.depends_on {
        context.lock(LockTarget::Relation(*oid), LockMode::AccessShare).await?;
    }
    let mut columns: Vec<ViewColumn> = Vec::new();
    if create.columns.len() > bound.schema.columns.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns"));
    }
    for (index, result) in bound.schema.columns.iter().enumerate() {
        let name = create.columns.get(index).map_or_else(|| result.name.clone(), |column| fold(&column.name));
        let name = naming::truncate(&name).to_owned();
        if columns.iter().any(|column| column.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        let sql_type = match &result.sql_type {
            SqlType::Unknown => SqlType::Text,
            other => other.clone(),
        };
        columns.push(ViewColumn { name, sql_type });
    }
    let catalog = context.transaction.catalog();
    expand_wildcards(&mut query, &catalog, context.search_path);
    qualify(&mut query, &catalog, context.search_path);
    let (oid, owner) = match &existing {
        Some(Relation::View(old)) => {
            check_replacement(old, &columns)?;
            if bound.depends_on.contains(&old.oid) {
                return Err(Error::new(
                    SqlState::INVALID_OBJECT_DEFINITION,
                    format!("infinite recursion detected in rules for relation \"{name}\""),
                ));
            }
            (old.oid, old.owner.clone())
        }
        _ => (context.database.allocate_oid(), context.user.to_owned()),
    };
    let view =
        ViewDefinition { oid, schema, name, owner, columns, query: query.to_string(), depends_on: bound.depends_on };
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::View(Arc::new(view))))?;
    Ok(())
}

/// The path with the schema in which the view would be made.
fn local(context: &DdlContext<'_>, path: &ObjectPath) -> Result<ObjectPath> {
    let schema = creation_schema(&context.transaction.catalog(), context.search_path, path)?;
    Ok(ObjectPath { schema: Some(schema.name), name: path.name.clone() })
}

/// A view's replacement may add columns, and otherwise must have the old ones.
fn check_replacement(old: &ViewDefinition, new: &[ViewColumn]) -> Result<()> {
    let refused = |message: String| Error::new(SqlState::INVALID_TABLE_DEFINITION, message);
    if new.len() < old.columns.len() {
        return Err(refused("cannot drop columns from view".to_owned()));
    }
    for (before, after) in old.columns.iter().zip(new) {
        if before.name != after.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", before.name, after.name);
            return Err(refused(message)
                .with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if before.sql_type != after.sql_type {
            return Err(refused(format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                before.name, before.sql_type, after.sql_type
            )));
        }
    }
    Ok(())
}

/// The names that WITH gives, anywhere in the query.
fn cte_names(query: &Query) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let Some(with) = &query.with {
                self.0.extend(with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _ = query.visit(&mut names);
    names.0
}

fn object_name(schema: &str, name: &str) -> ObjectName {
    ObjectName(vec![
        ObjectNamePart::Identifier(expression::identifier(schema)),
        ObjectNamePart::Identifier(expression::identifier(name)),
    ])
}

/// Writes the schema before every relation that the query names without one.
fn qualify(query: &mut Query, catalog: &Catalog, search_path: &[String]) {
    struct Qualify<'a> {
        catalog: &'a Catalog,
        search_path: &'a [String],
        ctes: HashSet<String>,
    }
    impl VisitorMut for Qualify<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
            if let Ok(path) = ObjectPath::from_ast(name)
                && path.schema.is_none()
                && !self.ctes.contains(&path.name)
                && let Some(relation) = find_relation(self.catalog, self.search_path, &path)
                && let Some(schema) = self.catalog.schema(relation.schema())
            {
                *name = object_name(&schema.name, &path.name);
            }
            ControlFlow::Continue(())
        }
    }
    let ctes = cte_names(query);
    let _ = VisitMut::visit(query, &mut Qualify { catalog, search_path, ctes });
}

/// Spells out `*` and `t.*` where all of FROM are relations of the catalog; elsewhere their columns cannot change.
fn expand_wildcards(query: &mut Query, catalog: &Catalog, search_path: &[String]) {
    struct Expand<'a> {
        catalog: &'a Catalog,
        search_path: &'a [String],
        ctes: HashSet<String>,
    }
    impl Expand<'_> {
        /// Alias and column names of a table in FROM; `None` for anything else.
        fn factor(&self, factor: &TableFactor) -> Option<(String, Vec<String>)> {
            let TableFactor::Table { name, alias, args: None, .. } = factor else {
                return None;
            };
            let path = ObjectPath::from_ast(name).ok()?;
            if path.schema.is_none() && self.ctes.contains(&path.name) {
                return None;
            }
            let columns = match find_relation(self.catalog, self.search_path, &path)? {
                Relation::Table(table) => table.columns.iter().map(|column| column.name.clone()).collect(),
                Relation::View(view) => view.columns.iter().map(|column| column.name.clone()).collect(),
                Relation::Sequence(_) => return None,
            };
            match alias {
                Some(alias) if !alias.columns.is_empty() => None,
                Some(alias) => Some((fold(&alias.name), columns)),
                None => Some((path.name, columns)),
            }
        }

        fn select(&self, select: &mut ast::Select) -> Option<()> {
            let mut sources = Vec::new();
            for from in &select.from {
                sources.push(self.factor(&from.relation)?);
                for join in &from.joins {
                    // USING and NATURAL merge columns, so that `*` is not just one list after the other.
                    let (ast::JoinOperator::Join(constraint)
                    | ast::JoinOperator::Inner(constraint)
                    | ast::JoinOperator::Left(constraint)
                    | ast::JoinOperator::LeftOuter(constraint)
                    | ast::JoinOperator::Right(constraint)
                    | ast::JoinOperator::RightOuter(constraint)
                    | ast::JoinOperator::FullOuter(constraint)
                    | ast::JoinOperator::CrossJoin(constraint)) = &join.join_operator
                    else {
                        return None;
                    };
                    if matches!(constraint, ast::JoinConstraint::Using(_) | ast::JoinConstraint::Natural) {
                        return None;
                    }
                    sources.push(self.factor(&join.relation)?);
                }
            }
            let qualified = sources.len() > 1;
            let mut items = Vec::new();
            for item in &select.projection {
                let wanted = match item {
                    SelectItem::Wildcard(options) if options.to_string().is_empty() => None,
                    SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options)
                        if options.to_string().is_empty() =>
                    {
                        Some(ObjectPath::from_ast(name).ok()?.name)
                    }
                    SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => return None,
                    other => {
                        items.push(other.clone());
                        continue;
                    }
                };
                for (alias, columns) in &sources {
                    if wanted.as_ref().is_some_and(|wanted| wanted != alias) {
                        continue;
                    }
                    for column in columns {
                        let column = expression::identifier(column);
                        items.push(SelectItem::UnnamedExpr(if qualified {
                            Expr::CompoundIdentifier(vec![expression::identifier(alias), column])
                        } else {
                            Expr::Identifier(column)
                        }));
                    }
                }
            }
            select.projection = items;
            Some(())
        }

        fn body(&self, body: &mut SetExpr) {
            match body {
                SetExpr::Select(select) => {
                    let _ = self.select(select);
                }
                SetExpr::SetOperation { left, right, .. } => {
                    self.body(left);
                    self.body(right);
                }
                _ => {}
            }
        }
    }
    impl VisitorMut for Expand<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            self.body(&mut query.body);
            ControlFlow::Continue(())
        }
    }
    let ctes = cte_names(query);
    let _ = VisitMut::visit(query, &mut Expand { catalog, search_path, ctes });
}

/// The views that name a column of a table. A column of the same name elsewhere in such a view counts too: refusing too much is safe.
pub(super) fn naming_column(catalog: &Catalog, table: Oid, column: &str) -> Vec<Arc<ViewDefinition>> {
    struct Columns<'a> {
        column: &'a str,
        found: bool,
    }
    impl Visitor for Columns<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.found |= match expr {
                Expr::Identifier(ident) => fold(ident) == self.column,
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|part| fold(part) == self.column),
                Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => true,
                _ => false,
            };
            ControlFlow::Continue(())
        }
    }
    let mut views = Vec::new();
    for relation in catalog.relations() {
        let Relation::View(view) = relation else { continue };
        if !view.depends_on.contains(&table) {
            continue;
        }
        let Some(query) = expression::parse_query(&view.query) else { continue };
        let mut columns = Columns { column, found: false };
        let _ = query.visit(&mut columns);
        if columns.found {
            views.push(Arc::clone(view));
        }
    }
    views
}

/// Gives a relation its new name in every view that names it. There it keeps its old name as an alias, because columns are qualified by it.
pub(super) async fn follow_rename(
    context: &mut DdlContext<'_>,
    relation: &Relation,
    schema: Oid,
    name: &str,
) -> Result<()> {
    struct Follow {
        from: ObjectPath,
        to: ObjectName,
    }
    impl VisitorMut for Follow {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, alias, .. } = factor
                && ObjectPath::from_ast(name).is_ok_and(|path| path == self.from)
            {
                *name = self.to.clone();
                if alias.is_none() {
                    *alias = Some(ast::TableAlias {
                        explicit: false,
                        name: expression::identifier(&self.from.name),
                        columns: Vec::new(),
                        at: None,
                    });
                }
            }
            ControlFlow::Continue(())
        }
    }
    let catalog = context.transaction.catalog();
    let schema_name = |oid: Oid| catalog.schema(oid).map(|schema| schema.name.clone());
    let (Some(old_schema), Some(new_schema)) = (schema_name(relation.schema()), schema_name(schema)) else {
        return Ok(());
    };
    let from = ObjectPath { schema: Some(old_schema), name: relation.name().to_owned() };
    let to = object_name(&new_schema, name);
    let views: Vec<Arc<ViewDefinition>> = catalog
        .relations()
        .filter_map(|other| match other {
            Relation::View(view) if view.depends_on.contains(&relation.oid()) => Some(Arc::clone(view)),
            _ => None,
        })
        .collect();
    for view in views {
        context.lock(LockTarget::Relation(view.oid), LockMode::AccessExclusive).await?;
        let Some(mut query) = expression::parse_query(&view.query) else { continue };
        let _ = VisitMut::visit(query.as_mut(), &mut Follow { from: from.clone(), to: to.clone() });
        let view = ViewDefinition { query: query.to_string(), ..view.as_ref().clone() };
        context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::View(Arc::new(view))))?;
    }
    Ok(())
}
