//! `read_parquet('f')` and `read_csv('f')`.
//!
//! Both are DataFusion's listing tables over server files, with the columns' names folded to lower case where that keeps them apart.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use colonnade_types::{DisplaySettings, SqlState, SqlType, parse_value};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use crate::copy::files::{open_error, open_parquet};
use crate::copy::lines::{Fields, Splitter};
use crate::copy::options::{ColumnSet, CopyOptions, Header};
use crate::error::{Error, Result};
use crate::outcome::CopyFormat;

/// Bytes of a CSV file that its columns' types are guessed from.
const SAMPLE: u64 = 1 << 20;

/// Adds the functions to a state.
pub(crate) fn register(state: &mut SessionState) {
    state.register_udtf("read_parquet", Arc::new(ReadFile { csv: false }));
    state.register_udtf("read_csv", Arc::new(ReadFile { csv: true }));
}

/// Reads a file as a table.
#[derive(Debug)]
struct ReadFile {
    csv: bool,
}

impl TableFunctionImpl for ReadFile {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> DataFusionResult<Arc<dyn TableProvider>> {
        let name = if self.csv { "read_csv" } else { "read_parquet" };
        let path = match args.exprs() {
            [Expr::Literal(ScalarValue::Utf8(Some(path)) | ScalarValue::Utf8View(Some(path)), _)] => path,
            _ => {
                return Err(Error::new(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("function {name} takes one argument: the path of a file"),
                )
                .into());
            }
        };
        Ok(if self.csv { csv_table(path)? } else { parquet_table(path)? })
    }
}

fn parquet_table(path: &str) -> Result<Arc<dyn TableProvider>> {
    let (_, metadata) = open_parquet(path)?;
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                // Bytes without annotation are text in nearly every file.
                DataType::Binary | DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                other => other.clone(),
            };
            Field::new(field.name(), data_type, field.is_nullable())
        })
        .collect();
    listing(path, Arc::new(ParquetFormat::default()), Arc::new(Schema::new(fields)))
}

fn listing(path: &str, format: Arc<dyn FileFormat>, schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let url = ListingTableUrl::parse(path)?;
    let extension = std::path::Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or_default();
    let extension = if extension.is_empty() { String::new() } else { format!(".{extension}") };
    let options = ListingOptions::new(format).with_file_extension(extension);
    let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(Arc::clone(&schema));
    let table = ListingTable::try_new(config)?;
    folded(Arc::new(table), &schema)
}

/// Gives the columns lower-case names, unless two would be the same.
fn folded(table: Arc<dyn TableProvider>, schema: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for field in schema.fields() {
        *counts.entry(field.name().to_lowercase()).or_default() += 1;
    }
    if counts.values().any(|count| *count > 1) || schema.fields().iter().all(|f| f.name().to_lowercase() == *f.name()) {
        return Ok(table);
    }
    let exprs =
        schema.fields().iter().map(|f| Expr::Column(Column::new_unqualified(f.name())).alias(f.name().to_lowercase()));
    let plan = LogicalPlanBuilder::scan("file", provider_as_source(table), None)?.project(exprs)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn csv_table(path: &str) -> Result<Arc<dyn TableProvider>> {
    let file = std::fs::File::open(path).map_err(|error| open_error(path, &error))?;
    let mut sample = Vec::new();
    file.take(SAMPLE).read_to_end(&mut sample).map_err(|error| open_error(path, &error))?;
    let (schema, header) = guess(path, &sample)?;
    let format = CsvFormat::default().with_has_header(header).with_newlines_in_values(true);
    listing(path, Arc::new(format), schema)
}

/// Guesses names and types of a CSV file's columns, and whether its first line is a header.
fn guess(path: &str, sample: &[u8]) -> Result<(SchemaRef, bool)> {
    let options = CopyOptions {
        format: CopyFormat::Csv,
        delimiter: b',',
        null: String::new(),
        header: Header::Absent,
        quote: b'"',
        escape: b'"',
        force_quote: ColumnSet::None,
        force_not_null: ColumnSet::None,
        force_null: ColumnSet::None,
    };
    let mut splitter = Splitter::new(&options);
    splitter.feed(sample)?;
    let mut fields = Fields::default();
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    let mut last = (sample.len() as u64) < SAMPLE;
    loop {
        let record = match splitter.next() {
            Some(record) => record,
            None if last => {
                last = false;
                match splitter.last()? {
                    Some(record) => record,
                    None => break,
                }
            }
            None => break,
        };
        fields.read(splitter.bytes(record), &options)?;
        let values = (0..fields.len()).map(|index| {
            let (bytes, null, _) = fields.get(index);
            (!null).then(|| String::from_utf8_lossy(bytes).into_owned())
        });
        rows.push(values.collect());
    }
    let Some(first) = rows.first() else {
        return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("CSV file \"{path}\" is empty")));
    };
    let types = |from: usize| -> Vec<SqlType> {
        (0..first.len())
            .map(|column| column_type(rows[from..].iter().filter_map(|row| row.get(column)?.as_deref())))
            .collect()
    };
    let with_first = types(0);
    let without = types(1.min(rows.len()));
    let text = |t: &SqlType| *t == SqlType::Text;
    // A first line that is all text above typed columns, or distinct words, is a header.
    let header = rows.len() > 1
        && (with_first != without
            || (with_first.iter().all(text) && first.iter().all(|name| name.as_deref().is_some_and(is_word))));
    let chosen = if header { without } else { with_first };
    let fields: Vec<Field> = chosen
        .iter()
        .enumerate()
        .map(|(index, sql_type)| {
            let name =
                first.get(index).cloned().flatten().filter(|_| header).unwrap_or_else(|| format!("column{index}"));
            Field::new(name, sql_type.arrow_type(), true)
        })
        .collect();
    Ok((Arc::new(Schema::new(fields)), header))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || "_ .-".contains(c))
}

/// The narrowest type that takes all of some values.
fn column_type<'a>(values: impl Iterator<Item = &'a str> + Clone) -> SqlType {
    let settings = DisplaySettings::default();
    if values.clone().next().is_none() {
        return SqlType::Text;
    }
    for candidate in [SqlType::BigInt, SqlType::DoublePrecision, SqlType::Boolean, SqlType::Date, SqlType::Timestamp] {
        let plain = |text: &str| match candidate {
            SqlType::BigInt | SqlType::DoublePrecision => text.bytes().any(|b| b.is_ascii_digit()),
            SqlType::Boolean => matches!(text.to_ascii_lowercase().as_str(), "true" | "false"),
            _ => text.len() >= 8 && text.as_bytes()[0].is_ascii_digit() && text.contains('-'),
        };
        if values.clone().all(|text| plain(text) && parse_value(&candidate, text, &settings).is_ok()) {
            return candidate;
        }
    }
    SqlType::Text
}
