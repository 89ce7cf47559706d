//! Settings that name files with values of other settings. They are used before the others are read: see `settings`.

use std::path::PathBuf;

use clap::Args;

/// Display order of options that follow a command's own ones in its help, before `--help`.
pub(super) const LAST: usize = 900;

/// The setting that names the configuration file.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigFileArgs {
    /// A TOML file with settings, whose keys are the names of flags. Flags and environment variables come before it
    ///
    /// A key at the top is for every command that has the flag; one in a table such as [serve] is for that command, and
    /// one in [serve] also for `doctor`, which looks at what `serve` would use. A key that no command has, or a value
    /// that the flag would refuse, is an error that names the line. A relative path starts at the working directory,
    /// here and in the file.
    #[arg(
        long,
        env = "EARMARK_CONFIG",
        global = true,
        display_order = LAST,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
}

/// The setting that names a file with the database's URL.
#[derive(Args, Clone, Debug)]
pub(super) struct DatabaseUrlFileArgs {
    /// A file whose only content is the value of --database-url, such as a mounted secret
    ///
    /// It is read at the start. Of this and --database-url the one that is set by the stronger source counts: flag,
    /// environment variable, configuration file, in this order. Both set by the same is an error.
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}
