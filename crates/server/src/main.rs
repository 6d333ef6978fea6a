//! The `colonnade` binary.
fn main() {}
