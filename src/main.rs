use std::process::ExitCode;

fn main() -> ExitCode {
    earmark::cli::main()
}
