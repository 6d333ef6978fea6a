//! All file access. (Interface; the body lands separately.)

/// A directory of files.
pub trait Disk: Send + Sync + std::fmt::Debug {}
