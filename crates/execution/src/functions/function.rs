//! A scalar function as PostgreSQL would declare it, made into a DataFusion one.
//!
//! A function is written as its SQL declaration and a body over [`Value`]s:
//!
//! ```text
//! Function::stable("pg_get_userbyid(oid) -> name", |call, arguments| ...)
//! ```
//!
//! Declarations of one name are overloads of one function. The same declarations fill `pg_proc`.
//!
//! **Invariants.** A body sees arguments of exactly the declared types. Unless declared `null_call`, it never sees a NULL: the
//! result is then NULL, as PostgreSQL's STRICT says. A `reg*` parameter also takes a name, which is looked up before the call.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use colonnade_types::sql_type::RegKind;
use colonnade_types::{SqlState, SqlType};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::names;
use super::value::{Value, to_array};
use crate::error::Error;
use crate::session_info::{SessionInfo, StatementInfo};

/// What a body may look at besides its arguments.
pub struct Call<'a> {
    /// The session and its user.
    pub info: &'a SessionInfo,
    /// The catalog, search path and settings that the statement sees.
    pub statement: &'a StatementInfo,
    /// The SQL types of the arguments as the query gave them.
    pub argument_types: &'a [SqlType],
}

/// The body of a function, called once a row.
pub type Body = fn(&Call<'_>, &[Value]) -> Result<Value, Error>;

/// A parameter's declared type.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// One type.
    Type(SqlType),
    /// `any`
    Any,
    /// `anyarray`
    AnyArray,
}

/// One declaration with its body.
#[derive(Clone)]
pub struct Function {
    /// The name, in lower case.
    pub name: &'static str,
    /// Declared parameters.
    pub parameters: Vec<Parameter>,
    /// Whether the last parameter may be repeated, or left out.
    pub variadic: bool,
    /// The result type.
    pub returns: SqlType,
    /// How often DataFusion may call it.
    pub volatility: Volatility,
    /// Whether the body wants to see NULLs.
    pub null_call: bool,
    /// The body.
    pub body: Body,
}

impl Function {
    /// A function of its arguments alone.
    pub fn immutable(declaration: &'static str, body: Body) -> Function {
        Function::declare(declaration, Volatility::Immutable, body)
    }

    /// A function that gives the same answer throughout a statement.
    pub fn stable(declaration: &'static str, body: Body) -> Function {
        Function::declare(declaration, Volatility::Stable, body)
    }

    /// A function that is called for every row.
    pub fn volatile(declaration: &'static str, body: Body) -> Function {
        Function::declare(declaration, Volatility::Volatile, body)
    }

    /// Lets the body see NULLs.
    #[must_use]
    pub fn null_call(mut self) -> Function {
        self.null_call = true;
        self
    }

    /// Reads `name(type, type, variadic any) -> type`.
    ///
    /// # Panics
    /// If a declaration in this crate is malformed; a test registers them all.
    fn declare(declaration: &'static str, volatility: Volatility, body: Body) -> Function {
        let (head, returns) = declaration.split_once(" -> ").expect("a declaration has a result");
        let (name, parameters) = head.split_once('(').expect("a declaration has parentheses");
        let parameters = parameters.strip_suffix(')').expect("a declaration closes its parentheses");
        let mut variadic = false;
        let parameters = parameters
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| {
                let text = text.strip_prefix("variadic ").map_or(text, |rest| {
                    variadic = true;
                    rest
                });
                match text {
                    "any" => Parameter::Any,
                    "anyarray" => Parameter::AnyArray,
                    _ => {
                        Parameter::Type(SqlType::parse(text).unwrap_or_else(|| panic!("type {text} in {declaration}")))
                    }
                }
            })
            .collect();
        let returns = SqlType::parse(returns).unwrap_or_else(|| panic!("result type in {declaration}"));
        Function { name, parameters, variadic, returns, volatility, null_call: false, body }
    }

    fn accepts(&self, count: usize) -> bool {
        if self.variadic { count + 1 >= self.parameters.len() } else { count == self.parameters.len() }
    }

    fn parameter(&self, index: usize) -> Option<&Parameter> {
        self.parameters.get(index).or(if self.variadic { self.parameters.last() } else { None })
    }

    /// How badly the arguments fit: `None` not at all, 0 exactly.
    fn distance(&self, arguments: &[DataType]) -> Option<u32> {
        if !self.accepts(arguments.len()) {
            return None;
        }
        let mut total = 0;
        for (index, argument) in arguments.iter().enumerate() {
            total += distance(self.parameter(index)?, argument)?;
        }
        Some(total)
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn distance(parameter: &Parameter, argument: &DataType) -> Option<u32> {
    let wanted = match parameter {
        Parameter::Any => return Some(1),
        Parameter::AnyArray => {
            return matches!(
                argument,
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Null
            )
            .then_some(1);
        }
        Parameter::Type(wanted) => wanted,
    };
    let physical = wanted.arrow_type();
    if *argument == physical || is_text(&physical) && is_text(argument) {
        return Some(0);
    }
    Some(match argument {
        DataType::Null => 1,
        // A literal in quotes has no type of its own yet; text that has one is refused when it is cast.
        _ if is_text(argument) => 8,
        DataType::Dictionary(_, inner) => distance(parameter, inner)?,
        _ if argument.is_integer() => match physical {
            DataType::UInt32 | DataType::Int64 => 1,
            DataType::Int32 | DataType::Int16 => 2,
            DataType::Decimal256(..) | DataType::Decimal128(..) => 3,
            DataType::Float64 => 4,
            DataType::Float32 => 5,
            _ if is_text(&physical) => 20,
            _ => return None,
        },
        _ if argument.is_floating() => match physical {
            DataType::Float64 => 1,
            DataType::Float32 => 2,
            DataType::Decimal256(..) => 6,
            _ if is_text(&physical) => 20,
            _ => return None,
        },
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            match physical {
                DataType::Decimal256(..) | DataType::Decimal128(..) => 1,
                DataType::Float64 => 2,
                DataType::Float32 => 3,
                _ if is_text(&physical) => 20,
                _ => return None,
            }
        }
        DataType::Timestamp(_, from) => match &physical {
            DataType::Timestamp(_, to) => 1 + u32::from(from.is_some() != to.is_some()),
            _ if is_text(&physical) => 20,
            _ => return None,
        },
        DataType::Date32 | DataType::Date64 => match &physical {
            DataType::Timestamp(_, Some(_)) => 2,
            DataType::Timestamp(_, None) => 3,
            _ if is_text(&physical) => 20,
            _ => return None,
        },
        DataType::Interval(_) | DataType::Duration(_) => match &physical {
            DataType::Interval(_) => 1,
            _ if is_text(&physical) => 20,
            _ => return None,
        },
        DataType::List(_) => match &physical {
            DataType::List(_) => 2,
            _ => return None,
        },
        DataType::Time32(_) | DataType::Time64(_) if matches!(physical, DataType::Time64(_)) => 1,
        DataType::Binary | DataType::LargeBinary if physical == DataType::BinaryView => 1,
        _ if is_text(&physical) => 20,
        _ => return None,
    })
}

/// All overloads of one name, as DataFusion calls them.
#[derive(Clone)]
pub struct FunctionSet {
    name: &'static str,
    overloads: Vec<Function>,
    signature: Signature,
}

impl FunctionSet {
    /// Puts overloads of one name together; the least restrained volatility counts for all.
    #[must_use]
    pub fn new(overloads: Vec<Function>) -> FunctionSet {
        let name = overloads.first().map_or("", |function| function.name);
        let rank = |volatility: Volatility| match volatility {
            Volatility::Immutable => 0,
            Volatility::Stable => 1,
            Volatility::Volatile => 2,
        };
        let volatility = overloads
            .iter()
            .map(|function| function.volatility)
            .max_by_key(|volatility| rank(*volatility))
            .unwrap_or(Volatility::Volatile);
        FunctionSet { name, overloads, signature: Signature::user_defined(volatility) }
    }

    /// Its DataFusion form.
    #[must_use]
    pub fn into_udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    fn choose(&self, arguments: &[DataType]) -> Option<&Function> {
        self.overloads
            .iter()
            .filter_map(|function| Some((function.distance(arguments)?, function)))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, function)| function)
    }

    fn undefined(&self, arguments: &[DataType]) -> DataFusionError {
        let types: Vec<String> = arguments
            .iter()
            .map(|data_type| match data_type {
                DataType::Null => "unknown".to_owned(),
                other => SqlType::from_arrow(other).map_or_else(|| other.to_string(), |t| t.base_name()),
            })
            .collect();
        Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {}({}) does not exist", self.name, types.join(", ")))
            .with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            )
            .into()
    }
}

impl std::fmt::Debug for FunctionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionSet").field("name", &self.name).finish_non_exhaustive()
    }
}
impl PartialEq for FunctionSet {
    fn eq(&self, other: &FunctionSet) -> bool {
        self.name == other.name
    }
}
impl Eq for FunctionSet {}
impl Hash for FunctionSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for FunctionSet {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        self.choose(arguments).map(|function| function.returns.arrow_type()).ok_or_else(|| self.undefined(arguments))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let function = self.choose(&types).ok_or_else(|| self.undefined(&types))?;
        Ok(Arc::new(function.returns.field(self.name, true)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let function = self.choose(arguments).ok_or_else(|| self.undefined(arguments))?;
        Ok(arguments
            .iter()
            .enumerate()
            .map(|(index, argument)| match function.parameter(index) {
                Some(Parameter::Type(SqlType::Reg(_))) if is_text(argument) => DataType::Utf8View,
                Some(Parameter::Type(wanted)) => wanted.arrow_type(),
                _ => match argument {
                    DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                    other => other.clone(),
                },
            })
            .collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let function = self.choose(&types).ok_or_else(|| self.undefined(&types))?;
        let info = SessionInfo::of(&args.config_options)?;
        let statement = info.statement();
        let argument_types: Vec<SqlType> =
            args.arg_fields.iter().map(|field| SqlType::from_field(field).unwrap_or(SqlType::Unknown)).collect();
        let call = Call { info, statement: &statement, argument_types: &argument_types };

        // A call on constants is one call, unless every row is to see a value of its own.
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)))
            && function.volatility != Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|argument| argument.to_array(rows)).collect::<DataFusionResult<_>>()?;
        let mut results = Vec::with_capacity(rows);
        let mut row_arguments = Vec::with_capacity(arrays.len());
        for row in 0..rows {
            row_arguments.clear();
            for (index, array) in arrays.iter().enumerate() {
                let value = Value::from_array(array, row);
                row_arguments.push(match (function.parameter(index), value) {
                    (Some(Parameter::Type(SqlType::Reg(kind))), Value::Text(name)) => {
                        resolve(*kind, &statement, &name)?
                    }
                    (_, value) => value,
                });
            }
            if !function.null_call && row_arguments.iter().any(Value::is_null) {
                results.push(Value::Null);
            } else {
                results.push((function.body)(&call, &row_arguments)?);
            }
        }
        let array = to_array(&function.returns, &results).map_err(|error| {
            DataFusionError::from(Error::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("result of {} is out of range: {error}", self.name),
            ))
        })?;
        Ok(if constant {
            // A list keeps its item's field, which says what type it has.
            ColumnarValue::Scalar(match array.as_list_opt::<i32>() {
                Some(list) => ScalarValue::List(Arc::new(list.clone())),
                None => ScalarValue::try_from_array(&array, 0)?,
            })
        } else {
            ColumnarValue::Array(array)
        })
    }
}

fn resolve(kind: RegKind, statement: &StatementInfo, name: &str) -> Result<Value, Error> {
    names::to_oid(kind, statement, name).map(Value::from)
}

/// The field of a result, for callers that build tables from function results.
#[must_use]
pub fn result_field(name: &str, sql_type: &SqlType) -> Field {
    sql_type.field(name, true)
}
