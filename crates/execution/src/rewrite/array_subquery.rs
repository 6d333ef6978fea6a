//! `ARRAY(SELECT x ...)` becomes `(SELECT array_agg(item) FROM (SELECT x AS item ...))`.
//!
//! An empty subquery gives NULL where PostgreSQL gives `{}`.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, TableFactor, Value,
};

use crate::ddl::expression::parse_query;

/// Rewrites the expression if it is one.
pub(super) fn rewrite(expr: &mut Expr) {
    let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = expr else {
        return;
    };
    if !name.to_string().eq_ignore_ascii_case("array") {
        return;
    }
    let mut inner = query.as_ref().clone();
    if let Some(replacement) = aggregate(&mut inner) {
        *expr = replacement;
    }
}

fn aggregate(inner: &mut Query) -> Option<Expr> {
    let order_by = inner.order_by.take();
    let SetExpr::Select(select) = inner.body.as_mut() else {
        return None;
    };
    let [item] = select.projection.as_mut_slice() else {
        return None;
    };
    let value = match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => value.clone(),
        _ => return None,
    };
    *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::new("item") };
    let mut clauses = Vec::new();
    let mut kept = None;
    if let Some(order_by) = order_by {
        match &order_by.kind {
            OrderByKind::Expressions(keys) if keys.iter().all(|key| names_item(key, &value)) => {
                let keys =
                    keys.iter().map(|key| OrderByExpr { expr: Expr::Identifier(Ident::new("item")), ..key.clone() });
                clauses.push(FunctionArgumentClause::OrderBy(keys.collect()));
            }
            _ => kept = Some(order_by),
        }
    }
    inner.order_by = kept;
    // The outer query is parsed from text, and then given the inner one and the order.
    let mut outer = parse_query("SELECT array_agg(item) FROM (SELECT 1) AS array_subquery")?;
    let SetExpr::Select(outer_select) = outer.body.as_mut() else { return None };
    if let Some(TableFactor::Derived { subquery, .. }) = outer_select.from.first_mut().map(|from| &mut from.relation) {
        *subquery = Box::new(inner.clone());
    }
    let item = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(Ident::new("item"))));
    outer_select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("array_agg")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args: vec![item], clauses }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))];
    Some(Expr::Subquery(outer))
}

/// Whether an ORDER BY key is the one column of the subquery.
fn names_item(key: &OrderByExpr, value: &Expr) -> bool {
    match &key.expr {
        Expr::Value(number) => matches!(&number.value, Value::Number(text, _) if text.to_string() == "1"),
        other => other == value,
    }
}
