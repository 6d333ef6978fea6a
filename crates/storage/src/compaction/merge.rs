//! The rows of a merge: which are kept, in what order, and the values of one column after another.
//!
//! ```text
//! inputs     a: 0 1 2 3     b: 4 5 6          rows counted through
//! kept          0   2 3        4   6          deleted ones left out
//! order         4 0 2 6 3                     by the table's sort columns
//! outputs      |4 0 2|6 3|                    each asks for one column at a time, and for the granules only that hold its rows
//! ```
//!
//! Memory holds the order (four bytes a row), the sort columns while it is made, and then one column of the granules that an output takes rows from.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use colonnade_types::{ColumnDefinition, Lsn, TableDefinition};

use crate::error::ReadError;
use crate::fill;
use crate::manifest::CreatedLsn;
use crate::segment::{GRANULE_ROWS, LSN_COLUMN, Relocated, Segment};
use crate::segment_file::{self, SegmentFileError};
use crate::stamp::StampState;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MergeColumn<'a> {
    /// A column of the table.
    Stored(&'a ColumnDefinition),
    /// The hidden column of commit LSNs.
    Lsn,
}

/// Segments that are merged, and the order of their rows.
#[derive(Debug)]
pub(crate) struct Merge {
    inputs: Vec<Arc<Segment>>,
    /// Number of the first row of every input, counted through.
    bases: Vec<u32>,
    /// The kept rows in their new order.
    order: Vec<u32>,
}

/// Where the rows of one output are found.
#[derive(Debug)]
pub(crate) struct Gather {
    /// Input and granule.
    granules: Vec<(usize, usize)>,
    /// For every row its index in the granules put after one another; `None` if that is just them.
    indices: Option<UInt32Array>,
}

/// When the rows of a segment were created.
pub(crate) fn created(segment: &Segment) -> CreatedLsn {
    match (segment.info.created, segment.created().state()) {
        (CreatedLsn::Commit, StampState::Committed(lsn)) => CreatedLsn::Constant(lsn),
        (CreatedLsn::Commit, state) => unreachable!("a segment of a version is committed, not {state:?}"),
        (known, _) => known,
    }
}

fn rows_error(error: SegmentFileError) -> ReadError {
    match error {
        SegmentFileError::Read(error) => error,
        other => ReadError::Mismatch(other.to_string()),
    }
}

impl Merge {
    /// Decides the order. Rows whose delete was committed by `horizon` are left out.
    pub(crate) fn plan(table: &TableDefinition, inputs: Vec<Arc<Segment>>, horizon: Lsn) -> Result<Merge, ReadError> {
        let mut bases = Vec::with_capacity(inputs.len());
        let mut kept: Vec<u32> = Vec::new();
        let mut base = 0u32;
        for segment in &inputs {
            bases.push(base);
            let gone = segment.deletes.read().committed_by(horizon);
            let rows = segment.info.rows;
            let end = base.checked_add(rows).ok_or_else(|| ReadError::Mismatch("a merge of 2^32 rows".to_owned()))?;
            if gone.is_empty() {
                kept.extend(base..end);
            } else {
                let mut gone = gone.iter().peekable();
                for offset in 0..rows {
                    if gone.next_if_eq(&offset).is_none() {
                        kept.push(base + offset);
                    }
                }
            }
            base = end;
        }
        let mut merge = Merge { inputs, bases, order: kept };
        if merge.order.is_empty() {
            return Ok(merge);
        }
        let gather = merge.gather(0..merge.order.len());
        let keys = segment_file::sort_columns(table)
            .iter()
            .filter_map(|id| table.column_by_id(*id))
            .map(|column| {
                let parts = merge.column(MergeColumn::Stored(column), &gather)?;
                segment_file::joined(&parts).map_err(rows_error)
            })
            .collect::<Result<Vec<_>, ReadError>>()?;
        if let Some(order) = segment_file::order(&keys) {
            merge.order = order.values().iter().map(|index| merge.order[*index as usize]).collect();
        }
        Ok(merge)
    }

    /// Rows that are kept.
    pub(crate) fn rows(&self) -> usize {
        self.order.len()
    }

    /// The segments that are merged.
    pub(crate) fn inputs(&self) -> &[Arc<Segment>] {
        &self.inputs
    }

    /// The one LSN of all rows, if they have one.
    pub(crate) fn constant_lsn(&self) -> Option<Lsn> {
        let mut lsns = self.inputs.iter().map(|segment| match created(segment) {
            CreatedLsn::Constant(lsn) => Some(lsn),
            _ => None,
        });
        let first = lsns.next()??;
        lsns.all(|lsn| lsn == Some(first)).then_some(first)
    }

    /// No row was created later.
    pub(crate) fn newest(&self) -> Lsn {
        let newest = |segment: &Arc<Segment>| match created(segment) {
            CreatedLsn::Constant(lsn) | CreatedLsn::Column(lsn) => lsn,
            CreatedLsn::Commit => Lsn(0),
        };
        self.inputs.iter().map(newest).max().unwrap_or_default()
    }

    /// For every row of an input, its place in the new order.
    pub(crate) fn positions(&self) -> Vec<Box<[u32]>> {
        let mut positions: Vec<Box<[u32]>> =
            self.inputs.iter().map(|segment| vec![Relocated::GONE; segment.rows()].into_boxed_slice()).collect();
        for (position, row) in (0..).zip(&self.order) {
            let input = self.input_of(*row);
            positions[input][(*row - self.bases[input]) as usize] = position;
        }
        positions
    }

    fn input_of(&self, row: u32) -> usize {
        self.bases.partition_point(|base| *base <= row) - 1
    }

    /// Where rows `rows` of the new order are found.
    pub(crate) fn gather(&self, rows: Range<usize>) -> Gather {
        let order = &self.order[rows];
        // For every granule of every input: whether it is needed, then where its rows begin among those of the needed ones.
        let first_granule: Vec<usize> = self
            .inputs
            .iter()
            .scan(0, |count, segment| {
                let first = *count;
                *count += segment.granules();
                Some(first)
            })
            .collect();
        let place = |row: u32| {
            let input = self.input_of(row);
            let offset = (row - self.bases[input]) as usize;
            (first_granule[input] + offset / GRANULE_ROWS, offset % GRANULE_ROWS)
        };
        let count: usize = self.inputs.iter().map(|segment| segment.granules()).sum();
        let mut starts = vec![u32::MAX; count];
        order.iter().for_each(|row| starts[place(*row).0] = 0);
        let mut granules = Vec::new();
        let mut rows = 0u32;
        for (input, segment) in self.inputs.iter().enumerate() {
            for granule in 0..segment.granules() {
                let start = &mut starts[first_granule[input] + granule];
                if *start == 0 {
                    *start = rows;
                    granules.push((input, granule));
                    // All rows of all inputs have 32-bit numbers.
                    rows += segment.granule_rows(granule) as u32;
                }
            }
        }
        let indices: Vec<u32> = order
            .iter()
            .map(|row| {
                let (granule, at) = place(*row);
                starts[granule] + at as u32
            })
            .collect();
        let is_all = indices.len() == rows as usize && (0..rows).eq(indices.iter().copied());
        Gather { granules, indices: (!is_all).then(|| UInt32Array::from(indices)) }
    }

    /// The values of a column in the rows of an output.
    pub(crate) fn column(&self, column: MergeColumn<'_>, gather: &Gather) -> Result<Vec<ArrayRef>, ReadError> {
        let mut parts = Vec::with_capacity(gather.granules.len());
        for of_input in gather.granules.chunk_by(|a, b| a.0 == b.0) {
            let segment = &self.inputs[of_input[0].0];
            let granules = of_input.iter().map(|(_, granule)| *granule);
            parts.extend(values(segment, column, granules)?);
        }
        let Some(indices) = &gather.indices else { return Ok(parts) };
        let all = segment_file::joined(&parts).map_err(rows_error)?;
        drop(parts);
        Ok(vec![segment_file::picked(&all, indices).map_err(rows_error)?])
    }
}

/// All values of some granules of a segment.
fn values(
    segment: &Segment,
    column: MergeColumn<'_>,
    granules: impl Iterator<Item = usize>,
) -> Result<Vec<ArrayRef>, ReadError> {
    let (id, data_type) = match column {
        MergeColumn::Stored(definition) => (definition.id, definition.sql_type.arrow_type()),
        MergeColumn::Lsn => match created(segment) {
            CreatedLsn::Constant(lsn) => {
                let repeat = |granule| -> ArrayRef {
                    Arc::new(Int64Array::from(vec![lsn.0.cast_signed(); segment.granule_rows(granule)]))
                };
                return Ok(granules.map(repeat).collect());
            }
            _ => (LSN_COLUMN, arrow::datatypes::DataType::Int64),
        },
    };
    let Some(reader) = segment.column(id)? else {
        let MergeColumn::Stored(definition) = column else {
            return Err(segment.damaged(&"the column of commit LSNs is missing"));
        };
        let missing = fill::missing_value(definition)?;
        return granules.map(|granule| fill::repeat(&missing, segment.granule_rows(granule))).collect();
    };
    if *reader.data_type() != data_type {
        let found = reader.data_type();
        return Err(ReadError::Mismatch(format!("column {id} is stored as {found}, expected {data_type}")));
    }
    // Not through the cache: what is merged is read once.
    let dictionary = if reader.uses_dictionary() {
        Some(reader.dictionary().map_err(|error| segment.damaged(&error))?)
    } else {
        None
    };
    granules.map(|granule| reader.read(granule, dictionary.as_ref()).map_err(|error| segment.damaged(&error))).collect()
}
