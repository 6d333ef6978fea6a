//! `(SELECT x FROM t WHERE t.k = outer.k)` becomes `single_item((SELECT first_two(x) FROM t WHERE t.k = outer.k))`.
//!
//! DataFusion joins a correlated scalar subquery only if it aggregates. See [`crate::functions`] for why it is two functions.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::execution::SessionStateDefaults;
use sqlparser::ast::{Expr, Function, GroupByExpr, Ident, Query, SelectItem, SetExpr, Visit, Visitor};

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
    if aggregate(query).is_some() {
        let subquery = expr.clone();
        *expr = call("single_item", subquery);
    }
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
