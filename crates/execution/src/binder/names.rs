//! Column names as PostgreSQL gives them, and duplicate names kept apart.
//!
//! DataFusion wants every column of a projection to have a name of its own, and names unnamed ones by their text. PostgreSQL lets names repeat and
//! names an expression by its outermost function or type. So every unnamed expression gets PostgreSQL's name as an alias, and a repeated
//! name gets a suffix behind [`MARK`], which [`shown`] takes off again.

use std::collections::HashSet;

use colonnade_types::SqlType;
use sqlparser::ast;

use crate::binder::types::sql_type_of;
use crate::names::fold;

/// Separates a name from the number that makes it unique; no client can write it in a name.
pub(crate) const MARK: char = '\u{1}';

/// A name without the mark and what follows.
pub(crate) fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Gives names to the unnamed items of a projection.
pub(crate) fn name_projection(items: &mut [ast::SelectItem]) {
    let wildcard =
        items.iter().any(|item| matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..)));
    let mut seen: HashSet<String> = HashSet::new();
    for (number, item) in items.iter_mut().enumerate() {
        let (name, plain) = match item {
            ast::SelectItem::ExprWithAlias { alias, .. } => (fold(alias), false),
            ast::SelectItem::UnnamedExpr(expr) => {
                let plain = matches!(expr, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_));
                (column_name(expr).unwrap_or_else(|| "?column?".to_owned()), plain)
            }
            _ => continue,
        };
        let unique = seen.insert(name.clone()) && !(wildcard && plain);
        let alias = if unique { name } else { format!("{name}{MARK}{number}") };
        if unique && plain {
            continue;
        }
        let ident = ast::Ident { value: alias, quote_style: Some('"'), span: sqlparser::tokenizer::Span::empty() };
        match item {
            ast::SelectItem::UnnamedExpr(expr) => {
                let expr = expr.clone();
                *item = ast::SelectItem::ExprWithAlias { expr, alias: ident };
            }
            ast::SelectItem::ExprWithAlias { alias, .. } if !unique => *alias = ident,
            _ => {}
        }
    }
}

/// The name that PostgreSQL gives an expression, if it is better than `?column?`.
fn column_name(expr: &ast::Expr) -> Option<String> {
    use ast::Expr;
    let fixed = |name: &str| Some(name.to_owned());
    match expr {
        Expr::Identifier(ident) => Some(fold(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(fold),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => column_name(inner),
        Expr::CompoundFieldAccess { root, .. } => column_name(root),
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map(fold),
        Expr::Cast { expr: inner, data_type, .. } => column_name(inner).or_else(|| type_name(data_type)),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Interval(_) => fixed("interval"),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(column_name).or_else(|| fixed("case")),
        Expr::Exists { .. } => fixed("exists"),
        Expr::Subquery(query) => subquery_name(query),
        Expr::Extract { .. } => fixed("extract"),
        Expr::Position { .. } => fixed("position"),
        Expr::Substring { .. } => fixed("substring"),
        Expr::Overlay { .. } => fixed("overlay"),
        Expr::Ceil { .. } => fixed("ceil"),
        Expr::Floor { .. } => fixed("floor"),
        Expr::Trim { trim_where, .. } => fixed(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Array(_) => fixed("array"),
        Expr::AtTimeZone { .. } => fixed("timezone"),
        Expr::Tuple(_) => fixed("row"),
        Expr::Value(value) => match value.value {
            ast::Value::Boolean(_) => fixed("bool"),
            _ => None,
        },
        _ => None,
    }
}

fn subquery_name(query: &ast::Query) -> Option<String> {
    match query.body.as_ref() {
        ast::SetExpr::Select(select) => match select.projection.first()? {
            ast::SelectItem::UnnamedExpr(expr) => column_name(expr),
            ast::SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
            _ => None,
        },
        _ => None,
    }
}

fn type_name(data_type: &ast::DataType) -> Option<String> {
    sql_type_of(data_type).ok().map(|sql_type| match sql_type {
        SqlType::Array(element) => element.typname(),
        other => other.typname(),
    })
}
