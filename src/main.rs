//! The `earmark` program: see `earmark --help`, and `cli` in the library for its commands.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    earmark::cli::main()
}
