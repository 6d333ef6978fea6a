//! Expressions that definitions keep as text: which columns and sequences they name, and how they follow a rename.

use std::ops::ControlFlow;

use colonnade_types::sql_type::RegKind;
use colonnade_types::{ColumnId, Oid, SqlType, TableDefinition};
use sqlparser::ast::{self, Expr, Visit, VisitMut, Visitor, VisitorMut};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::Result;
use crate::names::{ObjectPath, fold};

fn parse(text: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_expr()).ok()
}

/// Parses a query, as views keep them.
pub(crate) fn parse_query(text: &str) -> Option<Box<ast::Query>> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_query()).ok()
}

/// The columns of `table` that a stored expression names, in the table's order.
#[must_use]
pub(crate) fn columns_of(table: &TableDefinition, text: &str) -> Vec<ColumnId> {
    struct Columns(Vec<String>);
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(ident) => self.0.push(fold(ident)),
                Expr::CompoundIdentifier(parts) => self.0.extend(parts.last().map(fold)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns(Vec::new());
    if let Some(expr) = parse(text) {
        let _ = expr.visit(&mut columns);
    }
    table.columns.iter().filter(|column| columns.0.contains(&column.name)).map(|column| column.id).collect()
}

/// The sequences that a stored default draws from: `nextval('16385'::regclass)`.
#[must_use]
pub(crate) fn sequences_of(text: &str) -> Vec<Oid> {
    let mut found = Vec::new();
    for (end, _) in text.match_indices("'::regclass") {
        let start = text[..end].rfind('\'').map_or(0, |quote| quote + 1);
        found.extend(text[start..end].parse().map(Oid));
    }
    found
}

/// The text of a default that draws from a sequence. The sequence is kept by oid, so that renaming it changes nothing.
#[must_use]
pub(crate) fn nextval_of(sequence: Oid) -> String {
    format!("nextval('{sequence}'::regclass)")
}

/// The text to store for an expression: sequences that it names are kept by oid.
///
/// # Errors
/// Whatever `resolve` says of a name.
pub(crate) fn stored(expr: &Expr, resolve: impl Fn(&ObjectPath) -> Result<Oid>) -> Result<String> {
    struct Names<F> {
        resolve: F,
    }
    impl<F: Fn(&ObjectPath) -> Result<Oid>> VisitorMut for Names<F> {
        type Break = crate::error::Error;
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
            if let Expr::Cast { data_type, .. } = expr
                && let Ok(sql_type) = crate::binder::types::sql_type_of(data_type)
            {
                *data_type = data_type_of(&sql_type);
            }
            let Expr::Function(function) = expr else {
                return ControlFlow::Continue(());
            };
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
            if !matches!(name.as_str(), "nextval" | "currval" | "setval") {
                return ControlFlow::Continue(());
            }
            let ast::FunctionArguments::List(list) = &mut function.args else {
                return ControlFlow::Continue(());
            };
            let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))) = list.args.first_mut() else {
                return ControlFlow::Continue(());
            };
            let literal = match &*argument {
                Expr::Cast { expr, .. } => string_literal(expr),
                other => string_literal(other),
            };
            let Some(literal) = literal else {
                return ControlFlow::Continue(());
            };
            if literal.parse::<u32>().is_ok() {
                return ControlFlow::Continue(());
            }
            let oid = ObjectPath::parse(&literal).and_then(|path| (self.resolve)(&path));
            match oid {
                Ok(oid) => {
                    *argument = Expr::Cast {
                        kind: ast::CastKind::DoubleColon,
                        expr: Box::new(Expr::Value(ast::Value::SingleQuotedString(oid.to_string()).into())),
                        data_type: data_type_of(&SqlType::Reg(RegKind::Class)),
                        array: false,
                        format: None,
                    };
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }
    }
    let mut expr = expr.clone();
    match VisitMut::visit(&mut expr, &mut Names { resolve }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(expr.to_string()),
    }
}

/// A type in parsed SQL, by the name that `format_type` gives it.
fn data_type_of(sql_type: &SqlType) -> ast::DataType {
    ast::DataType::Custom(ast::ObjectName::from(vec![ast::Ident::new(sql_type.to_string())]), Vec::new())
}

fn string_literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The stored expression after a column was renamed.
#[must_use]
pub(crate) fn rename_column(text: &str, from: &str, to: &str) -> String {
    struct Rename<'a> {
        from: &'a str,
        to: ast::Ident,
    }
    impl VisitorMut for Rename<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(ident) if fold(ident) == self.from => *ident = self.to.clone(),
                Expr::CompoundIdentifier(parts) => {
                    if let Some(last) = parts.last_mut().filter(|last| fold(last) == self.from) {
                        *last = self.to.clone();
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let Some(mut expr) = parse(text) else {
        return text.to_owned();
    };
    let _ = VisitMut::visit(&mut expr, &mut Rename { from, to: identifier(to) });
    expr.to_string()
}

/// An identifier for parsed SQL, quoted if need be.
#[must_use]
pub(crate) fn identifier(name: &str) -> ast::Ident {
    if crate::names::quote_identifier(name) == name { ast::Ident::new(name) } else { ast::Ident::with_quote('"', name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_kept_by_oid_and_found_again() {
        let expr = parse("nextval('public.s') + 1").unwrap();
        let text = stored(&expr, |path| {
            assert_eq!(path.to_string(), "public.s");
            Ok(Oid(20_000))
        })
        .unwrap();
        assert_eq!(sequences_of(&text), [Oid(20_000)]);
        assert_eq!(sequences_of(&nextval_of(Oid(7))), [Oid(7)]);
    }

    #[test]
    fn a_renamed_column_is_renamed_in_expressions_only_where_it_is_a_column() {
        assert_eq!(rename_column("a > 0 AND b <> 'a'", "a", "Big"), "\"Big\" > 0 AND b <> 'a'");
    }
}
