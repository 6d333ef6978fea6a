//! `pg_proc` and `pg_language`: the functions that this crate declares, and the input and output functions of types.

use std::sync::LazyLock;

use colonnade_types::{Oid, SqlType};
use datafusion::logical_expr::Volatility;

use super::types;
use super::view::{Rows, SystemView, row};
use crate::functions::function::Parameter;
use crate::functions::names::ROLES;
use crate::functions::value::Value;

pub(super) const PG_PROC: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1255),
    name: "pg_proc",
    kind: "r",
    columns: r#"oid oid, proname name, pronamespace oid, proowner oid, prolang oid, procost real, prorows real,
        provariadic oid, prosupport regproc, prokind "char", prosecdef bool, proleakproof bool, proisstrict bool,
        proretset bool, provolatile "char", proparallel "char", pronargs int2, pronargdefaults int2, prorettype oid,
        proargtypes oid[], proallargtypes oid[], proargmodes text[], proargnames text[], proargdefaults text,
        protrftypes oid[], prosrc text, probin text, prosqlbody text, proconfig text[], proacl text[]"#,
    rows: Some(|_| Ok(PROCEDURES.iter().map(Procedure::row).collect())),
};

pub(super) const PG_LANGUAGE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2612),
    name: "pg_language",
    kind: "r",
    columns: "oid oid, lanname name, lanowner oid, lanispl bool, lanpltrusted bool, lanplcallfoid oid,
        laninline oid, lanvalidator oid, lanacl text[]",
    rows: Some(|_| {
        let language =
            |oid: u32, name: &str| row![Oid(oid), name, ROLES[0].0, false, false, Oid(0), Oid(0), Oid(0), Value::Null];
        let rows: Rows = vec![language(12, "internal"), language(13, "c"), language(14, "sql")];
        Ok(rows)
    }),
};

/// A row of `pg_proc`.
struct Procedure {
    oid: Oid,
    name: String,
    arguments: Vec<Oid>,
    variadic: Oid,
    returns: Oid,
    volatile: &'static str,
    strict: bool,
}

/// The first oid given to functions. PostgreSQL fixes oids of its own functions, but nobody relies on them.
const FIRST: u32 = 6_500;

static PROCEDURES: LazyLock<Vec<Procedure>> = LazyLock::new(|| {
    let mut procedures = Vec::new();
    for function in crate::functions::declarations() {
        let oid_of = |parameter: &Parameter| match parameter {
            Parameter::Type(sql_type) => sql_type.oid(),
            Parameter::Any => Oid(2276),
            Parameter::AnyArray => Oid(2277),
        };
        procedures.push(Procedure {
            oid: Oid(0),
            name: function.name.to_owned(),
            arguments: function.parameters.iter().map(oid_of).collect(),
            variadic: if function.variadic { function.parameters.last().map_or(Oid(0), oid_of) } else { Oid(0) },
            returns: function.returns.oid(),
            volatile: match function.volatility {
                Volatility::Immutable => "i",
                Volatility::Stable => "s",
                Volatility::Volatile => "v",
            },
            strict: !function.null_call,
        });
    }
    let cstring = Oid(2275);
    let internal = Oid(2281);
    let bytea = SqlType::Bytea.oid();
    for listed in types::all() {
        if listed.io == "array" && listed.name != "_bool" {
            continue;
        }
        for (suffix, argument, returns) in [
            ("in", cstring, listed.oid),
            ("out", listed.oid, cstring),
            ("recv", internal, listed.oid),
            ("send", listed.oid, bytea),
        ] {
            let separator = if listed.underscore { "_" } else { "" };
            procedures.push(Procedure {
                oid: Oid(0),
                name: format!("{}{separator}{suffix}", listed.io),
                arguments: vec![argument],
                variadic: Oid(0),
                returns,
                volatile: "i",
                strict: true,
            });
        }
    }
    procedures.sort_by(|a, b| a.name.cmp(&b.name));
    for (number, procedure) in (FIRST..).zip(&mut procedures) {
        procedure.oid = Oid(number);
    }
    procedures
});

impl Procedure {
    fn row(&self) -> Vec<Value> {
        row![
            self.oid,
            &self.name,
            Oid::PG_CATALOG,
            ROLES[0].0,
            Oid(12),
            1.0f64,
            0.0f64,
            self.variadic,
            Oid(0),
            "f",
            false,
            false,
            self.strict,
            false,
            self.volatile,
            "s",
            self.arguments.len(),
            0i16,
            self.returns,
            self.arguments.clone(),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            &self.name,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    }
}

/// The oid of a function; the first overload's if there are several, 0 for the void of pseudo types.
#[must_use]
pub fn oid_of(name: &str) -> Option<Oid> {
    let index = PROCEDURES.partition_point(|procedure| procedure.name.as_str() < name);
    PROCEDURES.get(index).filter(|procedure| procedure.name == name).map(|procedure| procedure.oid)
}

/// The name of a function.
#[must_use]
pub fn name_of(oid: Oid) -> Option<String> {
    find(oid).map(|procedure| procedure.name.clone())
}

/// The types of a function's arguments, and of its result.
#[must_use]
pub fn signature_of(oid: Oid) -> Option<(Vec<Oid>, Oid)> {
    find(oid).map(|procedure| (procedure.arguments.clone(), procedure.returns))
}

fn find(oid: Oid) -> Option<&'static Procedure> {
    PROCEDURES.get(usize::try_from(oid.0.checked_sub(FIRST)?).ok()?)
}
