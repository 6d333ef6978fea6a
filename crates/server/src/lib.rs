//! Speaks PostgreSQL and HTTP, reads configuration, owns the life of the process.
//!
//! | module | one sentence |
//! |---|---|
//! | [`config`] | What the operator may choose. |
//! | [`command`] | The command line: `serve`, `demo`, `config`. |
//! | [`server`] | The life of the process, from lock to checkpoint. |
//! | `wire` | PostgreSQL's protocol. |
//! | `http` | Queries, health and figures over HTTP. |
//! | `demo` | TPC-H data, generated and loaded, for a first look. |
//! | [`logging`], `metrics` | What the operator sees. |
//!
//! # Life of a statement
//!
//! Bytes become a frame (`wire::reader`), a message, and a text given to `Session::parse`. `Session::execute` returns a stream of
//! batches; each is encoded by column into the connection's one output buffer, which is written out when it is full, or when the client's input
//! is used up. While the statement runs, the connection also watches its socket and the life of the process: a client that vanishes, a cancel
//! request and a shutdown all end in the statement's `CancelHandle`.

pub mod command;
pub mod config;
mod credentials;
mod demo;
mod http;
pub mod logging;
mod metrics;
mod phase;
pub mod server;
mod service;
mod wire;

pub use config::{Config, ConfigError};
pub use server::{Server, StartError, StopError};
