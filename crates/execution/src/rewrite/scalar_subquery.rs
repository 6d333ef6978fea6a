//! `(SELECT x FROM t WHERE t.k = outer.k)` becomes `single_item((SELECT first_two(x) FROM t WHERE t.k = outer.k))`.
//!
//! DataFusion joins a correlated scalar subquery only if it aggregates, and only on equalities. So, besides the aggregate:
//! a condition on the row outside alone moves out (`CASE WHEN outer.flag THEN ... END`), and where `t.k = outer.k` holds, other conditions
//! name `t.k` instead of `outer.k`. Both are done for qualified columns only, because a bare name does not tell where it belongs.
//!
//! See [`crate::functions`] for why the aggregate is two functions.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::execution::SessionStateDefaults;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::call;
use crate::names::fold;

static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_aggregate_functions();
    let names = functions.iter().flat_map(|f| f.aliases().iter().cloned().chain([f.name().to_owned()]));
    names.chain(["first_two".to_owned()]).collect()
});

/// Rewrites the expression if it is a subquery that may give several rows.
pub(super) fn rewrite(expr: &mut Expr) {
    let Expr::Subquery(query) = expr else { return };
    substitute_equals(query);
    if aggregate(query).is_some() {
        let outside = move_out(query);
        let value = call("single_item", expr.clone());
        *expr = match outside {
            None => value,
            Some(condition) => Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: None,
                conditions: vec![CaseWhen { condition, result: value }],
                else_result: None,
            },
        };
    }
}

/// The names by which the subquery's own tables are known; `None` if not all are plain.
fn own_names(select: &Select) -> Option<HashSet<String>> {
    let mut names = HashSet::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = factor else {
                return None;
            };
            names.insert(match (alias, factor) {
                (Some(alias), _) => fold(&alias.name),
                (None, TableFactor::Table { name, .. }) => fold(name.0.last()?.as_ident()?),
                _ => return None,
            });
        }
    }
    Some(names)
}

/// Cuts a condition at its ANDs.
fn conjuncts(condition: Expr, out: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, out);
            conjuncts(*right, out);
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. }) => {
            conjuncts(*inner, out);
        }
        other => out.push(other),
    }
}

fn conjunction(conjuncts: Vec<Expr>) -> Option<Expr> {
    conjuncts.into_iter().reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

/// Whether a column belongs to the subquery; `None` for what is no qualified column.
fn is_own(expr: &Expr, own: &HashSet<String>) -> Option<bool> {
    match expr {
        Expr::CompoundIdentifier(parts) if parts.len() == 2 => Some(own.contains(&fold(&parts[0]))),
        _ => None,
    }
}

/// Where `own.a = outer.b` holds, writes `own.a` for `outer.b` in the other conditions.
fn substitute_equals(query: &mut Query) {
    struct Substitute<'a>(&'a [(Expr, Expr)]);
    impl VisitorMut for Substitute<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some((_, own)) = self.0.iter().find(|(outer, _)| outer == expr) {
                *expr = own.clone();
            }
            ControlFlow::Continue(())
        }
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(own) = own_names(select) else { return };
    let Some(selection) = select.selection.take() else { return };
    let mut conditions = Vec::new();
    conjuncts(selection, &mut conditions);
    let mut equal = Vec::new();
    let mut is_equality = vec![false; conditions.len()];
    for (index, condition) in conditions.iter().enumerate() {
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition {
            match (is_own(left, &own), is_own(right, &own)) {
                (Some(true), Some(false)) => equal.push((right.as_ref().clone(), left.as_ref().clone())),
                (Some(false), Some(true)) => equal.push((left.as_ref().clone(), right.as_ref().clone())),
                _ => continue,
            }
            is_equality[index] = true;
        }
    }
    for (condition, equality) in conditions.iter_mut().zip(is_equality) {
        if !equality {
            let _ = VisitMut::visit(condition, &mut Substitute(&equal));
        }
    }
    select.selection = conjunction(conditions);
}

/// Takes the conditions on the row outside alone out of the subquery.
fn move_out(query: &mut Query) -> Option<Expr> {
    struct Columns<'a> {
        own: &'a HashSet<String>,
        outer: bool,
        other: bool,
    }
    impl Visitor for Columns<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match is_own(expr, self.own) {
                Some(false) => self.outer = true,
                Some(true) => self.other = true,
                None => {
                    self.other |= matches!(
                        expr,
                        Expr::Identifier(_)
                            | Expr::CompoundIdentifier(_)
                            | Expr::Subquery(_)
                            | Expr::Exists { .. }
                            | Expr::InSubquery { .. }
                    );
                }
            }
            ControlFlow::Continue(())
        }
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let own = own_names(select)?;
    let mut conditions = Vec::new();
    conjuncts(select.selection.take()?, &mut conditions);
    let (outside, inside) = conditions.into_iter().partition(|condition| {
        let mut columns = Columns { own: &own, outer: false, other: false };
        let _ = condition.visit(&mut columns);
        columns.outer && !columns.other
    });
    select.selection = conjunction(inside);
    conjunction(outside)
}

/// Puts the aggregate around the only column; `None` leaves everything as it was.
fn aggregate(query: &mut Query) -> Option<()> {
    if query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    // Without FROM or WHERE there is one row, or nothing to correlate with.
    if grouped || select.having.is_some() || select.distinct.is_some() || select.top.is_some() {
        return None;
    }
    if select.from.is_empty() || select.selection.is_none() {
        return None;
    }
    let [item] = select.projection.as_mut_slice() else { return None };
    let (value, alias) = match item {
        SelectItem::UnnamedExpr(value) => (value.clone(), None),
        SelectItem::ExprWithAlias { expr: value, alias } => (value.clone(), Some(alias.clone())),
        _ => return None,
    };
    if aggregates(&value) {
        return None;
    }
    let alias = alias.or_else(|| name_of(&value)).unwrap_or_else(|| Ident::new("item"));
    *item = SelectItem::ExprWithAlias { expr: call("first_two", value), alias };
    query.order_by = None;
    Some(())
}

/// The name that PostgreSQL gives the column.
fn name_of(value: &Expr) -> Option<Ident> {
    match value {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
        Expr::Function(function) => function.name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Whether an aggregate or window function stands in the expression, or a subquery that might hold one.
fn aggregates(value: &Expr) -> bool {
    struct Found(bool);
    impl Visitor for Found {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(Function { name, over, .. }) = expr {
                let name = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                self.0 |= over.is_some() || AGGREGATES.contains(&name);
            }
            self.0 |= matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
            ControlFlow::Continue(())
        }
    }
    let mut found = Found(false);
    let _ = value.visit(&mut found);
    found.0
}
