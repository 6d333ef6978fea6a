//! Constructs of PostgreSQL that DataFusion does not plan, written with those that it does, before names are bound.
//!
//! | module | construct |
//! |---|---|
//! | [`array_subquery`] | `ARRAY(SELECT ...)` |
//! | [`lateral`] | `LATERAL (SELECT expression)`, a subquery without FROM |
//! | [`reg_output`] | names of `regclass` and its like in results, after planning |
//! | [`scalar_subquery`] | `(SELECT x ...)` that depends on the row outside |
//! | [`from_function`] | `pg_catalog.generate_series(...)` in FROM |

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query,
    Select, TableFactor, VisitMut, VisitorMut,
};

mod array_subquery;
mod from_function;
mod lateral;
mod reg_output;
mod scalar_subquery;

pub(crate) use reg_output::as_names;

/// Rewrites a statement, a query or an expression in place.
pub(crate) fn rewrite<T: VisitMut>(node: &mut T) {
    let _ = node.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let sqlparser::ast::SetExpr::Select(select) = query.body.as_mut() {
            let select: &mut Select = select;
            lateral::inline(select, query.order_by.as_mut());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        from_function::rewrite(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        array_subquery::rewrite(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        scalar_subquery::rewrite(expr);
        ControlFlow::Continue(())
    }
}

/// A call of a function with one argument.
fn call(name: &str, argument: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn rewritten(sql: &str) -> String {
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        super::rewrite(query.as_mut());
        query.to_string()
    }

    #[test]
    fn an_array_of_a_subquery_is_an_aggregate() {
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT b.name FROM b WHERE b.id = r.id ORDER BY 1) FROM r"),
            "SELECT (SELECT array_agg(b.name ORDER BY b.name) FROM b WHERE b.id = r.id) FROM r"
        );
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT DISTINCT b.name FROM b) FROM r"),
            "SELECT (SELECT array_agg(item) FROM (SELECT DISTINCT b.name AS item FROM b) AS array_subquery) FROM r"
        );
    }

    #[test]
    fn an_array_made_from_an_array_is_a_function_of_it() {
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT 'a.' || x FROM pg_catalog.unnest(t.b) x) FROM t"),
            "SELECT array_transform(t.b, x -> 'a.' || x) FROM t"
        );
    }

    #[test]
    fn a_scalar_subquery_that_may_give_several_rows_is_an_aggregate() {
        assert_eq!(
            rewritten("SELECT (SELECT b.x FROM b WHERE b.k = a.k) FROM a"),
            "SELECT single_item((SELECT first_two(b.x) AS x FROM b WHERE b.k = a.k)) FROM a"
        );
        assert_eq!(
            rewritten("SELECT (SELECT b.x FROM b WHERE b.k = a.k AND a.f AND a.k <> b.j) FROM a"),
            "SELECT CASE WHEN a.f THEN single_item((SELECT first_two(b.x) AS x FROM b WHERE b.k = a.k AND b.k <> b.j)) END FROM a"
        );
        let untouched = "SELECT (SELECT max(b.x) FROM b WHERE b.k = a.k) FROM a";
        assert_eq!(rewritten(untouched), untouched);
    }

    #[test]
    fn a_lateral_expression_is_put_where_it_is_named() {
        assert_eq!(
            rewritten("SELECT o.n FROM t CROSS JOIN LATERAL (SELECT t.a + 1) AS o(n) WHERE o.n > 2 ORDER BY o.n"),
            "SELECT (t.a + 1) AS n FROM t WHERE (t.a + 1) > 2 ORDER BY (t.a + 1)"
        );
    }

    #[test]
    fn a_function_in_from_loses_its_schema_and_gives_its_column_its_alias() {
        assert_eq!(
            rewritten("SELECT s FROM pg_catalog.generate_series(0, 3) s"),
            "SELECT s FROM generate_series(0, 3) s (s)"
        );
    }
}
