//! The `earmark` program: see `earmark --help`, and `cli` in the library for its commands.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // With huge pages an allocation of a few bytes in a fresh region makes 2 MiB resident, so that thousands of small
    // requests could take gigabytes. Without the setting, on an old kernel, the server works all the same.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    earmark::cli::main()
}
