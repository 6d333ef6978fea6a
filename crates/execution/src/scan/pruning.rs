//! Which granules a filter admits, by zone maps.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::SchemaRef;
use colonnade_storage::Scan;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use crate::error::Result;
use crate::scan::exec::ReadColumn;

/// Zone maps of the columns of one filter, one entry per granule of the scan.
struct ZoneStatistics {
    columns: BTreeMap<String, Zones>,
    granules: usize,
}

struct Zones {
    min: ArrayRef,
    max: ArrayRef,
    null_count: ArrayRef,
    row_count: ArrayRef,
}

impl PruningStatistics for ZoneStatistics {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.columns.get(&column.name).map(|zones| Arc::clone(&zones.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.columns.get(&column.name).map(|zones| Arc::clone(&zones.max))
    }

    fn num_containers(&self) -> usize {
        self.granules
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.columns.get(&column.name).map(|zones| Arc::clone(&zones.null_count))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        self.columns.values().next().map(|zones| Arc::clone(&zones.row_count))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// For each granule whether `filter` may be true of one of its rows; `None` if the filter says nothing about zone maps.
///
/// A filter that the pruning machinery cannot read prunes nothing.
pub(super) fn admitted(
    scan: &Scan,
    schema: &SchemaRef,
    columns: &[ReadColumn],
    filter: &Arc<dyn PhysicalExpr>,
) -> Result<Option<Vec<bool>>> {
    let granules: usize = scan.units().iter().map(|unit| unit.granules).sum();
    let Ok(predicate) =
        PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(Arc::clone(filter))
    else {
        return Ok(None);
    };
    if predicate.always_true() || granules == 0 {
        return Ok(None);
    }
    let mut statistics = ZoneStatistics { columns: BTreeMap::new(), granules };
    for column in collect_columns(filter) {
        let Some(ReadColumn::Stored(stored)) = columns.get(column.index()) else { continue };
        let zones = scan.zone_maps(*stored)?;
        statistics.columns.insert(
            column.name().to_owned(),
            Zones {
                min: zones.min.clone(),
                max: zones.max.clone(),
                null_count: Arc::new(zones.null_count.clone()),
                row_count: Arc::new(zones.row_count.clone()),
            },
        );
    }
    Ok(predicate.prune(&statistics).ok().filter(|kept| kept.len() == granules))
}
