//! Holds the crates to the table of layers in `docs/architecture.md`.
//!
//! The page is the rule and `cargo metadata` is the fact: an edge that the table does not list fails the build, and so does a row without a crate
//! or a crate without a row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

type Edges = BTreeMap<String, BTreeSet<String>>;

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's root")
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace_root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace")
}

/// Reads the rows `| package | may depend on | must not |` of the section "Layers".
fn allowed_edges(page: &str) -> Edges {
    let section = page.split("\n## ").find(|section| section.starts_with("Layers")).expect("a section «Layers»");
    let mut edges = Edges::new();
    for line in section.lines().filter(|line| line.starts_with("| `colonnade-")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert!(cells.len() >= 4, "a row of three cells: {line}");
        let names = |cell: &str| -> BTreeSet<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let package = names(cells[1]).into_iter().next().expect("a package name");
        let before = edges.insert(package, names(cells[2]));
        assert!(before.is_none(), "one row for each package: {line}");
    }
    edges
}

/// The edges between workspace members, of the given kinds.
fn actual_edges(metadata: &Metadata, kinds: &[DependencyKind]) -> Edges {
    let members: BTreeSet<String> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let edges = package
                .dependencies
                .iter()
                .filter(|dependency| kinds.contains(&dependency.kind) && members.contains(&dependency.name))
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), edges)
        })
        .collect()
}

fn page() -> String {
    let path = workspace_root().join("docs/architecture.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_crate_has_a_row_and_every_row_a_crate() {
    let allowed: BTreeSet<String> = allowed_edges(&page()).into_keys().collect();
    let members: BTreeSet<String> = actual_edges(&metadata(), &[]).into_keys().collect();
    assert_eq!(allowed, members, "docs/architecture.md against the workspace's members");
}

#[test]
fn no_edge_is_outside_the_table() {
    let allowed = allowed_edges(&page());
    let actual = actual_edges(&metadata(), &[DependencyKind::Normal, DependencyKind::Build]);
    let forbidden: Vec<String> = actual
        .iter()
        .flat_map(|(package, edges)| edges.iter().map(move |edge| (package, edge)))
        .filter(|(package, edge)| !allowed.get(*package).is_some_and(|names| names.contains(*edge)))
        .map(|(package, edge)| format!("{package} -> {edge}"))
        .collect();
    assert!(forbidden.is_empty(), "docs/architecture.md does not allow: {}", forbidden.join(", "));
}

#[test]
fn tests_may_reach_down_and_use_testkit_but_never_reach_up() {
    let allowed = allowed_edges(&page());
    // Tests live at the side: these packages see everything and are seen by nothing.
    let outer = ["colonnade-sql-tests", "colonnade-benches"];
    for (package, edges) in actual_edges(&metadata(), &[DependencyKind::Development]) {
        for edge in edges {
            let fine = edge == "colonnade-testkit"
                || outer.contains(&package.as_str())
                || allowed.get(&package).is_some_and(|names| names.contains(&edge));
            assert!(fine, "the tests of {package} name {edge}");
        }
    }
}

#[test]
fn testkit_is_never_a_normal_dependency() {
    for (package, edges) in actual_edges(&metadata(), &[DependencyKind::Normal, DependencyKind::Build]) {
        assert!(!edges.contains("colonnade-testkit"), "{package} -> colonnade-testkit");
    }
}

#[test]
fn the_table_has_no_cycle() {
    let allowed = allowed_edges(&page());
    let mut done: BTreeSet<&String> = BTreeSet::new();
    while done.len() < allowed.len() {
        let ready: Vec<&String> = allowed
            .iter()
            .filter(|(package, edges)| !done.contains(package) && edges.iter().all(|edge| done.contains(edge)))
            .map(|(package, _)| package)
            .collect();
        assert!(!ready.is_empty(), "the packages that are left depend on each other");
        done.extend(ready);
    }
}

/// Crates that only certain layers may name: DataFusion stays out of storage, protocols out of execution, and so on.
#[test]
fn foreign_crates_stay_in_their_layer() {
    let rules: [(&str, &[&str]); 5] = [
        ("datafusion", &["colonnade-execution"]),
        ("sqlparser", &["colonnade-execution"]),
        ("pgwire", &["colonnade-server"]),
        ("axum", &["colonnade-server"]),
        ("memmap2", &["colonnade-storage"]),
    ];
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            if let Some((_, homes)) = rules.iter().find(|(name, _)| *name == dependency.name) {
                assert!(
                    homes.contains(&package.name.as_str()),
                    "{} names {}, which is {}'s",
                    package.name,
                    dependency.name,
                    homes.join(" and ")
                );
            }
        }
    }
    // A future is a value, such as the commit ticket; a runtime is what these layers must not have.
    let asynchronous = ["tokio", "async-trait"];
    for package in metadata.workspace_packages() {
        if ["colonnade-types", "colonnade-columnar", "colonnade-storage"].contains(&package.name.as_str()) {
            for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
                assert!(
                    !asynchronous.contains(&dependency.name.as_str()),
                    "{} is synchronous and names {}",
                    package.name,
                    dependency.name
                );
            }
        }
    }
}
