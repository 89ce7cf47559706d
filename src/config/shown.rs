//! Arguments of the commands that show what the program is: its settings, completions and manual pages. They are no
//! settings, and have no environment variables.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Arguments of `earmark config`, besides the flags of `earmark serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowConfigArgs {
    /// Check the settings and the files that they name, and print what is wrong. Connects to nothing
    #[arg(long, conflicts_with_all = ["schema", "show_secrets"])]
    pub(crate) check: bool,

    /// Print the JSON schema of the configuration file, and nothing else
    #[arg(long, conflicts_with = "show_secrets")]
    pub(crate) schema: bool,

    /// Print passwords and other secrets as they are
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

/// Arguments of `earmark completions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell that they are for
    pub(crate) shell: Shell,
}

/// Arguments of `earmark man`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// The command whose page is printed. Without it: the page of the program
    #[arg(value_name = "COMMAND", conflicts_with = "folder")]
    pub(crate) page: Option<String>,

    /// Write the pages of all commands to this folder, which is created, instead of printing one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}
