//! Which statements the fast path takes, bound.
//!
//! A statement is taken if it is about one table, names one row by equality with every column of one key (or gives rows as VALUES), and all its expressions mean the same whenever they are
//! evaluated. Whether it has anything else is asked by comparison: the statement must be equal to the plainest one with the same parts, so that a clause that nobody
//! here has heard of cannot be overlooked.

use std::sync::Arc;

use colonnade_storage::{Catalog, TableAccess};
use colonnade_types::{ColumnDefinition, IdentityKind, KeyConstraint, Relation, SqlType, TableDefinition, parse_value};
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use crate::binder::Binder;
use crate::binder::syntax::placeholder;
use crate::binder::types::{is_unknown_literal, type_of};
use crate::dml::checks::Checks;
use crate::dml::insert::{column_place, is_default, missing_defaults};
use crate::error::Result;
use crate::fast::expression::{Inputs, Lasting, Projection, RowExpression, RowSchema, lasting, lift, names_a_time};
use crate::fast::{Action, FastPlan, KeyMatch, KeySource};
use crate::names::{ObjectPath, find_relation, fold};
use crate::outcome::ResultSchema;

/// Rows of VALUES that are taken; more are the general path's.
const ROWS_MAX: usize = 64;

/// What a statement is bound with.
pub(crate) struct Recogniser<'a> {
    pub(crate) binder: &'a Binder,
    pub(crate) catalog: &'a Arc<Catalog>,
    /// Types of the parameters, as describing the statement has found them.
    pub(crate) parameters: &'a [SqlType],
    /// Parameters that stand for numbers with a fraction, whose type depends on where they are: only whole cells of VALUES may be one.
    pub(crate) bare: &'a [bool],
    pub(crate) columns: Option<&'a Arc<ResultSchema>>,
}

/// Binds a statement for the fast path; `None` leaves it to the general one.
pub(crate) fn recognise(with: &Recogniser<'_>, statement: &ast::Statement) -> Option<FastPlan> {
    // An error is the general path's to report, in its words.
    match statement {
        ast::Statement::Query(query) => with.select(query).ok().flatten(),
        ast::Statement::Update(update) => with.update(update).ok().flatten(),
        ast::Statement::Delete(delete) => with.delete(delete).ok().flatten(),
        ast::Statement::Insert(insert) => with.insert(insert).ok().flatten(),
        _ => None,
    }
}

/// The table of a statement and what it is called there.
struct Target {
    table: Arc<TableDefinition>,
    alias: String,
}

/// Expressions bound so far.
struct Bound {
    lasting: Lasting,
}

impl Recogniser<'_> {
    fn select(&self, query: &ast::Query) -> Result<Option<FastPlan>> {
        let ast::SetExpr::Select(select) = query.body.as_ref() else { return Ok(None) };
        let mut plain = crate::parser::parse_query("SELECT 1 FROM t WHERE 1")?;
        if let ast::SetExpr::Select(body) = plain.body.as_mut() {
            body.projection.clone_from(&select.projection);
            body.from.clone_from(&select.from);
            body.selection.clone_from(&select.selection);
        }
        let ([from], Some(selection)) = (select.from.as_slice(), &select.selection) else { return Ok(None) };
        if *plain != *query || !from.joins.is_empty() {
            return Ok(None);
        }
        let Some(target) = self.target(&from.relation) else { return Ok(None) };
        let schema = RowSchema::new(Some(&target.table), &target.alias, self.parameters)?;
        let mut bound = Bound { lasting: Lasting::Always };
        let Some(key) = self.key_match(&target, &schema, selection, &mut bound)? else { return Ok(None) };
        let Some(projection) = self.projection(&target, &schema, &select.projection, &mut bound)? else {
            return Ok(None);
        };
        self.plan(target, Action::Select(key), Some(projection), &bound, false)
    }

    fn update(&self, update: &ast::Update) -> Result<Option<FastPlan>> {
        let Some(ast::Statement::Update(mut plain)) = template("UPDATE t SET a = 1 WHERE 1") else { return Ok(None) };
        plain.table.clone_from(&update.table);
        plain.assignments.clone_from(&update.assignments);
        plain.selection.clone_from(&update.selection);
        plain.returning.clone_from(&update.returning);
        let Some(selection) = &update.selection else { return Ok(None) };
        if plain != *update || !update.table.joins.is_empty() {
            return Ok(None);
        }
        let Some(target) = self.target(&update.table.relation) else { return Ok(None) };
        let table = Arc::clone(&target.table);
        let schema = RowSchema::new(Some(&table), &target.alias, self.parameters)?;
        let mut bound = Bound { lasting: Lasting::Always };
        let Some(key) = self.key_match(&target, &schema, selection, &mut bound)? else { return Ok(None) };
        let mut places = Vec::new();
        let mut exprs = Vec::new();
        for assignment in &update.assignments {
            let ast::AssignmentTarget::ColumnName(name) = &assignment.target else { return Ok(None) };
            let [part] = name.0.as_slice() else { return Ok(None) };
            let place = column_place(&table, &part.as_ident().map(fold).unwrap_or_default())?;
            let column = &table.columns[place];
            if places.contains(&place) || is_default(&assignment.value) || always(column) {
                return Ok(None);
            }
            let Some(expr) = self.assigned(&schema, &assignment.value, column, &mut bound)? else { return Ok(None) };
            places.push(place);
            exprs.push((expr, column.sql_type.clone()));
        }
        let (values, inputs) = schema.compile(exprs, &self.binder.state)?;
        let mut new: Vec<Option<RowExpression>> = table.columns.iter().map(|_| None).collect();
        for (place, value) in places.iter().zip(values) {
            new[*place] = Some(value);
        }
        let changes = |key: &KeyConstraint| places.iter().any(|place| key.columns.contains(&table.columns[*place].id));
        let kept_keys = table.keys.iter().map(|key| !changes(key)).collect();
        let checks = Checks::new(self.binder, &table, self.catalog)?;
        let projection = match &update.returning {
            None => None,
            Some(items) => match self.projection(&target, &schema, items, &mut bound)? {
                Some(projection) => Some(projection),
                None => return Ok(None),
            },
        };
        let needs = !table.checks.is_empty();
        self.plan(target, Action::Update { key, new, inputs, checks, kept_keys }, projection, &bound, needs)
    }

    fn delete(&self, delete: &ast::Delete) -> Result<Option<FastPlan>> {
        let Some(ast::Statement::Delete(mut plain)) = template("DELETE FROM t WHERE 1") else { return Ok(None) };
        plain.from.clone_from(&delete.from);
        plain.selection.clone_from(&delete.selection);
        plain.returning.clone_from(&delete.returning);
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let ([from], Some(selection)) = (from.as_slice(), &delete.selection) else { return Ok(None) };
        if plain != *delete || !from.joins.is_empty() {
            return Ok(None);
        }
        let Some(target) = self.target(&from.relation) else { return Ok(None) };
        let schema = RowSchema::new(Some(&target.table), &target.alias, self.parameters)?;
        let mut bound = Bound { lasting: Lasting::Always };
        let Some(key) = self.key_match(&target, &schema, selection, &mut bound)? else { return Ok(None) };
        let projection = match &delete.returning {
            None => None,
            Some(items) => match self.projection(&target, &schema, items, &mut bound)? {
                Some(projection) => Some(projection),
                None => return Ok(None),
            },
        };
        self.plan(target, Action::Delete(key), projection, &bound, false)
    }

    fn insert(&self, insert: &ast::Insert) -> Result<Option<FastPlan>> {
        let Some(ast::Statement::Insert(mut plain)) = template("INSERT INTO t VALUES (1)") else { return Ok(None) };
        let Some(source) = &insert.source else { return Ok(None) };
        let ast::SetExpr::Values(values) = source.body.as_ref() else { return Ok(None) };
        plain.table.clone_from(&insert.table);
        plain.columns.clone_from(&insert.columns);
        plain.returning.clone_from(&insert.returning);
        if let Some(source) = &mut plain.source
            && let ast::SetExpr::Values(plain) = source.body.as_mut()
        {
            plain.rows.clone_from(&values.rows);
        }
        let ast::TableObject::TableName(name) = &insert.table else { return Ok(None) };
        if plain != *insert || values.rows.len() > ROWS_MAX {
            return Ok(None);
        }
        let Some(table) = self.table(name) else { return Ok(None) };
        let places = if insert.columns.is_empty() {
            (0..values.rows.first().map_or(0, |row| row.content.len()).min(table.columns.len())).collect()
        } else {
            let place = |name: &ast::ObjectName| {
                let name = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                column_place(&table, &name)
            };
            insert.columns.iter().map(place).collect::<Result<Vec<usize>>>()?
        };
        let twice = places.iter().enumerate().any(|(index, place)| places[..index].contains(place));
        if twice || places.iter().any(|place| table.columns[*place].identity.is_some()) {
            return Ok(None);
        }
        let schema = RowSchema::new(None, &table.name, self.parameters)?;
        let mut bound = Bound { lasting: Lasting::Always };
        let mut exprs = Vec::new();
        for row in &values.rows {
            if row.content.len() != places.len() {
                return Ok(None);
            }
            for (cell, place) in row.content.iter().zip(&places) {
                if is_default(cell) {
                    return Ok(None);
                }
                let column = &table.columns[*place];
                let Some(expr) = self.assigned_cell(&schema, cell, column, &mut bound)? else { return Ok(None) };
                exprs.push((expr, column.sql_type.clone()));
            }
        }
        let (cells, inputs) = schema.compile(exprs, &self.binder.state)?;
        let mut cells = cells.into_iter();
        let rows: Vec<Vec<RowExpression>> =
            values.rows.iter().map(|_| cells.by_ref().take(places.len()).collect()).collect();
        let missing = missing_defaults(self.binder, &table, &places, self.catalog)?;
        let checks = Checks::new(self.binder, &table, self.catalog)?;
        let target = Target { alias: table.name.clone(), table: Arc::clone(&table) };
        let projection = match &insert.returning {
            None => None,
            Some(items) => {
                let schema = RowSchema::new(Some(&table), &target.alias, self.parameters)?;
                match self.projection(&target, &schema, items, &mut bound)? {
                    Some(projection) => Some(projection),
                    None => return Ok(None),
                }
            }
        };
        let needs = !table.checks.is_empty()
            || missing.iter().any(|(_, value)| !matches!(value, crate::dml::defaults::DefaultValue::Null(_)));
        self.plan(target, Action::Insert { rows, places, inputs, missing, checks }, projection, &bound, needs)
    }

    fn plan(
        &self,
        target: Target,
        action: Action,
        projection: Option<Projection>,
        bound: &Bound,
        needs_statement: bool,
    ) -> Result<Option<FastPlan>> {
        if bound.lasting == Lasting::No {
            return Ok(None);
        }
        let relation = target.table.oid;
        let Ok(access) = TableAccess::new(target.table) else { return Ok(None) };
        Ok(Some(FastPlan {
            catalog: Arc::clone(self.catalog),
            settings: (*self.binder.info.statement().settings).clone(),
            relation,
            access,
            action,
            projection,
            needs_statement: needs_statement || bound.lasting == Lasting::WithStatement,
        }))
    }

    fn table(&self, name: &ast::ObjectName) -> Option<Arc<TableDefinition>> {
        let path = ObjectPath::from_ast(name).ok()?;
        if crate::builtin::system_table(path.schema.as_deref().unwrap_or("pg_catalog"), &path.name).is_some() {
            return None;
        }
        let search_path = Arc::clone(self.binder.info.statement().settings.search_path());
        match find_relation(self.catalog, &search_path, &path) {
            Some(Relation::Table(table)) => Some(table),
            _ => None,
        }
    }

    fn target(&self, factor: &ast::TableFactor) -> Option<Target> {
        let ast::TableFactor::Table { name, alias, .. } = factor else { return None };
        let Ok(query) = crate::parser::parse_query("SELECT 1 FROM t") else { return None };
        let ast::SetExpr::Select(select) = *query.body else { return None };
        let mut plain = select.from.into_iter().next()?.relation;
        if let ast::TableFactor::Table { name: plain_name, alias: plain_alias, .. } = &mut plain {
            plain_name.clone_from(name);
            plain_alias.clone_from(alias);
        }
        if plain != *factor || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return None;
        }
        let table = self.table(name)?;
        let alias = alias.as_ref().map_or_else(|| table.name.clone(), |alias| fold(&alias.name));
        Some(Target { table, alias })
    }

    /// Binds an expression; `None` if its value may not be kept in a plan.
    fn expression(&self, schema: &RowSchema, expr: &ast::Expr, bound: &mut Bound) -> Result<Option<Expr>> {
        let mut expr = expr.clone();
        if self.uses_bare(&expr) || !lift(&mut expr, self.parameters.len()) {
            return Ok(None);
        }
        let scope = self.binder.scope(Arc::clone(self.catalog), None);
        let expr = self.binder.expression(expr, &schema.full, scope)?;
        bound.lasting = bound.lasting.max(lasting(&expr));
        Ok((bound.lasting != Lasting::No).then_some(expr))
    }

    fn uses_bare(&self, expr: &ast::Expr) -> bool {
        use std::ops::ControlFlow;
        let found = ast::visit_expressions(expr, |e| match placeholder(e) {
            Some(number) if self.bare.get(number.wrapping_sub(1)).copied().unwrap_or(false) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    }

    /// Binds an expression for assignment to a column.
    fn assigned(
        &self,
        schema: &RowSchema,
        expr: &ast::Expr,
        column: &ColumnDefinition,
        bound: &mut Bound,
    ) -> Result<Option<Expr>> {
        let Some(expr) = self.expression(schema, expr, bound)? else { return Ok(None) };
        // A text that is read as the column's type, once.
        if is_unknown_literal(&expr).is_some_and(names_a_time) {
            return Ok(None);
        }
        let expr = self.binder.assigned(expr, &schema.full, &column.name, &column.sql_type)?;
        bound.lasting = bound.lasting.max(lasting(&expr));
        Ok(Some(expr))
    }

    /// Binds a cell of VALUES. A parameter alone has the column's type already, if describing the statement gave it that.
    fn assigned_cell(
        &self,
        schema: &RowSchema,
        cell: &ast::Expr,
        column: &ColumnDefinition,
        bound: &mut Bound,
    ) -> Result<Option<Expr>> {
        if let Some(number) = placeholder(cell)
            && self.bare.get(number.wrapping_sub(1)).copied().unwrap_or(false)
        {
            let same = self.parameters.get(number - 1) == Some(&column.sql_type);
            let number_type = matches!(column.sql_type, SqlType::Numeric(_) | SqlType::DoublePrecision | SqlType::Real);
            let mut lifted = cell.clone();
            if !same || !number_type || !lift(&mut lifted, self.parameters.len()) {
                return Ok(None);
            }
            let scope = self.binder.scope(Arc::clone(self.catalog), None);
            return self.binder.expression(lifted, &schema.full, scope).map(Some);
        }
        self.assigned(schema, cell, column, bound)
    }

    fn projection(
        &self,
        target: &Target,
        schema: &RowSchema,
        items: &[ast::SelectItem],
        bound: &mut Bound,
    ) -> Result<Option<Projection>> {
        let Some(result) = self.columns else { return Ok(None) };
        let mut exprs: Vec<Expr> = Vec::new();
        let own = |column: &ColumnDefinition| {
            Expr::Column(datafusion::common::Column::new(Some(target.alias.as_str()), column.name.as_str()))
        };
        for item in items {
            match item {
                ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
                    let Some(expr) = self.expression(schema, expr, bound)? else { return Ok(None) };
                    exprs.push(expr);
                }
                ast::SelectItem::Wildcard(options) if *options == ast::WildcardAdditionalOptions::default() => {
                    exprs.extend(target.table.columns.iter().map(own));
                }
                _ => return Ok(None),
            }
        }
        if exprs.len() != result.columns.len() {
            return Ok(None);
        }
        let mut typed = Vec::with_capacity(exprs.len());
        for (expr, column) in exprs.into_iter().zip(&result.columns) {
            // The result's types are those that the client was told.
            let same = type_of(&expr, &schema.full).is_some_and(|found| found == column.sql_type);
            if !same {
                return Ok(None);
            }
            typed.push((expr, column.sql_type.clone()));
        }
        let (expressions, inputs) = schema.compile(typed, &self.binder.state)?;
        let arrow_schema = result.arrow_schema();
        Ok(Some(Projection { schema: Arc::clone(result), arrow_schema, expressions, inputs }))
    }

    /// Splits a condition into equality with a key's columns and the rest.
    fn key_match(
        &self,
        target: &Target,
        schema: &RowSchema,
        selection: &ast::Expr,
        bound: &mut Bound,
    ) -> Result<Option<KeyMatch>> {
        let mut conjuncts = Vec::new();
        split(selection, &mut conjuncts);
        let table = &target.table;
        // For each conjunct the column that it gives a value.
        let equal: Vec<Option<(usize, KeySource)>> = conjuncts
            .iter()
            .map(|conjunct| {
                let ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } = conjunct else { return None };
                [(left, right), (right, left)].into_iter().find_map(|(column, value)| {
                    let place = own_column(column, target)?;
                    Some((place, self.key_source(value, &table.columns[place])?))
                })
            })
            .collect();
        let column_of = |id: &colonnade_types::ColumnId| table.column_index(*id);
        let found = table.keys.iter().position(|key| {
            key.columns.iter().all(|id| {
                let place = column_of(id);
                equal.iter().flatten().any(|(own, _)| Some(*own) == place)
            })
        });
        let Some(key) = found else { return Ok(None) };
        let mut equal = equal;
        let mut values = Vec::new();
        let mut used = vec![false; conjuncts.len()];
        for id in &table.keys[key].columns {
            let place = column_of(id);
            let at = equal.iter().position(|e| e.as_ref().is_some_and(|(own, _)| Some(*own) == place));
            let Some((at, (_, source))) = at.and_then(|at| equal[at].take().map(|e| (at, e))) else { return Ok(None) };
            used[at] = true;
            values.push(source);
        }
        let rest: Vec<&ast::Expr> =
            conjuncts.iter().zip(&used).filter(|(_, used)| !**used).map(|(conjunct, _)| *conjunct).collect();
        let residual = match and(&rest) {
            None => None,
            Some(rest) => {
                let Some(expr) = self.expression(schema, &rest, bound)? else { return Ok(None) };
                if type_of(&expr, &schema.full) != Some(SqlType::Boolean) {
                    return Ok(None);
                }
                let (mut compiled, inputs) = schema.compile(vec![(expr, SqlType::Boolean)], &self.binder.state)?;
                compiled.pop().map(|expr: RowExpression| -> (RowExpression, Inputs) { (expr, inputs) })
            }
        };
        Ok(Some(KeyMatch { key, values, residual }))
    }

    /// Where the value of a key's column comes from; `None` for what compares otherwise than as the column's type.
    fn key_source(&self, value: &ast::Expr, column: &ColumnDefinition) -> Option<KeySource> {
        let integer = |t: &SqlType| matches!(t, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt);
        let own = &column.sql_type;
        // Blanks at the end do not count in char(n), and floats compare across types.
        let plain = integer(own)
            || matches!(own, SqlType::Text | SqlType::Varchar(_) | SqlType::Uuid | SqlType::Date | SqlType::Bytea);
        if !plain {
            return None;
        }
        if let Some(number) = placeholder(value) {
            let index = number.checked_sub(1)?;
            if self.bare.get(index).copied().unwrap_or(false) {
                return None;
            }
            let given = self.parameters.get(index)?;
            let same = given == own
                || (matches!(given, SqlType::Text | SqlType::Varchar(_))
                    && matches!(own, SqlType::Text | SqlType::Varchar(_)));
            return match (integer(own), integer(given)) {
                _ if same => Some(KeySource::Parameter(index)),
                (true, true) => Some(KeySource::Integer(index, own.arrow_type())),
                _ => None,
            };
        }
        let text = literal(value)?;
        let fits = match (own, &text) {
            (own, Literal::Number(text)) => integer(own) && text.parse::<i64>().is_ok(),
            (SqlType::Varchar(_) | SqlType::Text, Literal::Text(_)) => true,
            (_, Literal::Text(text)) => !names_a_time(text),
        };
        let (Literal::Number(text) | Literal::Text(text)) = text;
        // A varchar's length is no limit for what it is compared with.
        let read_as = if matches!(own, SqlType::Varchar(_)) { &SqlType::Text } else { own };
        let parsed = parse_value(read_as, &text, &self.binder.display()).ok().filter(|_| fits)?;
        (parsed.data_type() == &own.arrow_type()).then_some(KeySource::Constant(parsed))
    }
}

enum Literal {
    Number(String),
    Text(String),
}

fn literal(expr: &ast::Expr) -> Option<Literal> {
    match expr {
        ast::Expr::Nested(inner) => literal(inner),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => Some(Literal::Number(text.clone())),
            ast::Value::SingleQuotedString(text) => Some(Literal::Text(text.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn own_column(expr: &ast::Expr, target: &Target) -> Option<usize> {
    let name = match expr {
        ast::Expr::Identifier(name) => fold(name),
        ast::Expr::CompoundIdentifier(parts) if parts.len() == 2 && fold(&parts[0]) == target.alias => fold(&parts[1]),
        ast::Expr::Nested(inner) => return own_column(inner, target),
        _ => return None,
    };
    target.table.columns.iter().position(|column| column.name == name)
}

fn split<'a>(expr: &'a ast::Expr, out: &mut Vec<&'a ast::Expr>) {
    match expr {
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            split(left, out);
            split(right, out);
        }
        ast::Expr::Nested(inner) => split(inner, out),
        other => out.push(other),
    }
}

fn and(exprs: &[&ast::Expr]) -> Option<ast::Expr> {
    exprs.iter().map(|expr| ast::Expr::Nested(Box::new((*expr).clone()))).reduce(|left, right| ast::Expr::BinaryOp {
        left: Box::new(left),
        op: ast::BinaryOperator::And,
        right: Box::new(right),
    })
}

fn template(sql: &str) -> Option<ast::Statement> {
    crate::parser::parse_plain(sql).ok()
}

fn always(column: &ColumnDefinition) -> bool {
    column.identity.as_ref().is_some_and(|identity| identity.kind == IdentityKind::Always)
}
