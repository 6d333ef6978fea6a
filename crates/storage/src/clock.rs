//! Time. (Interface; the body lands separately.)

/// What time it is.
pub trait Clock: Send + Sync + std::fmt::Debug {}
