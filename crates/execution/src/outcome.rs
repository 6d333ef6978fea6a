//! What a statement gives back.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use colonnade_types::SqlType;
use futures::Stream;

use crate::copy::CopyIn;
use crate::error::Result;

/// The result of one statement.
pub enum Outcome {
    /// The statement was empty.
    Empty,
    /// It is done, and this is its tag.
    Command(CommandTag),
    /// It returns rows.
    Rows(RowStream),
    /// It waits for data (`COPY ... FROM STDIN`).
    CopyIn(CopyIn),
    /// It sends data (`COPY ... TO STDOUT`).
    CopyOut(CopyOut),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Empty => f.write_str("Empty"),
            Outcome::Command(tag) => write!(f, "Command({tag})"),
            Outcome::Rows(_) => f.write_str("Rows"),
            Outcome::CopyIn(_) => f.write_str("CopyIn"),
            Outcome::CopyOut(_) => f.write_str("CopyOut"),
        }
    }
}

/// What a finished statement is reported as: `CREATE TABLE`, `INSERT 0 5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTag(Cow<'static, str>);

impl CommandTag {
    /// A tag of words only.
    #[must_use]
    pub fn new(tag: impl Into<Cow<'static, str>>) -> CommandTag {
        CommandTag(tag.into())
    }

    /// The tag's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the tag of a statement that returns rows is made from their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagRule {
    /// The words, then the number of rows: `SELECT 3`, `INSERT 0 3`.
    Count(&'static str),
    /// The words alone: `SHOW`, `EXPLAIN`.
    Words(&'static str),
    /// The words and a number that is not that of the rows sent.
    Fixed(String),
}

/// Rows as they come.
pub struct RowStream {
    /// Names and types of the columns.
    pub schema: Arc<ResultSchema>,
    /// The rows. Each batch has one array per column of `schema`, of [`SqlType::arrow_type`]'s form.
    pub batches: RowBatches,
    /// How the tag is made.
    pub tag: TagRule,
}

/// The batches of a [`RowStream`]: computed as they are asked for, or there already.
pub struct RowBatches(Batches);

enum Batches {
    Ready(Option<RecordBatch>),
    Stream(Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>),
}

impl RowBatches {
    /// All rows, which are there.
    #[must_use]
    pub fn ready(batch: RecordBatch) -> RowBatches {
        RowBatches(Batches::Ready(Some(batch)))
    }

    /// Rows as a stream gives them.
    #[must_use]
    pub fn stream(stream: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> RowBatches {
        RowBatches(Batches::Stream(Box::pin(stream)))
    }

    /// What the stream would give next, if that is known without computing anything: a batch, or the end.
    pub fn next_ready(&mut self) -> Option<Option<RecordBatch>> {
        match &mut self.0 {
            Batches::Ready(batch) => Some(batch.take()),
            Batches::Stream(_) => None,
        }
    }
}

impl Stream for RowBatches {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        match &mut self.0 {
            Batches::Ready(batch) => Poll::Ready(batch.take().map(Ok)),
            Batches::Stream(stream) => stream.as_mut().poll_next(context),
        }
    }
}

impl RowStream {
    /// The statement's tag once `rows` rows have been sent.
    #[must_use]
    pub fn tag(&self, rows: u64) -> CommandTag {
        CommandTag(match &self.tag {
            TagRule::Count(words) => format!("{words} {rows}").into(),
            TagRule::Words(words) => Cow::Borrowed(words),
            TagRule::Fixed(text) => text.clone().into(),
        })
    }
}

/// Names and types of the columns of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultSchema {
    /// The columns in order. Names need not differ.
    pub columns: Vec<ResultColumn>,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultColumn {
    /// The name shown.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The table that it is a plain column of, or 0.
    pub table_oid: u32,
    /// Its attribute number there, or 0.
    pub column_id: i16,
}

impl ResultSchema {
    /// A schema of text columns, as utility statements return them.
    #[must_use]
    pub fn text(names: &[&str]) -> ResultSchema {
        let column = |name: &&str| ResultColumn {
            name: (*name).to_owned(),
            sql_type: SqlType::Text,
            table_oid: 0,
            column_id: 0,
        };
        ResultSchema { columns: names.iter().map(column).collect() }
    }

    /// The Arrow schema of its batches.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<_> = self.columns.iter().map(|c| c.sql_type.field(&c.name, true)).collect();
        Arc::new(arrow::datatypes::Schema::new(fields))
    }
}

/// The format of COPY data on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// PostgreSQL's tab-separated text.
    Text,
    /// Comma-separated values.
    Csv,
    /// PostgreSQL's binary form.
    Binary,
    /// Parquet; server files only.
    Parquet,
}

/// Data that a COPY sends.
pub struct CopyOut {
    /// Its format.
    pub format: CopyFormat,
    /// Number of columns in a row.
    pub column_count: usize,
    /// The bytes; a chunk ends at a row's end.
    pub chunks: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
    /// Rows sent so far; complete when `chunks` has ended.
    pub(crate) rows: Arc<std::sync::atomic::AtomicU64>,
}

impl CopyOut {
    /// The tag, after the last chunk has been taken.
    #[must_use]
    pub fn tag(&self) -> CommandTag {
        CommandTag::new(format!("COPY {}", self.rows.load(std::sync::atomic::Ordering::Relaxed)))
    }
}
