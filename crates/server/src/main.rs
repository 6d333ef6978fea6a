//! The `colonnade` binary.

use std::process::ExitCode;

/// Analytics allocate and free large buffers on many threads, which the system's allocator gives back slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    colonnade_server::command::run(std::env::args_os(), std::env::vars_os())
}
