//! PostgreSQL's functions that DataFusion lacks, or answers differently.
//!
//! One file a family; a file's `functions()` is its visible list. [`declarations`] is all of them, [`register`] gives them to DataFusion, where they
//! come before its own of the same name.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableFunction;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;

pub mod function;
pub mod names;
pub mod value;

mod catalog;
mod datetime;
mod format;
mod number;
mod privilege;
mod reg;
mod sequence;
mod series;
mod session;
mod single;
mod size;
mod sleep;
mod text;

use function::{Function, FunctionSet};

/// Every declared function, overloads next to each other.
#[must_use]
pub fn declarations() -> Vec<Function> {
    let mut functions = [
        catalog::functions(),
        datetime::functions(),
        format::functions(),
        number::functions(),
        privilege::functions(),
        reg::functions(),
        sequence::functions(),
        session::functions(),
        size::functions(),
        text::functions(),
    ]
    .concat();
    functions.sort_by_key(|function| function.name);
    functions
}

/// The declared functions as DataFusion calls them.
#[must_use]
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut sets: BTreeMap<&str, Vec<Function>> = BTreeMap::new();
    for function in declarations() {
        sets.entry(function.name).or_default().push(function);
    }
    let mut udfs: Vec<_> = sets.into_values().map(|overloads| FunctionSet::new(overloads).into_udf()).collect();
    udfs.push(sleep::udf());
    udfs.push(single::single_item());
    udfs
}

/// Functions that stand in FROM.
#[must_use]
pub fn table_functions() -> Vec<Arc<TableFunction>> {
    series::table_functions()
}

/// Registers the scalar functions; table functions go to the session's own list.
///
/// # Errors
/// If DataFusion refuses one.
pub fn register(registry: &mut dyn FunctionRegistry) -> DataFusionResult<()> {
    for udf in scalar_functions() {
        registry.register_udf(udf)?;
    }
    registry.register_udaf(single::first_two())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declaration_can_be_read() {
        assert!(declarations().len() > 100);
        assert!(!scalar_functions().is_empty());
    }
}
