//! Runs the files of `cases/`: in process, over the wire, and against PostgreSQL. `.slt` files are sqllogictest's, `.script` files have several sessions
//! that wait for each other ([`script`]) and run over the wire and against PostgreSQL.
//!
//! ```text
//! cargo test --workspace --test slt                          all files, in process and over the wire
//! cargo test --workspace --test slt -- types/numeric         those whose name holds a word
//! COLONNADE_PG_COMPAT_URL=postgresql://... cargo test ...    files labelled pg_compat against PostgreSQL too
//! COLONNADE_SLT_UPDATE=postgres | wire   cargo test ...      writes what was found into the files: review the difference by eye
//! ```
//!
//! Values are PostgreSQL's text forms, columns separated by `|`; NULL is `NULL`, the empty string `(empty)`, a line break `\n`.
//! Errors are `SQLSTATE: message`.

mod database;
mod in_process;
mod postgres;
mod result_text;
mod script;
mod wire;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, MakeConnection, Runner};

use crate::database::Database;
use crate::result_text::{Type, compare, normalise};

/// Where a file is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    InProcess,
    Wire,
    Postgres,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::InProcess => "in_process",
            Place::Wire => "wire",
            Place::Postgres => "postgres",
        }
    }
}

/// One `.slt` file.
#[derive(Clone)]
struct Case {
    path: PathBuf,
    name: String,
    pg_compat: bool,
    known_failure: bool,
}

fn main() {
    let arguments = Arguments::from_args();
    let postgres = std::env::var("COLONNADE_PG_COMPAT_URL").ok();
    let update = std::env::var("COLONNADE_SLT_UPDATE").unwrap_or_default();
    let mut trials = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    for case in cases(&root) {
        // A known failure may be one of types, which the client library of the wire does not show.
        let mut places = if case.known_failure { vec![Place::InProcess] } else { vec![Place::InProcess, Place::Wire] };
        if case.pg_compat && postgres.is_some() {
            places.push(Place::Postgres);
        }
        if !update.is_empty() {
            places.retain(|place| place.name() == update);
        }
        for place in places {
            let (case, url, update) = (case.clone(), postgres.clone(), !update.is_empty());
            let name = format!("{}::{}", place.name(), case.name);
            trials.push(Trial::test(name, move || run(&case, place, url.as_deref(), update)));
        }
    }
    trials.extend(script::trials(&root, postgres.as_deref(), &update));
    libtest_mimic::run(&arguments, trials).exit();
}

/// All files with an extension below a directory, by name.
fn files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|other| other == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All `.slt` files.
fn cases(root: &Path) -> Vec<Case> {
    let case = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(root).unwrap_or(&path).with_extension("").display().to_string();
        let pg_compat = text.lines().take(3).any(|line| line.starts_with("# labels:") && line.contains("pg_compat"));
        Case { known_failure: name.starts_with("known_failures/"), path, name, pg_compat }
    };
    let mut cases: Vec<Case> = files(root, "slt").into_iter().map(case).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Runs a future on a runtime of its own.
fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// Runs one file in one place.
fn run(case: &Case, place: Place, postgres: Option<&str>, update: bool) -> Result<(), Failed> {
    let result = block_on(async {
        let database = Database::open(place, postgres, &case.name).await?;
        let result = match place {
            Place::InProcess => check(case, &database, update, || in_process::Connection::open(&database)).await,
            Place::Wire | Place::Postgres => check(case, &database, update, || wire::Connection::open(&database)).await,
        };
        database.close().await;
        result
    });
    match (case.known_failure && place != Place::Postgres && !update, result) {
        (false, result) => result.map_err(Failed::from),
        (true, Err(_)) => Ok(()),
        (true, Ok(())) => Err("this passes now: move the file out of known_failures".into()),
    }
}

async fn check<C, D>(case: &Case, database: &Database, update: bool, connect: C) -> Result<(), String>
where
    C: MakeConnection<Conn = D>,
    D: AsyncDB<ColumnType = Type>,
{
    let mut runner = Runner::new(connect);
    runner.with_normalizer(normalise);
    runner.with_validator(compare);
    runner.with_column_validator(Type::same);
    runner.set_var("DIRECTORY".to_owned(), database.directory().display().to_string());
    let result = if update {
        let updated = runner.update_test_file(&case.path, "|", compare, normalise, Type::same).await;
        updated.map_err(|error| error.to_string())
    } else {
        runner.run_file_async(&case.path).await.map_err(|error| error.to_string())
    };
    runner.shutdown_async().await;
    result
}
