//! COPY in both directions.
//!
//! | module | one sentence |
//! |---|---|
//! | `options` | The options, checked. |
//! | `lines` | Text and CSV cut into records and fields. |
//! | `load` | COPY FROM: bytes into rows. |
//! | `unload` | COPY TO: rows into bytes. |
//! | `files` | Files of the server, Parquet among them. |
//! | `table_functions` | `read_parquet`, `read_csv`. |

mod files;
mod lines;
mod load;
mod options;
pub(crate) mod table_functions;
mod unload;

use std::sync::Arc;

use bytes::Bytes;
use colonnade_types::SqlState;
use sqlparser::ast;

use crate::binder::syntax::Parameters;
use crate::copy::load::Loader;
use crate::copy::options::CopyOptions;
use crate::copy::unload::Writer;
use crate::dml::checks::Checks;
use crate::dml::insert::{column_place, missing_defaults};
use crate::dml::sink::Sink;
use crate::error::{Error, Result};
use crate::names::fold;
use crate::outcome::{CommandTag, CopyFormat, Outcome};
use crate::planner::{physical_plan, run as run_plan, types_of};
use crate::rewrite::as_names;
use crate::session::Session;

/// A parsed COPY.
#[derive(Clone, Debug)]
pub(crate) struct CopyStatement {
    pub(crate) source: CopySource,
    pub(crate) to: bool,
    pub(crate) target: CopyTarget,
    pub(crate) options: Vec<(String, CopyOptionValue)>,
}

#[derive(Clone, Debug)]
pub(crate) enum CopySource {
    Table { name: ast::ObjectName, columns: Vec<ast::Ident> },
    Query(Box<ast::Query>),
}

#[derive(Clone, Debug)]
pub(crate) enum CopyTarget {
    Client,
    File(String),
}

/// An option's value as written.
#[derive(Clone, Debug)]
pub(crate) enum CopyOptionValue {
    None,
    Word(String),
    List(Vec<String>),
    All,
}

/// A load that takes its data from the client.
pub struct CopyIn {
    /// The data's format.
    pub format: CopyFormat,
    /// Number of columns in a row.
    pub column_count: usize,
    loader: Box<Loader>,
}

impl CopyIn {
    /// Takes more data; rows may be cut anywhere.
    ///
    /// # Errors
    /// The first bad row, with its line and column as context; the load cannot go on.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.loader.write(&data).await
    }

    /// Ends the load.
    ///
    /// # Errors
    /// If the data ends within a row, or a row is refused.
    pub async fn finish(self) -> Result<CommandTag> {
        Ok(CommandTag::new(format!("COPY {}", self.loader.finish().await?)))
    }

    /// Gives up because the client said so, and returns the error to report.
    #[must_use]
    pub fn abort(self, message: &str) -> Error {
        Error::new(SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {message}"))
    }
}

/// Runs a COPY.
pub(crate) async fn run(session: &mut Session, copy: &CopyStatement, parameters: &Parameters) -> Result<Outcome> {
    let options = CopyOptions::of(copy)?;
    if let CopyTarget::File(_) = copy.target {
        if !session.engine().options().files {
            return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, "COPY with files of the server is switched off")
                .with_hint("COPY FROM STDIN and COPY TO STDOUT work for anyone; psql's \\copy uses them."));
        }
    } else if options.format == CopyFormat::Parquet {
        return Err(Error::unsupported("COPY of Parquet data over the connection"));
    }
    if copy.to { unload_to(session, copy, options, parameters).await } else { load_from(session, copy, options).await }
}

async fn load_from(session: &mut Session, copy: &CopyStatement, options: CopyOptions) -> Result<Outcome> {
    let CopySource::Table { name, columns } = &copy.source else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "COPY FROM takes a table"));
    };
    let context = session.write_context("COPY FROM")?;
    let binder = session.binder();
    let table = context.open(binder, name).await?;
    let mut places = Vec::new();
    for column in columns {
        let name = fold(column);
        let place = column_place(&table, &name)?;
        if places.contains(&place) {
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        places.push(place);
    }
    if columns.is_empty() {
        places = (0..table.columns.len()).collect();
    }
    let catalog = context.with(|t| t.catalog())?;
    let missing = missing_defaults(binder, &table, &places, &catalog)?;
    let sink = Sink::new(context.clone(), Arc::clone(&table), Checks::new(binder, &table, &catalog)?);
    let settings = binder.display();
    let format = options.format;
    let column_count = places.len();
    let loader = Loader::new(table, places, missing, options, settings.clone(), sink);
    match &copy.target {
        CopyTarget::Client => Ok(Outcome::CopyIn(CopyIn { format, column_count, loader: Box::new(loader) })),
        CopyTarget::File(path) => {
            let rows = if format == CopyFormat::Parquet {
                files::load_parquet(path, loader, &settings, context.threads, session.guard()).await?
            } else {
                files::load_bytes(path, loader, session.guard()).await?
            };
            Ok(Outcome::Command(CommandTag::new(format!("COPY {rows}"))))
        }
    }
}

async fn unload_to(
    session: &mut Session,
    copy: &CopyStatement,
    options: CopyOptions,
    parameters: &Parameters,
) -> Result<Outcome> {
    let query = match &copy.source {
        CopySource::Query(query) => query.clone(),
        CopySource::Table { name, columns } => {
            let mut query = crate::parser::parse_query("SELECT * FROM t")?;
            if let ast::SetExpr::Select(select) = query.body.as_mut() {
                if let Some(ast::TableFactor::Table { name: table, .. }) =
                    select.from.first_mut().map(|from| &mut from.relation)
                {
                    table.clone_from(name);
                }
                if !columns.is_empty() {
                    let item =
                        |column: &ast::Ident| ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(column.clone()));
                    select.projection = columns.iter().map(item).collect();
                }
            }
            query
        }
    };
    let snapshot = session.snapshot()?;
    let binder = session.binder();
    let scope = binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot));
    let bound = as_names(binder.plan(&query, scope, parameters)?, &binder.state)?;
    let plan = physical_plan(&binder.state, &bound.plan).await?;
    let batches = run_plan(&binder.state, plan, types_of(&bound.schema), session.guard().clone())?;
    let format = options.format;
    let schema = Arc::new(bound.schema);
    let writer = Writer::new(options, Arc::clone(&schema), binder.display());
    match &copy.target {
        CopyTarget::Client => Ok(Outcome::CopyOut(unload::stream(writer, batches))),
        CopyTarget::File(path) => {
            let rows = if format == CopyFormat::Parquet {
                files::unload_parquet(path, &schema, batches).await?
            } else {
                files::unload_bytes(path, writer, batches).await?
            };
            Ok(Outcome::Command(CommandTag::new(format!("COPY {rows}"))))
        }
    }
}
