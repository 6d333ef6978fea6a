//! SQL types in parsed statements and in DataFusion's expressions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef};
use colonnade_types::{DisplaySettings, SqlState, SqlType, parse_value};
use datafusion::common::ScalarValue;
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{Expr, ExprSchemable as _};
use sqlparser::ast;

use crate::error::{Error, Result};

/// Reads a type as a statement names it.
///
/// # Errors
/// 42704 for an unknown type, 22023 for a modifier that is refused.
pub(crate) fn sql_type_of(data_type: &ast::DataType) -> Result<SqlType> {
    let text = type_text(data_type);
    SqlType::parse(&text).ok_or_else(|| {
        let name = text.split('(').next().unwrap_or_default();
        if SqlType::parse(name).is_some() && text.contains('(') {
            Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid type modifier: {text}"))
        } else {
            Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", text.to_lowercase()))
        }
    })
}

fn type_text(data_type: &ast::DataType) -> String {
    match data_type {
        ast::DataType::Array(
            ast::ArrayElemTypeDef::SquareBracket(element, _)
            | ast::ArrayElemTypeDef::AngleBracket(element)
            | ast::ArrayElemTypeDef::Parenthesis(element),
        ) => format!("{}[]", type_text(element)),
        ast::DataType::Float(ast::ExactNumberInfo::Precision(bits)) => {
            if *bits <= 24 {
                "real".to_owned()
            } else {
                "double precision".to_owned()
            }
        }
        ast::DataType::Float(_) | ast::DataType::Double(_) => "double precision".to_owned(),
        ast::DataType::String(_) => "text".to_owned(),
        ast::DataType::Custom(name, modifiers) => {
            let parts: Vec<String> = name
                .0
                .iter()
                .filter_map(|part| part.as_ident())
                .map(|ident| match ident.quote_style {
                    // "char" is a type of its own, which its quotes tell.
                    Some(_) if ident.value == "char" => "\"char\"".to_owned(),
                    _ => ident.value.to_lowercase(),
                })
                .collect();
            let name = match parts.as_slice() {
                [schema, name] if schema == "pg_catalog" => name.clone(),
                _ => parts.join("."),
            };
            let element = name.strip_prefix('_').filter(|element| SqlType::parse(element).is_some());
            let name = element.map_or_else(|| name.clone(), |element| format!("{element}[]"));
            if modifiers.is_empty() { name } else { format!("{name}({})", modifiers.join(",")) }
        }
        other => other.to_string(),
    }
}

/// Tells DataFusion which Arrow field a type's name means.
#[derive(Debug)]
pub(crate) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DataFusionResult<Option<FieldRef>> {
        let sql_type = sql_type_of(sql_type)?;
        Ok(Some(Arc::new(sql_type.field("", true))))
    }
}

/// The SQL type of an expression; `None` where DataFusion cannot tell or has a type that SQL has not.
pub(crate) fn type_of(expr: &Expr, schema: &datafusion::common::DFSchema) -> Option<SqlType> {
    if is_unknown_literal(expr).is_some() {
        return Some(SqlType::Unknown);
    }
    let (_, field) = expr.to_field(schema).ok()?;
    SqlType::from_field(&field)
}

/// The text of a string literal that nothing has typed yet.
pub(crate) fn is_unknown_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        Expr::Alias(alias) => is_unknown_literal(&alias.expr),
        _ => None,
    }
}

/// A literal of a type, from one row of an array of it.
pub(crate) fn literal(sql_type: &SqlType, array: &ArrayRef) -> Result<Expr> {
    let value = ScalarValue::try_from_array(array, 0)?;
    Ok(Expr::Literal(value, metadata_of(&sql_type.field("", true))))
}

/// Metadata of a field, as literals carry it.
pub(crate) fn metadata_of(field: &Field) -> Option<FieldMetadata> {
    if field.metadata().is_empty() {
        return None;
    }
    let map: HashMap<String, String> = field.metadata().clone();
    Some(FieldMetadata::from(map))
}

/// Reads a literal's text as a value of a type, as PostgreSQL reads a literal of unknown type.
///
/// # Errors
/// 22P02 and its like, with PostgreSQL's text.
pub(crate) fn parse_literal(text: &str, to: &SqlType, settings: &DisplaySettings) -> Result<Expr> {
    // `char(n)` compares without trailing blanks, which it is stored without.
    let array = match to {
        SqlType::Char(_) => parse_value(&SqlType::Text, text.trim_end_matches(' '), settings)?,
        SqlType::Varchar(_) => parse_value(&SqlType::Text, text, settings)?,
        _ => parse_value(to, text, settings)?,
    };
    literal(if to.is_string() { &SqlType::Text } else { to }, &array)
}
