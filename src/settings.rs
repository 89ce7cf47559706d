//! Where the values of settings come from.
//!
//! A setting is an argument of a command that has an environment variable. Its value is that of the flag, else of the
//! environment variable, else of the configuration file, else its default. Everything here is made from the commands as
//! clap describes them, so that a new flag is also a key of the file, a line of `earmark config`, a property of the
//! JSON schema and a row of `docs/configuration.md`.

mod effective;
mod file;
#[cfg(all(test, feature = "dev"))]
pub(crate) mod page;
mod resolve;
mod schema;
mod setting;

pub(crate) use effective::EffectiveSettings;
pub(crate) use resolve::{ResolveError, ResolvedCommand, resolve};
pub(crate) use schema::schema;
#[cfg(all(test, feature = "dev"))]
pub(crate) use setting::settings_of;
