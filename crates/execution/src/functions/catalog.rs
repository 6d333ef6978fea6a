//! `pg_get_*`, `format_type`, visibility and comments: what tools ask of the catalog.

use colonnade_types::{Oid, Relation};

use super::function::{Call, Function};
use super::names;
use super::value::Value;
use crate::error::{Error, Result};
use crate::pg_catalog::{definitions, pg_proc, types};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::stable("pg_get_expr(text, oid) -> text", |call, arguments| {
            Ok(definitions::expression(call.statement, arguments[0].text()).into())
        }),
        Function::stable("pg_get_expr(text, oid, boolean) -> text", |call, arguments| {
            Ok(definitions::expression(call.statement, arguments[0].text()).into())
        }),
        Function::stable("pg_get_viewdef(regclass) -> text", |call, arguments| view_definition(call, &arguments[0])),
        Function::stable("pg_get_viewdef(regclass, boolean) -> text", |call, arguments| {
            view_definition(call, &arguments[0])
        }),
        Function::stable("pg_get_viewdef(regclass, integer) -> text", |call, arguments| {
            view_definition(call, &arguments[0])
        }),
        Function::stable("pg_get_constraintdef(oid) -> text", |call, arguments| {
            Ok(definitions::constraint(call.statement, arguments[0].oid(), false).into())
        }),
        Function::stable("pg_get_constraintdef(oid, boolean) -> text", |call, arguments| {
            Ok(definitions::constraint(call.statement, arguments[0].oid(), arguments[1].is_true()).into())
        }),
        Function::stable("pg_get_indexdef(regclass) -> text", |call, arguments| index(call, &arguments[0], 0)),
        Function::stable("pg_get_indexdef(regclass, integer, boolean) -> text", |call, arguments| {
            index(call, &arguments[0], arguments[1].int())
        }),
        Function::stable("pg_get_partkeydef(oid) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_ruledef(oid) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_ruledef(oid, boolean) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_triggerdef(oid) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_triggerdef(oid, boolean) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_statisticsobjdef_columns(oid) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_replica_identity_index(regclass) -> regclass", |_, _| Ok(Value::Null)),
        Function::stable("pg_relation_is_publishable(regclass) -> boolean", |call, arguments| {
            Ok(matches!(call.statement.catalog.relation(arguments[0].oid()), Some(Relation::Table(_))).into())
        }),
        Function::stable("pg_relation_is_updatable(regclass, boolean) -> integer", |call, arguments| {
            let table = matches!(call.statement.catalog.relation(arguments[0].oid()), Some(Relation::Table(_)));
            // Bits of INSERT, UPDATE and DELETE.
            Ok(if table { 28i32 } else { 0 }.into())
        }),
        Function::stable("pg_get_userbyid(oid) -> name", |_, arguments| {
            let oid = arguments[0].oid();
            Ok(names::role_name(oid).map_or_else(|| format!("unknown (OID={oid})"), str::to_owned).into())
        }),
        Function::stable("pg_get_function_result(oid) -> text", |_, arguments| {
            Ok(pg_proc::signature_of(arguments[0].oid()).map(|(_, returns)| types::format_type(returns, None)).into())
        }),
        Function::stable("pg_get_function_arguments(oid) -> text", |_, arguments| Ok(argument_list(&arguments[0]))),
        Function::stable("pg_get_function_identity_arguments(oid) -> text", |_, arguments| {
            Ok(argument_list(&arguments[0]))
        }),
        Function::stable("pg_get_function_arg_default(oid, integer) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_functiondef(oid) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_get_function_sqlbody(oid) -> text", |_, _| Ok(Value::Null)),
        Function::stable("format_type(oid, integer) -> text", |_, arguments| {
            if arguments[0].is_null() {
                return Ok(Value::Null);
            }
            let modifier = i32::try_from(arguments[1].int()).ok().filter(|_| !arguments[1].is_null());
            Ok(types::format_type(arguments[0].oid(), modifier).into())
        })
        .null_call(),
        Function::stable("pg_typeof(any) -> regtype", |call, _| {
            Ok(call.argument_types.first().map_or(Oid(705), colonnade_types::SqlType::oid).into())
        })
        .null_call(),
        Function::stable("pg_table_is_visible(oid) -> boolean", |call, arguments| {
            let relation = names::relation_of(call.statement, arguments[0].oid());
            Ok(relation.map(|relation| names::is_visible(call.statement, &relation)).into())
        }),
        // Types, functions and the like live in pg_catalog, which every search path sees.
        Function::stable("pg_type_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_function_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_operator_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_opclass_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_opfamily_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_collation_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_conversion_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_statistics_obj_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_ts_config_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_ts_dict_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_ts_parser_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("pg_ts_template_is_visible(oid) -> boolean", |_, _| Ok(true.into())),
        Function::stable("obj_description(oid, text) -> text", |call, arguments| {
            Ok(call.statement.catalog.comment(arguments[0].oid(), 0).into())
        }),
        Function::stable("obj_description(oid) -> text", |call, arguments| {
            Ok(call.statement.catalog.comment(arguments[0].oid(), 0).into())
        }),
        Function::stable("shobj_description(oid, text) -> text", |call, arguments| {
            Ok(call.statement.catalog.comment(arguments[0].oid(), 0).into())
        }),
        Function::stable("col_description(oid, integer) -> text", |call, arguments| {
            let column = u32::try_from(arguments[1].int()).ok().filter(|column| *column > 0);
            Ok(column.and_then(|column| call.statement.catalog.comment(arguments[0].oid(), column)).into())
        }),
        Function::stable("pg_tablespace_location(oid) -> text", |_, _| Ok("".into())),
        Function::stable("pg_options_to_table(text[]) -> text", |_, _| Ok(Value::Null)),
        Function::stable("pg_indexam_has_property(oid, text) -> boolean", |_, _| Ok(Value::Null)),
        Function::stable("pg_index_has_property(regclass, text) -> boolean", |_, _| Ok(Value::Null)),
        Function::stable("pg_index_column_has_property(regclass, integer, text) -> boolean", |_, arguments| {
            Ok(match arguments[2].text() {
                "asc" | "orderable" | "nulls_last" | "search_array" | "search_nulls" => Value::Bool(true),
                "desc" | "nulls_first" | "distance_orderable" | "returnable" => Value::Bool(false),
                _ => Value::Null,
            })
        }),
    ]
}

fn view_definition(call: &Call<'_>, oid: &Value) -> Result<Value> {
    Ok(match call.statement.catalog.relation(oid.oid()) {
        Some(Relation::View(view)) => format!(" {};", view.query).into(),
        _ => Value::Null,
    })
}

fn index(call: &Call<'_>, oid: &Value, column: i64) -> Result<Value, Error> {
    let catalog = &call.statement.catalog;
    let Some((table, key)) = definitions::index_key(catalog, oid.oid()) else {
        return Ok(Value::Null);
    };
    if column == 0 {
        return Ok(definitions::index(catalog, table, key).into());
    }
    let id = usize::try_from(column - 1).ok().and_then(|index| key.columns.get(index));
    let name = id.and_then(|id| table.column_by_id(*id)).map(|column| names::quote_identifier(&column.name));
    Ok(name.unwrap_or_default().into())
}

fn argument_list(oid: &Value) -> Value {
    let Some((arguments, _)) = pg_proc::signature_of(oid.oid()) else {
        return Value::Null;
    };
    let texts: Vec<String> = arguments.iter().map(|argument| types::format_type(*argument, None)).collect();
    texts.join(", ").into()
}
