//! Segments written once by each format version stay readable for ever.
//!
//! A fixture is never written again. For a new format version, add a directory and run
//! `cargo test -p colonnade-columnar --test fixtures -- --ignored`, which writes only files that do not exist.

mod common;

use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use colonnade_columnar::WriteOptions;
use common::{assert_holds, columns, segment};

/// Name, rows, and one NULL in so many.
const FIXTURES: [(&str, usize, usize); 5] =
    [("empty", 0, 0), ("one_row", 1, 0), ("all_null", 70, 1), ("no_null", 700, 0), ("two_granules", 8_300, 4)];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(format!("{name}.segment"))
}

/// The fixtures' columns; the larger fixture leaves the incompressible ones out.
fn contents(rows: usize, null_every: usize) -> Vec<ArrayRef> {
    let columns = columns(rows, null_every);
    if rows < 8_000 {
        return columns;
    }
    [0, 3, 4, 7, 8, 13, 15, 17, 19, 21, 23, 28, 30, 33, 36].into_iter().map(|index| columns[index].clone()).collect()
}

#[test]
fn version_1_reads_as_written() {
    for (name, rows, null_every) in FIXTURES {
        let bytes = std::fs::read(path(name)).unwrap();
        assert_holds(bytes, &contents(rows, null_every));
    }
}

#[test]
#[ignore = "writes fixtures that are missing"]
fn write_missing_fixtures() {
    std::fs::create_dir_all(path("").parent().unwrap()).unwrap();
    for (name, rows, null_every) in FIXTURES {
        if !path(name).exists() {
            std::fs::write(path(name), segment(&contents(rows, null_every), &WriteOptions::default())).unwrap();
        }
    }
}
