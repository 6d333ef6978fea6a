//! Functions in FROM: the schema `pg_catalog` is taken off, and a lone alias names the column too, as in PostgreSQL.

use sqlparser::ast::{FunctionArg, FunctionArgExpr, TableAliasColumnDef, TableFactor};

/// Rewrites a table factor that calls a function.
pub(super) fn rewrite(factor: &mut TableFactor) {
    let TableFactor::Table { name, alias, args: Some(_), .. } = factor else {
        return;
    };
    let of_catalog = |part: &sqlparser::ast::ObjectNamePart| {
        part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case("pg_catalog"))
    };
    if name.0.len() == 2 && name.0.first().is_some_and(of_catalog) {
        name.0.remove(0);
    }
    let is_unnest = name.to_string().eq_ignore_ascii_case("unnest");
    let scalar = name.0.last().and_then(|part| part.as_ident()).is_some_and(|ident| {
        matches!(ident.value.to_ascii_lowercase().as_str(), "generate_series" | "unnest" | "generate_subscripts")
    });
    if let Some(alias) = alias.as_mut().filter(|alias| scalar && alias.columns.is_empty()) {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
    // Without its schema it is a construct of the grammar.
    if is_unnest && let TableFactor::Table { alias, args: Some(arguments), .. } = factor {
        let expressions = arguments.args.iter().filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        *factor = TableFactor::UNNEST {
            alias: alias.clone(),
            array_exprs: expressions.collect(),
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
    }
}
