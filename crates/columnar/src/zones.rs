//! The zone maps of one column at all three levels, as stored.
//!
//! ```text
//! bounds u8 (1 if stored) | min: array node | max: array node | exact: bitmap | null counts: integer node
//! ```
//!
//! Each has one entry per granule, then one per row group, then one for the segment. Row counts are not stored: they
//! follow from the row count of the segment.

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::array_node;
use crate::cursor::Cursor;
use crate::error::{FormatError, WriteError};
use crate::integers;
use crate::zone_map::ZoneMaps;
use crate::{GRANULE_ROWS, ROW_GROUP_ROWS};

/// A level at which zone maps exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// 8,192 rows.
    Granule,
    /// 131,072 rows.
    RowGroup,
    /// All rows; one entry.
    Segment,
}

/// The zone maps of one column at every level.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    granules: ZoneMaps,
    row_groups: ZoneMaps,
    segment: ZoneMaps,
}

impl Zones {
    /// Derives the higher levels.
    pub(crate) fn of_granules(granules: ZoneMaps, granules_per_group: usize) -> Result<Zones, ArrowError> {
        let count = granules.len();
        let groups: Vec<ZoneMaps> = (0..count)
            .step_by(granules_per_group)
            .map(|first| granules.merged(first..(first + granules_per_group).min(count)))
            .collect();
        let row_groups = ZoneMaps::concat(granules.min.data_type(), &groups)?;
        let segment = row_groups.merged(0..row_groups.len());
        Ok(Zones { granules, row_groups, segment })
    }

    pub(crate) fn level(&self, level: Level) -> &ZoneMaps {
        match level {
            Level::Granule => &self.granules,
            Level::RowGroup => &self.row_groups,
            Level::Segment => &self.segment,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let levels = [self.granules.clone(), self.row_groups.clone(), self.segment.clone()];
        let all = ZoneMaps::concat(self.segment.min.data_type(), &levels)?;
        let stored = has_bounds(all.min.data_type());
        out.push(u8::from(stored));
        if stored {
            array_node::encode(&all.min, out)?;
            array_node::encode(&all.max, out)?;
            array_node::put_bitmap(&all.exact, out);
        }
        let nulls: Vec<i64> = all.null_count.values().iter().map(|&count| count as i64).collect();
        integers::encode(&nulls, out);
        Ok(())
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>, data_type: &DataType, rows: usize) -> Result<Zones, FormatError> {
        let (granules, groups) = (rows.div_ceil(GRANULE_ROWS), rows.div_ceil(ROW_GROUP_ROWS));
        let count = granules + groups + 1;
        let (min, max, exact): (ArrayRef, ArrayRef, BooleanBuffer) = match cursor.u8("zone bounds flag")? {
            0 => (new_null_array(data_type, count), new_null_array(data_type, count), BooleanBuffer::new_unset(count)),
            1 => (
                array_node::decode(cursor, data_type, count)?,
                array_node::decode(cursor, data_type, count)?,
                array_node::take_bitmap(cursor, count)?,
            ),
            other => return Err(cursor.invalid("zone bounds flag", "0 or 1", other)),
        };
        let nulls = integers::decode(cursor, count)?;
        let row_counts: Vec<u64> = zone_rows(rows, GRANULE_ROWS)
            .chain(zone_rows(rows, ROW_GROUP_ROWS))
            .chain([rows])
            .map(|rows| rows as u64)
            .collect();
        let mut null_counts = Vec::with_capacity(count);
        for (nulls, &rows) in nulls.into_iter().zip(&row_counts) {
            let nulls = u64::try_from(nulls)
                .ok()
                .filter(|nulls| *nulls <= rows)
                .ok_or_else(|| cursor.invalid("null count", format!("at most {rows}"), nulls))?;
            null_counts.push(nulls);
        }
        let (null_count, row_count) = (UInt64Array::from(null_counts), UInt64Array::from(row_counts));
        let all = ZoneMaps { min, max, exact, null_count, row_count };
        Ok(Zones {
            granules: all.slice(0, granules),
            row_groups: all.slice(granules, groups),
            segment: all.slice(granules + groups, 1),
        })
    }
}

/// Whether the type has an order here.
fn has_bounds(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::List(_) | DataType::Interval(_) | DataType::Null)
}

/// Rows of each zone of at most `zone_rows` rows.
fn zone_rows(rows: usize, zone_rows: usize) -> impl Iterator<Item = usize> {
    (0..rows).step_by(zone_rows).map(move |first| zone_rows.min(rows - first))
}
