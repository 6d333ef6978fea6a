//! `ARRAY(SELECT x ...)` becomes `(SELECT array_agg(item) FROM (SELECT x AS item ...))`.
//!
//! An empty subquery gives NULL where PostgreSQL gives `{}`.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident,
    LambdaFunction, LambdaFunctionParameter, LambdaSyntax, OneOrManyWithParens, OrderBy, OrderByExpr, OrderByKind,
    Query, SelectItem, SetExpr, TableFactor, Value,
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
    if let Some(replacement) = transform(query) {
        *expr = replacement;
        return;
    }
    let mut inner = query.as_ref().clone();
    if let Some(replacement) = aggregate(&mut inner) {
        *expr = replacement;
    }
}

/// `ARRAY(SELECT f(x) FROM unnest(a) x)` is `array_transform(a, x -> f(x))`, wherever `a` comes from.
fn transform(query: &Query) -> Option<Expr> {
    let plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    if !plain || !from.joins.is_empty() || select.selection.is_some() || select.distinct.is_some() {
        return None;
    }
    let (array, alias) = match &from.relation {
        TableFactor::UNNEST { array_exprs, alias: Some(alias), .. } => match array_exprs.as_slice() {
            [array] => (array.clone(), alias),
            _ => return None,
        },
        TableFactor::Table { name, args: Some(arguments), alias: Some(alias), .. } => {
            let function = name.to_string().to_ascii_lowercase();
            match (function.as_str(), arguments.args.as_slice()) {
                ("unnest" | "pg_catalog.unnest", [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))]) => {
                    (array.clone(), alias)
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    let [SelectItem::UnnamedExpr(body) | SelectItem::ExprWithAlias { expr: body, .. }] = select.projection.as_slice()
    else {
        return None;
    };
    let name = alias.columns.first().map_or(&alias.name, |column| &column.name);
    if matches!(body, Expr::Identifier(column) if column.value == name.value) {
        return Some(array);
    }
    let lambda = Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter { name: name.clone(), data_type: None }),
        body: Box::new(body.clone()),
        syntax: LambdaSyntax::Arrow,
    });
    let mut transformed = super::call("array_transform", array);
    if let Expr::Function(function) = &mut transformed
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(lambda)));
    }
    Some(transformed)
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
    // Where nothing but rows is taken from the subquery, it can aggregate itself.
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let plain = !grouped && select.having.is_none() && select.distinct.is_none() && inner.limit_clause.is_none();
    if plain && let Some(keys) = keys_of(order_by.as_ref(), &value) {
        *item = SelectItem::UnnamedExpr(array_agg(value, keys));
        return Some(Expr::Subquery(Box::new(inner.clone())));
    }
    *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::new("item") };
    let named = Expr::Identifier(Ident::new("item"));
    let sorts_by_item = order_by.as_ref().is_some_and(|order_by| match &order_by.kind {
        OrderByKind::Expressions(keys) => keys.iter().all(|key| names_item(key, &value)),
        OrderByKind::All(_) => false,
    });
    let keys = if sorts_by_item { keys_of(order_by.as_ref(), &named).unwrap_or_default() } else { Vec::new() };
    inner.order_by = order_by;
    // The outer query is parsed from text, and then given the inner one and the order.
    let mut outer = parse_query("SELECT array_agg(item) FROM (SELECT 1) AS array_subquery")?;
    let SetExpr::Select(outer_select) = outer.body.as_mut() else { return None };
    if let Some(TableFactor::Derived { subquery, .. }) = outer_select.from.first_mut().map(|from| &mut from.relation) {
        **subquery = inner.clone();
    }
    outer_select.projection = vec![SelectItem::UnnamedExpr(array_agg(named, keys))];
    Some(Expr::Subquery(outer))
}

/// The keys of ORDER BY, with an ordinal replaced by the value.
fn keys_of(order_by: Option<&OrderBy>, value: &Expr) -> Option<Vec<OrderByExpr>> {
    let Some(order_by) = order_by else {
        return Some(Vec::new());
    };
    let OrderByKind::Expressions(keys) = &order_by.kind else {
        return None;
    };
    let keys = keys.iter().map(|key| {
        let expr = if is_ordinal(&key.expr) { value.clone() } else { key.expr.clone() };
        OrderByExpr { expr, ..key.clone() }
    });
    Some(keys.collect())
}

fn array_agg(value: Expr, keys: Vec<OrderByExpr>) -> Expr {
    let mut call = super::call("array_agg", value);
    if let Expr::Function(function) = &mut call
        && let FunctionArguments::List(list) = &mut function.args
        && !keys.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
    call
}

fn is_ordinal(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(number) if matches!(&number.value, Value::Number(text, _) if text == "1"))
}

/// Whether an ORDER BY key is the one column of the subquery.
fn names_item(key: &OrderByExpr, value: &Expr) -> bool {
    is_ordinal(&key.expr) || key.expr == *value
}
