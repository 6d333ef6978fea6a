//! Rows as bytes: the form in which rows lie in the tail's open chunk, in the log and in checkpoints.
//!
//! ```text
//! row   := validity  fixed fields  ends  data
//! validity      ceil(columns / 8) bytes; bit i of byte i / 8 is set if column i is not NULL; spare bits are zero
//! fixed fields  every fixed-width column in order, its width in bytes, little-endian, zeros for NULL; boolean is one byte, 0 or 1
//! ends          for every other column in order, u32 little-endian: where its bytes end in `data`; NULL is empty
//! data          text and bytea: the bytes. A list:
//! list  := count (u32 little-endian)  validity of count items  items: fixed fields, or count ends and then data
//! ```
//!
//! Widths: boolean 1, int16 2, int32 uint32 float32 date32 4, int64 float64 time64 timestamp 8, decimal128 interval 16 (months i32, days i32,
//! nanoseconds i64), decimal256 32, fixed binary as declared. Lists do not nest. The bytes do not name their columns: whoever keeps them keeps the [`RowLayout`] beside
//! them. This is version 1 of the encoding; the record that holds the rows carries the version.
//!
//! A field's place is known without reading the fields before it, so one column is decoded from many rows in one loop.
//!
//! **Invariant.** Decoding checks every length, every offset and every string, and so never panics, whatever the bytes are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray, BooleanBufferBuilder,
    ListArray, StringViewArray, StringViewBuilder, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, IntervalUnit, TimeUnit,
};
use colonnade_types::{ColumnId, TableDefinition};

use crate::codec::{CodecError, Decoder, Encoder};

const _: () = assert!(cfg!(target_endian = "little"), "fixed fields are copied from memory as they are");

/// Version of the encoding that this module writes.
pub const ROW_VERSION: u8 = 1;

/// Why rows could not be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A column's type has no encoding.
    #[error("type {0} cannot be stored in rows")]
    UnsupportedType(String),
    /// The array's type is not the layout's.
    #[error("column {index} has type {found}, expected {expected}")]
    TypeMismatch {
        /// The column's index.
        index: usize,
        /// The layout's type.
        expected: String,
        /// The array's type.
        found: String,
    },
    /// Rows together exceed 4 GiB.
    #[error("rows exceed 4 GiB")]
    TooLarge,
    /// The bytes are no row of this layout.
    #[error("row {row} is damaged: {what}")]
    Damaged {
        /// The row's index.
        row: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// How a type lies in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Bool,
    Fixed(usize),
    Text,
    Bytes,
    List(FieldRef, Box<Form>),
}

impl Form {
    fn of(data_type: &DataType) -> Result<Form, RowError> {
        Ok(match data_type {
            DataType::Boolean => Form::Bool,
            DataType::FixedSizeBinary(width) => Form::Fixed(usize::try_from(*width).unwrap_or(0)),
            DataType::Utf8View => Form::Text,
            DataType::BinaryView => Form::Bytes,
            DataType::List(item) if !matches!(item.data_type(), DataType::List(_)) => {
                Form::List(Arc::clone(item), Box::new(Form::of(item.data_type())?))
            }
            other => match other.primitive_width() {
                Some(width) => Form::Fixed(width),
                None => return Err(RowError::UnsupportedType(other.to_string())),
            },
        })
    }

    /// Bytes among the fixed fields; `None` for what has an end instead.
    fn width(&self) -> Option<usize> {
        match self {
            Form::Bool => Some(1),
            Form::Fixed(width) => Some(*width),
            Form::Text | Form::Bytes | Form::List(..) => None,
        }
    }
}

/// Where a column lies in every row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Offset of its field.
    Fixed(usize),
    /// Index among the ends.
    Variable(usize),
}

/// The columns of encoded rows and where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowLayout {
    columns: Vec<(ColumnId, DataType)>,
    forms: Vec<Form>,
    places: Vec<Place>,
    /// Where the ends start.
    ends: usize,
    /// Columns with an end.
    variables: usize,
}

impl RowLayout {
    /// Lays out rows of these columns.
    ///
    /// # Errors
    /// [`RowError::UnsupportedType`].
    pub fn new(columns: Vec<(ColumnId, DataType)>) -> Result<RowLayout, RowError> {
        let forms = columns.iter().map(|(_, data_type)| Form::of(data_type)).collect::<Result<Vec<_>, _>>()?;
        let mut offset = columns.len().div_ceil(8);
        let mut variables = 0;
        let mut places = Vec::with_capacity(forms.len());
        for form in &forms {
            places.push(match form.width() {
                Some(width) => {
                    offset += width;
                    Place::Fixed(offset - width)
                }
                None => {
                    variables += 1;
                    Place::Variable(variables - 1)
                }
            });
        }
        Ok(RowLayout { columns, forms, places, ends: offset, variables })
    }

    /// Lays out rows of a table's live columns.
    ///
    /// # Errors
    /// [`RowError::UnsupportedType`].
    pub fn of_table(table: &TableDefinition) -> Result<RowLayout, RowError> {
        RowLayout::new(table.columns.iter().map(|column| (column.id, column.sql_type.arrow_type())).collect())
    }

    /// The columns in order.
    #[must_use]
    pub fn columns(&self) -> &[(ColumnId, DataType)] {
        &self.columns
    }

    /// Finds a column's place in the order.
    #[must_use]
    pub fn index_of(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|(column, _)| *column == id)
    }

    /// Whether rows of `table` as it is now have this layout.
    #[must_use]
    pub fn fits(&self, table: &TableDefinition) -> bool {
        self.columns.len() == table.columns.len()
            && self
                .columns
                .iter()
                .zip(&table.columns)
                .all(|((id, data_type), column)| *id == column.id && *data_type == column.sql_type.arrow_type())
    }

    /// The layout as bytes, for a log record or a checkpoint: version, count, and for each column its id and its type's code.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(ROW_VERSION);
        out.count(self.columns.len());
        for (id, data_type) in &self.columns {
            out.varint(u64::from(id.0));
            write_type(&mut out, data_type);
        }
        out.into_vec()
    }

    /// Reads what [`to_bytes`](RowLayout::to_bytes) wrote.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are no layout, or of a version that is not known.
    pub fn from_bytes(bytes: &[u8]) -> Result<RowLayout, CodecError> {
        let mut input = Decoder::new(bytes);
        let version = input.u8()?;
        if version != ROW_VERSION {
            return Err(input.error(format!("expected row version {ROW_VERSION}, found {version}")));
        }
        let columns = input.list(2, |input| Ok((ColumnId(input.varint_u32()?), read_type(input, false)?)))?;
        input.finish()?;
        RowLayout::new(columns).map_err(|error| input.error(error.to_string()))
    }

    fn data_start(&self) -> usize {
        self.ends + 4 * self.variables
    }
}

fn write_type(out: &mut Encoder, data_type: &DataType) {
    match data_type {
        DataType::Boolean => out.u8(1),
        DataType::Int16 => out.u8(2),
        DataType::Int32 => out.u8(3),
        DataType::Int64 => out.u8(4),
        DataType::UInt32 => out.u8(5),
        DataType::Float32 => out.u8(6),
        DataType::Float64 => out.u8(7),
        DataType::Decimal128(precision, scale) => {
            out.u8(8);
            out.u8(*precision);
            out.zigzag(i64::from(*scale));
        }
        DataType::Decimal256(precision, scale) => {
            out.u8(9);
            out.u8(*precision);
            out.zigzag(i64::from(*scale));
        }
        DataType::Utf8View => out.u8(10),
        DataType::BinaryView => out.u8(11),
        DataType::Date32 => out.u8(12),
        DataType::Time64(TimeUnit::Microsecond) => out.u8(13),
        DataType::Timestamp(TimeUnit::Microsecond, None) => out.u8(14),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
            out.u8(15);
            out.str(zone);
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => out.u8(16),
        DataType::FixedSizeBinary(width) => {
            out.u8(17);
            out.count(usize::try_from(*width).unwrap_or(0));
        }
        DataType::List(item) => {
            out.u8(18);
            out.str(item.name());
            out.bool(item.is_nullable());
            write_type(out, item.data_type());
        }
        other => unreachable!("{other} was refused by Form::of"),
    }
}

fn read_type(input: &mut Decoder<'_>, nested: bool) -> Result<DataType, CodecError> {
    let decimal = |input: &mut Decoder<'_>, most: u8| {
        let (precision, scale) = (input.u8()?, input.zigzag()?);
        match i8::try_from(scale) {
            Ok(scale) if (1..=most).contains(&precision) && scale.unsigned_abs() <= most => Ok((precision, scale)),
            _ => Err(input.error(format!("expected a decimal of up to {most} digits, found ({precision},{scale})"))),
        }
    };
    Ok(match input.u8()? {
        1 => DataType::Boolean,
        2 => DataType::Int16,
        3 => DataType::Int32,
        4 => DataType::Int64,
        5 => DataType::UInt32,
        6 => DataType::Float32,
        7 => DataType::Float64,
        8 => {
            let (precision, scale) = decimal(input, DECIMAL128_MAX_PRECISION)?;
            DataType::Decimal128(precision, scale)
        }
        9 => {
            let (precision, scale) = decimal(input, DECIMAL256_MAX_PRECISION)?;
            DataType::Decimal256(precision, scale)
        }
        10 => DataType::Utf8View,
        11 => DataType::BinaryView,
        12 => DataType::Date32,
        13 => DataType::Time64(TimeUnit::Microsecond),
        14 => DataType::Timestamp(TimeUnit::Microsecond, None),
        15 => DataType::Timestamp(TimeUnit::Microsecond, Some(input.str()?.into())),
        16 => DataType::Interval(IntervalUnit::MonthDayNano),
        17 => match input.varint_u32()? {
            width @ 1..=65_536 => DataType::FixedSizeBinary(width.cast_signed()),
            width => return Err(input.error(format!("expected a width up to 65536, found {width}"))),
        },
        18 if !nested => {
            let (name, nullable) = (input.string()?, input.bool()?);
            DataType::List(Arc::new(Field::new(name, read_type(input, true)?, nullable)))
        }
        other => return Err(input.error(format!("expected a type, found {other}"))),
    })
}

/// Counts the NULLs of one column in the first `len` rows.
///
/// # Errors
/// [`RowError::Damaged`] if the bytes are no rows of this layout.
pub fn null_count(rows: &Rows, len: usize, column: usize) -> Result<usize, RowError> {
    let mut nulls = 0;
    for row in 0..len {
        let byte = rows.row(row).get(column / 8).ok_or(RowError::Damaged { row, what: "too short" })?;
        nulls += usize::from(byte & (1 << (column % 8)) == 0);
    }
    Ok(nulls)
}

/// Encoded rows, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows' bytes.
    pub bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    pub ends: Vec<u32>,
}

impl Rows {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of one row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`RowError::TooLarge`] if the rows exceed 4 GiB together.
    pub fn push(&mut self, row: &[u8]) -> Result<(), RowError> {
        let end = u32::try_from(self.bytes.len() + row.len()).map_err(|_| RowError::TooLarge)?;
        self.bytes.extend_from_slice(row);
        self.ends.push(end);
        Ok(())
    }

    /// Adds rows `from..to` of `other`.
    ///
    /// # Errors
    /// [`RowError::TooLarge`] if the rows exceed 4 GiB together.
    pub fn extend(&mut self, other: &Rows, from: usize, to: usize) -> Result<(), RowError> {
        let start = if from == 0 { 0 } else { other.ends[from - 1] as usize };
        let end = if to == 0 { 0 } else { other.ends[to - 1] as usize };
        u32::try_from(self.bytes.len() + (end - start)).map_err(|_| RowError::TooLarge)?;
        // The sum was checked above, so every end fits.
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes[start..end]);
        self.ends.extend(other.ends[from..to].iter().map(|e| base + (e - start as u32)));
        Ok(())
    }
}

/// Encodes rows from their columns.
///
/// # Errors
/// [`RowError::TypeMismatch`] if an array has not the layout's type; [`RowError::TooLarge`] above 4 GiB.
pub fn encode(layout: &RowLayout, arrays: &[ArrayRef], rows: usize) -> Result<Rows, RowError> {
    assert_eq!(layout.columns.len(), arrays.len(), "one array for each column of the layout");
    let mut sources = Vec::with_capacity(arrays.len());
    for (index, (array, (_, expected))) in arrays.iter().zip(&layout.columns).enumerate() {
        assert_eq!(array.len(), rows, "columns are equally long");
        let found = array.data_type();
        if found != expected && !same_list(found, expected) {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(RowError::TypeMismatch { index, expected, found });
        }
        sources.push(Source::of(array.as_ref(), &layout.forms[index]));
    }
    let mut starts: Vec<usize> = Vec::with_capacity(rows);
    let mut ends: Vec<u32> = Vec::with_capacity(rows);
    let mut total = 0usize;
    for row in 0..rows {
        starts.push(total);
        total += layout.data_start();
        for source in &sources {
            total += source.variable_length(row);
        }
        ends.push(u32::try_from(total).map_err(|_| RowError::TooLarge)?);
    }
    let mut bytes = vec![0u8; total];
    // Where the next variable value of each row goes, relative to the row's data.
    let mut cursors = vec![0usize; if layout.variables > 0 { rows } else { 0 }];
    for (column, source) in sources.iter().enumerate() {
        let (mask_at, mask) = (column / 8, 1u8 << (column % 8));
        match source.nulls() {
            None => starts.iter().for_each(|start| bytes[start + mask_at] |= mask),
            Some(nulls) => {
                for (row, start) in starts.iter().enumerate() {
                    if nulls.is_valid(row) {
                        bytes[start + mask_at] |= mask;
                    }
                }
            }
        }
        match layout.places[column] {
            Place::Fixed(offset) => source.write_fixed(&starts, offset, &mut bytes),
            Place::Variable(index) => {
                for (row, start) in starts.iter().enumerate() {
                    let data = start + layout.data_start();
                    let length = source.variable_length(row);
                    let at = data + cursors[row];
                    if length > 0 {
                        source.write_variable(row, &mut bytes[at..at + length]);
                    }
                    cursors[row] += length;
                    // Rows together are below 4 GiB, so is the offset within one.
                    let end = (cursors[row] as u32).to_le_bytes();
                    let place = start + layout.ends + 4 * index;
                    bytes[place..place + 4].copy_from_slice(&end);
                }
            }
        }
    }
    Ok(Rows { bytes, ends })
}

/// Lists whose items differ in nothing but name, nullability and metadata.
fn same_list(a: &DataType, b: &DataType) -> bool {
    matches!((a, b), (DataType::List(a), DataType::List(b)) if a.data_type() == b.data_type())
}

/// An array, opened for reading values.
enum Source<'a> {
    Bool(&'a BooleanArray),
    Fixed { width: usize, values: Buffer, offset: usize, nulls: Option<NullBuffer> },
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    List { list: &'a ListArray, items: Box<Source<'a>> },
}

impl<'a> Source<'a> {
    fn of(array: &'a dyn Array, form: &Form) -> Source<'a> {
        match form {
            Form::Bool => Source::Bool(array.as_boolean()),
            Form::Fixed(width) => {
                let data = array.to_data();
                Source::Fixed {
                    width: *width,
                    values: data.buffers()[0].clone(),
                    offset: data.offset() * width,
                    nulls: data.nulls().cloned(),
                }
            }
            Form::Text => Source::Text(array.as_string_view()),
            Form::Bytes => Source::Bytes(array.as_binary_view()),
            Form::List(_, item) => {
                let list = array.as_list::<i32>();
                Source::List { list, items: Box::new(Source::of(list.values().as_ref(), item)) }
            }
        }
    }

    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Source::Bool(array) => array.nulls(),
            Source::Fixed { nulls, .. } => nulls.as_ref(),
            Source::Text(array) => array.nulls(),
            Source::Bytes(array) => array.nulls(),
            Source::List { list, .. } => list.nulls(),
        }
    }

    fn is_valid(&self, row: usize) -> bool {
        self.nulls().is_none_or(|nulls| nulls.is_valid(row))
    }

    fn fixed_width(&self) -> Option<usize> {
        match self {
            Source::Bool(_) => Some(1),
            Source::Fixed { width, .. } => Some(*width),
            _ => None,
        }
    }

    /// Bytes that the value takes in `data`: 0 for a fixed field and for NULL.
    fn variable_length(&self, row: usize) -> usize {
        match self {
            Source::Bool(_) | Source::Fixed { .. } => 0,
            _ if !self.is_valid(row) => 0,
            Source::Text(array) => array.value(row).len(),
            Source::Bytes(array) => array.value(row).len(),
            Source::List { list, items } => {
                let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                let count = end - start;
                4 + count.div_ceil(8)
                    + match items.fixed_width() {
                        Some(width) => count * width,
                        None => 4 * count + (start..end).map(|item| items.variable_length(item)).sum::<usize>(),
                    }
            }
        }
    }

    /// Writes the fixed field of every row; NULLs stay zero.
    fn write_fixed(&self, starts: &[usize], offset: usize, bytes: &mut [u8]) {
        match self {
            Source::Bool(array) => {
                for (row, start) in starts.iter().enumerate() {
                    bytes[start + offset] = u8::from(array.is_valid(row) && array.value(row));
                }
            }
            Source::Fixed { width, values, offset: first, nulls } => {
                let values = &values.as_slice()[*first..];
                match width {
                    4 => copy_out::<4>(values, nulls.as_ref(), starts, offset, bytes),
                    8 => copy_out::<8>(values, nulls.as_ref(), starts, offset, bytes),
                    16 => copy_out::<16>(values, nulls.as_ref(), starts, offset, bytes),
                    width => {
                        for (row, start) in starts.iter().enumerate() {
                            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                                bytes[start + offset..][..*width].copy_from_slice(&values[row * width..][..*width]);
                            }
                        }
                    }
                }
            }
            _ => unreachable!("the layout gives fixed places to fixed forms only"),
        }
    }

    /// Writes the value of a list item with a fixed width.
    fn write_item(&self, item: usize, out: &mut [u8]) {
        match self {
            Source::Bool(array) => out[0] = u8::from(array.value(item)),
            Source::Fixed { width, values, offset, .. } => {
                out.copy_from_slice(&values.as_slice()[offset + item * width..][..*width]);
            }
            _ => unreachable!("items of variable length are written by write_variable"),
        }
    }

    /// Writes a value that is not NULL into `out`, which has its length.
    fn write_variable(&self, row: usize, out: &mut [u8]) {
        match self {
            Source::Text(array) => out.copy_from_slice(array.value(row).as_bytes()),
            Source::Bytes(array) => out.copy_from_slice(array.value(row)),
            Source::List { list, items } => {
                let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                let count = end - start;
                out[..4].copy_from_slice(&(count as u32).to_le_bytes());
                for item in 0..count {
                    if items.is_valid(start + item) {
                        out[4 + item / 8] |= 1 << (item % 8);
                    }
                }
                let rest = &mut out[4 + count.div_ceil(8)..];
                match items.fixed_width() {
                    Some(width) => {
                        for item in (0..count).filter(|item| items.is_valid(start + item)) {
                            items.write_item(start + item, &mut rest[item * width..][..width]);
                        }
                    }
                    None => {
                        let (ends, data) = rest.split_at_mut(4 * count);
                        let mut cursor = 0;
                        for item in 0..count {
                            let length = items.variable_length(start + item);
                            if length > 0 {
                                items.write_variable(start + item, &mut data[cursor..cursor + length]);
                            }
                            cursor += length;
                            ends[4 * item..][..4].copy_from_slice(&(cursor as u32).to_le_bytes());
                        }
                    }
                }
            }
            Source::Bool(_) | Source::Fixed { .. } => unreachable!("fixed fields are written by write_fixed"),
        }
    }
}

fn copy_out<const W: usize>(
    values: &[u8],
    nulls: Option<&NullBuffer>,
    starts: &[usize],
    offset: usize,
    bytes: &mut [u8],
) {
    for (row, start) in starts.iter().enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            bytes[start + offset..][..W].copy_from_slice(&values[row * W..][..W]);
        }
    }
}

/// Decodes one column of rows `from..to`.
///
/// # Errors
/// [`RowError::Damaged`] if the bytes are no rows of this layout.
pub fn decode(layout: &RowLayout, rows: &Rows, from: usize, to: usize, column: usize) -> Result<ArrayRef, RowError> {
    let data_type = &layout.columns[column].1;
    let count = to - from;
    let mut valid = BooleanBufferBuilder::new(count);
    for row in from..to {
        let bytes = rows.row(row);
        if bytes.len() < layout.data_start() {
            return Err(RowError::Damaged { row, what: "too short" });
        }
        valid.append(bytes[column / 8] & (1 << (column % 8)) != 0);
    }
    let valid = valid.finish();
    match (&layout.forms[column], &layout.places[column]) {
        (Form::Bool, Place::Fixed(offset)) => {
            let values = BooleanBuffer::collect_bool(count, |i| rows.row(from + i)[*offset] != 0);
            Ok(Arc::new(BooleanArray::new(values, nulls_of(valid))))
        }
        (Form::Fixed(width), Place::Fixed(offset)) => {
            let mut values = MutableBuffer::with_capacity(count * width);
            for row in from..to {
                values.extend_from_slice(&rows.row(row)[*offset..offset + width]);
            }
            fixed_array(data_type, count, values.into(), valid)
        }
        (form, Place::Variable(index)) => {
            let value = |i: usize| -> Result<&[u8], RowError> {
                let row = rows.row(from + i);
                variable(row, layout, *index).map_err(|what| RowError::Damaged { row: from + i, what })
            };
            variable_array(form, count, &valid, from, &value)
        }
        _ => unreachable!("the layout gives fixed places to fixed forms"),
    }
}

/// The bytes of a variable field. The caller has checked that the row is as long as `data_start`.
fn variable<'a>(row: &'a [u8], layout: &RowLayout, index: usize) -> Result<&'a [u8], &'static str> {
    let end_at = |index: usize| u32_at(row, layout.ends + 4 * index).map(|end| end as usize);
    let start = if index == 0 { Some(0) } else { end_at(index - 1) };
    let (Some(start), Some(end)) = (start, end_at(index)) else { return Err("too short") };
    row[layout.data_start()..].get(start..end).ok_or("an end is out of bounds")
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn nulls_of(valid: BooleanBuffer) -> Option<NullBuffer> {
    Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
}

fn fixed_array(data_type: &DataType, count: usize, values: Buffer, valid: BooleanBuffer) -> Result<ArrayRef, RowError> {
    let data = ArrayData::builder(data_type.clone()).len(count).nulls(nulls_of(valid)).add_buffer(values).build();
    data.map(make_array).map_err(|_| RowError::Damaged { row: 0, what: "fixed fields" })
}

/// Builds an array from values found by `value`, which is asked for valid rows only. `base` is the first row's index, for errors.
fn variable_array<'a>(
    form: &Form,
    count: usize,
    valid: &BooleanBuffer,
    base: usize,
    value: &dyn Fn(usize) -> Result<&'a [u8], RowError>,
) -> Result<ArrayRef, RowError> {
    match form {
        Form::Text => {
            let mut builder = StringViewBuilder::with_capacity(count);
            for i in 0..count {
                if valid.value(i) {
                    let text = std::str::from_utf8(value(i)?)
                        .map_err(|_| RowError::Damaged { row: base + i, what: "text is not UTF-8" })?;
                    builder.append_value(text);
                } else {
                    builder.append_null();
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        Form::Bytes => {
            let mut builder = BinaryViewBuilder::with_capacity(count);
            for i in 0..count {
                if valid.value(i) {
                    builder.append_value(value(i)?);
                } else {
                    builder.append_null();
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        Form::List(field, item) => list_array(field, item, count, valid, base, value),
        Form::Bool | Form::Fixed(_) => unreachable!("fixed forms are decoded by their offset"),
    }
}

fn list_array<'a>(
    field: &FieldRef,
    item: &Form,
    count: usize,
    valid: &BooleanBuffer,
    base: usize,
    value: &dyn Fn(usize) -> Result<&'a [u8], RowError>,
) -> Result<ArrayRef, RowError> {
    let mut offsets: Vec<i32> = vec![0];
    let mut item_valid = BooleanBufferBuilder::new(0);
    // Fixed items go to `fixed`; others are remembered as slices.
    let mut fixed = MutableBuffer::new(0);
    let mut slices: Vec<&'a [u8]> = Vec::new();
    let mut total = 0usize;
    for i in 0..count {
        if valid.value(i) {
            let damaged = |what| RowError::Damaged { row: base + i, what };
            let bytes = value(i)?;
            let items = u32_at(bytes, 0).ok_or(damaged("a list is too short"))? as usize;
            let rest = bytes.get(4 + items.div_ceil(8)..).ok_or(damaged("a list is too short"))?;
            for index in 0..items {
                item_valid.append(bytes[4 + index / 8] & (1 << (index % 8)) != 0);
            }
            match item.width() {
                Some(width) => {
                    let all = items.checked_mul(width).and_then(|length| rest.get(..length));
                    fixed.extend_from_slice(all.ok_or(damaged("a list is too short"))?);
                }
                None => {
                    let data =
                        items.checked_mul(4).and_then(|at| rest.get(at..)).ok_or(damaged("a list is too short"))?;
                    let mut start = 0;
                    for index in 0..items {
                        let end = u32_at(rest, 4 * index).ok_or(damaged("a list is too short"))? as usize;
                        slices.push(data.get(start..end).ok_or(damaged("a list item's end is out of bounds"))?);
                        start = end;
                    }
                }
            }
            total += items;
        }
        let end = i32::try_from(total).map_err(|_| RowError::TooLarge)?;
        offsets.push(end);
    }
    let item_valid = item_valid.finish();
    let values: ArrayRef = match item {
        Form::Bool => {
            let values = BooleanBuffer::collect_bool(total, |i| fixed.as_slice()[i] != 0);
            Arc::new(BooleanArray::new(values, nulls_of(item_valid)))
        }
        Form::Fixed(_) => fixed_array(field.data_type(), total, fixed.into(), item_valid)?,
        other => variable_array(other, total, &item_valid, base, &|i| Ok(slices[i]))?,
    };
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(Arc::clone(field), offsets, values, nulls_of(valid.clone()))
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|_| RowError::Damaged { row: base, what: "list" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float64Array, Int16Array, Int32Array,
        Int64Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray, UInt32Array,
    };
    use arrow::datatypes::{Int32Type, IntervalMonthDayNano, i256};
    use proptest::prelude::*;

    fn arrays() -> Vec<ArrayRef> {
        let mut tags = arrow::array::ListBuilder::new(StringViewBuilder::new());
        tags.append_value([Some("a"), None, Some("a string that is longer than twelve bytes")]);
        tags.append_null();
        tags.append_value(Vec::<Option<&str>>::new());
        vec![
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            Arc::new(Int16Array::from(vec![Some(-1), Some(2), None])),
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(7)])),
            Arc::new(Int64Array::from(vec![i64::MAX, 0, -5])),
            Arc::new(UInt32Array::from(vec![Some(1), None, Some(u32::MAX)])),
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NEG_INFINITY)])),
            Arc::new(Date32Array::from(vec![Some(i32::MAX), None, Some(0)])),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(-1)]).with_timezone("UTC")),
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano::new(1, -2, 3)),
                None,
                Some(IntervalMonthDayNano::new(0, 0, i64::MIN)),
            ])),
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), None, Some(i128::MAX)])
                    .with_precision_and_scale(38, 2)
                    .unwrap(),
            ),
            Arc::new(
                Decimal256Array::from(vec![Some(i256::from_i128(-9)), None, Some(i256::MAX)])
                    .with_precision_and_scale(76, 18)
                    .unwrap(),
            ),
            Arc::new(StringViewArray::from(vec![Some("short"), None, Some("longer than the twelve inline bytes")])),
            Arc::new(BinaryViewArray::from(vec![Some(&b"\x00\xff"[..]), None, Some(&b""[..])])),
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    vec![Some([1u8; 16]), None, Some([9u8; 16])].into_iter(),
                    16,
                )
                .unwrap(),
            ),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
                Some(vec![Some(1), None, Some(3)]),
                None,
                Some(vec![]),
            ])),
            Arc::new(tags.finish()),
        ]
    }

    fn layout_of(arrays: &[ArrayRef]) -> RowLayout {
        let ids = (1..).map(ColumnId);
        RowLayout::new(ids.zip(arrays).map(|(id, array)| (id, array.data_type().clone())).collect()).unwrap()
    }

    #[test]
    fn every_type_survives_with_nulls_and_slices() {
        let arrays = arrays();
        let layout = layout_of(&arrays);
        for (from, length) in [(0, 3), (1, 2), (2, 1), (1, 1), (0, 0)] {
            let slices: Vec<_> = arrays.iter().map(|array| array.slice(from, length)).collect();
            let rows = encode(&layout, &slices, length).unwrap();
            assert_eq!(rows.len(), length);
            for (column, slice) in slices.iter().enumerate() {
                let decoded = decode(&layout, &rows, 0, length, column).unwrap();
                assert_eq!(&decoded, slice, "column {column} rows {from}+{length}");
            }
        }
    }

    #[test]
    fn rows_move_between_buffers() {
        let arrays = arrays();
        let layout = layout_of(&arrays);
        let rows = encode(&layout, &arrays, 3).unwrap();
        let mut moved = Rows::default();
        moved.push(rows.row(2)).unwrap();
        moved.extend(&rows, 0, 2).unwrap();
        for (column, array) in arrays.iter().enumerate() {
            assert_eq!(&decode(&layout, &moved, 0, 1, column).unwrap(), &array.slice(2, 1));
            assert_eq!(&decode(&layout, &moved, 1, 3, column).unwrap(), &array.slice(0, 2));
        }
    }

    #[test]
    fn a_layout_survives_its_bytes() {
        let layout = layout_of(&arrays());
        let bytes = layout.to_bytes();
        assert_eq!(RowLayout::from_bytes(&bytes).unwrap(), layout);
        for len in 0..bytes.len() {
            assert!(RowLayout::from_bytes(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_wrong_type_is_refused() {
        let layout = RowLayout::new(vec![(ColumnId(1), DataType::Int32)]).unwrap();
        let wrong: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(matches!(encode(&layout, &[wrong], 1), Err(RowError::TypeMismatch { index: 0, .. })));
        assert!(RowLayout::new(vec![(ColumnId(1), DataType::Utf8)]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
            let layout = layout_of(&arrays());
            let cut = cut.min(bytes.len());
            let rows = Rows { ends: vec![cut as u32, bytes.len() as u32], bytes };
            for column in 0..layout.columns().len() {
                let _ = decode(&layout, &rows, 0, 2, column);
            }
        }

        #[test]
        fn damaged_rows_decode_or_fail_but_never_panic(at in 0usize..1000, value in any::<u8>()) {
            let arrays = arrays();
            let layout = layout_of(&arrays);
            let mut rows = encode(&layout, &arrays, 3).unwrap();
            let at = at % rows.bytes.len();
            rows.bytes[at] = value;
            for column in 0..layout.columns().len() {
                let _ = decode(&layout, &rows, 0, 3, column);
            }
        }
    }
}
