//! Pages: one granule of one column.
//!
//! ```text
//! kind u8:  0  array node
//!           1  validity | codes into the column's dictionary: integer node
//! ```

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::datatypes::DataType;

use crate::array_node::{self, Validity};
use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::{FormatError, WriteError};
use crate::integers;

const KIND_VALUES: u8 = 0;
const KIND_CODES: u8 = 1;

/// Appends a page of values.
pub(crate) fn encode(array: &ArrayRef, out: &mut Vec<u8>) -> Result<Encodings, WriteError> {
    out.push(KIND_VALUES);
    array_node::encode(array, out)
}

/// Appends a page of dictionary codes, one a row of `array`.
pub(crate) fn encode_codes(array: &ArrayRef, codes: &[u32], out: &mut Vec<u8>) -> Encodings {
    out.push(KIND_CODES);
    if !array_node::encode_validity(array.len(), array.nulls(), out) {
        return Encodings::CONSTANT;
    }
    let codes: Vec<i64> = codes.iter().map(|&code| i64::from(code)).collect();
    integers::encode(&codes, out).union(Encodings::DICTIONARY)
}

/// What a page holds.
pub(crate) enum Page {
    /// The values.
    Values(ArrayRef),
    /// Codes into the column's dictionary, each below its entry count; NULL where the row is.
    Codes(UInt32Array),
}

/// Reads a page of `rows` rows, whose checksum has been verified. `entries` is the size of the column's dictionary.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    entries: u32,
) -> Result<Page, FormatError> {
    let page = match cursor.u8("page kind")? {
        KIND_VALUES => Page::Values(array_node::decode(cursor, data_type, rows)?),
        KIND_CODES => Page::Codes(decode_codes(cursor, rows, entries)?),
        kind => return Err(cursor.invalid("page kind", "0 or 1", kind)),
    };
    cursor.finish("page")?;
    Ok(page)
}

/// One row of a page.
pub(crate) enum PageRow {
    /// Its value, as an array of one.
    Value(ArrayRef),
    /// Its code in the column's dictionary, below the entry count; `None` for NULL.
    Code(Option<u32>),
    /// The encoding gives no way to one row: the page has to be decoded.
    Whole,
}

/// Reads row `row` of a page of `rows` rows, whose checksum has been verified.
pub(crate) fn decode_one(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    row: usize,
    entries: u32,
) -> Result<PageRow, FormatError> {
    match cursor.u8("page kind")? {
        KIND_VALUES => Ok(array_node::decode_one(cursor, data_type, rows, row)?.map_or(PageRow::Whole, PageRow::Value)),
        KIND_CODES => {
            if !array_node::decode_validity_one(cursor, rows, row)? {
                return Ok(PageRow::Code(None));
            }
            let code = integers::decode_one(cursor, rows, row)?;
            let known = u32::try_from(code).ok().filter(|&code| code < entries);
            let invalid = || cursor.invalid("dictionary code", format!("below {entries}"), code);
            known.map(|code| PageRow::Code(Some(code))).ok_or_else(invalid)
        }
        kind => Err(cursor.invalid("page kind", "0 or 1", kind)),
    }
}

fn decode_codes(cursor: &mut Cursor<'_>, rows: usize, entries: u32) -> Result<UInt32Array, FormatError> {
    let nulls = match array_node::decode_validity(cursor, rows)? {
        Validity::AllNull => return Ok(UInt32Array::new_null(rows)),
        Validity::Some(nulls) => nulls,
    };
    let codes: Vec<u32> = integers::decode(cursor, rows)?
        .into_iter()
        .map(|code| {
            u32::try_from(code)
                .ok()
                .filter(|&code| code < entries)
                .ok_or_else(|| cursor.invalid("dictionary code", format!("below {entries}"), code))
        })
        .collect::<Result<_, _>>()?;
    Ok(UInt32Array::new(codes.into(), nulls))
}
