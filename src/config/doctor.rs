//! Settings of `earmark doctor`: those of `serve`, so that it looks at what a server would use.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum};

use crate::config::ServeArgs;

/// The value of settings that `serve` demands and that `doctor` was not given. No issuer or audience is written like this.
const NOT_GIVEN: &str = "<not given>";

/// The settings that `serve` demands and `doctor` can do without.
const OPTIONAL: [&str; 2] = ["issuer", "audience"];

/// How the findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// One line for each check, and one with advice where there is any.
    Text,
    /// One JSON object, for programs.
    Json,
}

/// Settings of `earmark doctor`.
#[derive(Args, Clone)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) examined: ExaminedArgs,

    /// Exit with 1 also if there are warnings and no problem
    #[arg(long, env = "EARMARK_DOCTOR_STRICT")]
    pub(crate) strict: bool,

    /// How the findings are printed: as text, or as JSON whose form docs/operations.md describes
    #[arg(
        long,
        env = "EARMARK_DOCTOR_FORMAT",
        value_enum,
        default_value_t = DoctorFormat::Text
    )]
    pub(crate) format: DoctorFormat,
}

/// The settings of a server that is to be examined, of which only the database's URL must be given.
#[derive(Clone)]
pub(crate) struct ExaminedArgs {
    pub(crate) serve: ServeArgs,
}

impl ExaminedArgs {
    /// Whether there is anything that the keys of tokens can be read from.
    pub(crate) fn names_keys(&self) -> bool {
        let tokens = &self.serve.tokens;
        tokens.has_jwks() || tokens.issuer() != NOT_GIVEN
    }
}

impl Args for ExaminedArgs {
    fn augment_args(command: Command) -> Command {
        let with_serve = ServeArgs::augment_args(command);
        OPTIONAL
            .into_iter()
            .fold(with_serve, |command, name| command.mut_arg(name, can_lack))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn can_lack(argument: clap::Arg) -> clap::Arg {
    argument
        .required(false)
        .default_value(NOT_GIVEN)
        .hide_default_value(true)
}

impl FromArgMatches for ExaminedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let serve = ServeArgs::from_arg_matches(matches)?;
        Ok(Self { serve })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.serve.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct OnlyDoctor {
        #[command(flatten)]
        doctor: DoctorArgs,
    }

    fn parsed(arguments: &[&str]) -> ExaminedArgs {
        let all = [
            &["earmark", "--database-url", "postgres://h/d"][..],
            arguments,
        ];
        let parsed = OnlyDoctor::try_parse_from(all.concat());
        parsed.expect("arguments").doctor.examined
    }

    #[test]
    fn only_the_database_must_be_given() {
        assert!(!parsed(&[]).names_keys());
        assert!(parsed(&["--jwks", "f.json"]).names_keys());
        assert!(parsed(&["--issuer", "https://a.example"]).names_keys());
        assert!(!parsed(&["--audience", "a"]).names_keys());
        assert!(OnlyDoctor::try_parse_from(["earmark", "--strict"]).is_err());
    }
}
