//! Golden scripts of several sessions, in which statements wait for each other: what they are and how they are run.
//!
//! ```text
//! # Lost update: the second writer waits for the first ...        the first line says what the file shows
//! a: BEGIN
//!   BEGIN                                                          the answer, indented by two
//! a: UPDATE t SET v = 1 WHERE id = 1
//!   UPDATE 1
//! b: UPDATE t SET v = 2 WHERE id = 1
//!   waits                                                          no answer: it waits for a lock
//! a: COMMIT
//!   COMMIT
//!   b: UPDATE 1                                                    what this let go on
//! b!: UPDATE t SET v = 3 WHERE id = 9                              until it ends by itself, however long it waits
//!   ERROR 55P03: canceling statement due to lock timeout
//! ```
//!
//! A session is connected when it is first named. Rows are printed as the `.slt` files print them. After every statement the runner lets everything
//! settle: each session has answered, or **is known to wait for a lock**, as the server itself says; no outcome hangs on a length of time.
//!
//! [`file`] reads and writes the form, [`client`] is one connection, [`run`] plays a file against a server.

mod client;
mod file;
mod run;

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::Place;
use crate::database::Database;
use file::Script;

/// One `.script` file.
#[derive(Clone)]
struct Case {
    path: PathBuf,
    name: String,
}

impl Case {
    /// Whether the file states PostgreSQL's answers where ours differ; ours are in a file beside it.
    fn differs(&self) -> bool {
        self.path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "known_differences")
    }

    /// The file that holds what is expected in one place.
    fn golden(&self, place: Place) -> PathBuf {
        match place {
            Place::Postgres => self.path.clone(),
            _ if self.differs() => self.path.with_extension("ours"),
            _ => self.path.clone(),
        }
    }
}

/// A trial for every file and place.
pub(crate) fn trials(root: &Path, postgres: Option<&str>, update: &str) -> Vec<Trial> {
    let mut trials = Vec::new();
    for path in crate::files(root, "script") {
        let name = path.strip_prefix(root).unwrap_or(&path).with_extension("").display().to_string();
        let case = Case { path, name };
        for place in [Place::Wire, Place::Postgres] {
            if (place == Place::Postgres && postgres.is_none()) || (!update.is_empty() && place.name() != update) {
                continue;
            }
            let (case, url, update) = (case.clone(), postgres.map(str::to_owned), !update.is_empty());
            let name = format!("{}::{}", place.name(), case.name);
            trials.push(Trial::test(name, move || play(&case, place, url.as_deref(), update)));
        }
    }
    trials
}

/// Runs one file in one place and compares, or writes what was found.
fn play(case: &Case, place: Place, postgres: Option<&str>, update: bool) -> Result<(), Failed> {
    let text = read(&case.path)?;
    let script = Script::parse(&text)?;
    if !script.comment().starts_with("# ") {
        return Err("the first line does not say what the file shows".into());
    }
    let found = crate::block_on(async {
        let database = Database::open(place, postgres, &case.name).await?;
        let found = run::run(&script, place, &database.connection_string()).await;
        database.close().await;
        found
    })?;
    let golden = case.golden(place);
    if place != Place::Postgres && case.differs() && !golden.exists() {
        // Ours varies, for the reason that the file gives; it has come to its end.
        return Ok(());
    }
    if update {
        std::fs::write(&golden, &found).map_err(|error| format!("{}: {error}", golden.display()))?;
        return Ok(());
    }
    let expected = read(&golden)?;
    if found != expected {
        return Err(difference(&expected, &found).into());
    }
    if case.differs() && place != Place::Postgres && found == text {
        return Err("this is as in PostgreSQL now: move the file out of known_differences".into());
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Both texts, the lines that differ marked.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same = expected.iter().zip(&found).take_while(|(e, f)| e == f).count();
    let mut text = format!("line {} differs; before it:\n", same + 1);
    let mut add = |mark: &str, lines: &[&str]| {
        for line in lines {
            text += &format!("{mark} {line}\n");
        }
    };
    add(" ", &found[same.saturating_sub(8)..same]);
    add("- expected:", &expected[same..expected.len().min(same + 6)]);
    add("+ found:   ", &found[same..found.len().min(same + 6)]);
    text
}
