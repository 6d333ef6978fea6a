//! Casts to and from the `reg*` types, as functions; the rewriter turns `x::regclass` and `x::regclass::text` into calls of these.

use colonnade_types::sql_type::RegKind;

use super::function::{Body, Call, Function};
use super::names;
use super::value::Value;
use crate::error::Result;

pub(super) fn functions() -> Vec<Function> {
    let same: Body = |_, arguments| Ok(arguments[0].clone());
    vec![
        // The parameter itself does the look-up.
        Function::stable("regclass(regclass) -> regclass", same),
        Function::stable("regtype(regtype) -> regtype", same),
        Function::stable("regproc(regproc) -> regproc", same),
        Function::stable("regnamespace(regnamespace) -> regnamespace", same),
        Function::stable("regrole(regrole) -> regrole", same),
        Function::immutable("oid(oid) -> oid", same),
        Function::stable("regclassout(oid) -> text", |call, arguments| name(RegKind::Class, call, arguments)),
        Function::stable("regtypeout(oid) -> text", |call, arguments| name(RegKind::Type, call, arguments)),
        Function::stable("regprocout(oid) -> text", |call, arguments| name(RegKind::Proc, call, arguments)),
        Function::stable("regnamespaceout(oid) -> text", |call, arguments| name(RegKind::Namespace, call, arguments)),
        Function::stable("regroleout(oid) -> text", |call, arguments| name(RegKind::Role, call, arguments)),
        Function::stable("to_regclass(text) -> regclass", |call, arguments| {
            Ok(names::find_relation(call.statement, arguments[0].text())?.map(|relation| relation.oid).into())
        }),
        Function::stable(
            "to_regtype(text) -> regtype",
            |_, arguments| Ok(names::find_type(arguments[0].text()).into()),
        ),
        Function::stable("to_regproc(text) -> regproc", |call, arguments| maybe(RegKind::Proc, call, arguments)),
        Function::stable("to_regnamespace(text) -> regnamespace", |call, arguments| {
            maybe(RegKind::Namespace, call, arguments)
        }),
        Function::stable("to_regrole(text) -> regrole", |call, arguments| maybe(RegKind::Role, call, arguments)),
    ]
}

fn name(kind: RegKind, call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    Ok(names::to_text(kind, call.statement, arguments[0].oid()).into())
}

fn maybe(kind: RegKind, call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    Ok(names::to_oid(kind, call.statement, arguments[0].text()).ok().into())
}
