//! `FROM t CROSS JOIN LATERAL (SELECT f(t.a)) AS o(n)`: a subquery without FROM is one row of expressions, so the expressions are put where its
//! columns are named.
//!
//! Only where every use is qualified (`o.n`), and the expressions hold neither aggregates nor subqueries of their own.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, OrderBy, Query, Select, SelectItem, SetExpr, TableFactor, VisitMut,
    VisitorMut,
};

use crate::names::fold;

/// Puts every such subquery of the SELECT in place.
pub(super) fn inline(select: &mut Select, mut order_by: Option<&mut OrderBy>) {
    for from in 0..select.from.len() {
        let mut index = 0;
        while index < select.from[from].joins.len() {
            let join = &select.from[from].joins[index];
            let plain = matches!(join.join_operator, JoinOperator::CrossJoin(JoinConstraint::None));
            let found = if plain { expressions(&join.relation) } else { None };
            let Some((alias, columns)) = found else {
                index += 1;
                continue;
            };
            select.from[from].joins.remove(index);
            name_projection(select, &alias);
            let mut substitute = Substitute { alias, columns };
            let _ = VisitMut::visit(select, &mut substitute);
            if let Some(order_by) = order_by.as_deref_mut() {
                let _ = order_by.visit(&mut substitute);
            }
        }
    }
}

/// The alias and the named expressions of a lateral subquery without FROM.
fn expressions(factor: &TableFactor) -> Option<(String, Vec<(String, Expr)>)> {
    let TableFactor::Derived { lateral: true, subquery, alias: Some(alias), .. } = factor else {
        return None;
    };
    let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = subquery.as_ref() else {
        return None;
    };
    let SetExpr::Select(select) = body.as_ref() else { return None };
    if !select.from.is_empty() || select.selection.is_some() || select.having.is_some() || select.distinct.is_some() {
        return None;
    }
    let mut columns = Vec::new();
    for (index, item) in select.projection.iter().enumerate() {
        let (expr, own) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
            _ => return None,
        };
        let name = alias.columns.get(index).map(|column| fold(&column.name)).or(own)?;
        columns.push((name, Expr::Nested(Box::new(expr.clone()))));
    }
    Some((fold(&alias.name), columns))
}

/// Keeps the names of result columns that are columns of the subquery.
fn name_projection(select: &mut Select, alias: &str) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
            && let [table, column] = parts.as_slice()
            && fold(table) == alias
        {
            let name: Ident = column.clone();
            *item = SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(parts.clone()), alias: name };
        }
    }
}

struct Substitute {
    alias: String,
    columns: Vec<(String, Expr)>,
}

impl VisitorMut for Substitute {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [table, column] = parts.as_slice()
            && fold(table) == self.alias
        {
            let name = fold(column);
            if let Some((_, value)) = self.columns.iter().find(|(column, _)| *column == name) {
                *expr = value.clone();
            }
        }
        ControlFlow::Continue(())
    }
}
