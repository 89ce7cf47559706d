//! `earmark completions`: prints a shell's completions.

use clap::Command;

use crate::cli::output::print;
use crate::config::CompletionsArgs;

pub(super) fn run(mut command: Command, args: &CompletionsArgs) {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script));
}
