//! A Postgres cluster that a program starts, keeps running and stops by itself, for development and tests.
//!
//! `earmark dev` and the tests need a Postgres that nobody has to set up. [`Cluster::start`] finds the programs,
//! makes a cluster in a data folder if there is none, starts the server and supervises it:
//!
//! - **One process per data folder.** The process that owns the [`Cluster`] holds an exclusive `flock` on the folder.
//! - **No network.** The server listens on a unix socket only, in a short folder that its user and root alone can
//!   enter, and therefore asks for no password.
//! - **Never root.** If this process is root's, the server runs as the data folder's owner, or as `postgres` or
//!   `nobody` if root owns the folder. Where that user has no access to the folder or the programs, another place is
//!   used and named in [`Cluster::notes`].
//! - **A process group of its own.** Ctrl-C in a terminal signals this process but not the server, so that
//!   [`Cluster::stop`] can end the server last.
//! - **Adoption.** A server that outlived the process that started it is taken over; the files that a killed server left
//!   behind are removed.
//! - **Restarts.** A server that ends unexpectedly is started again, with pauses that grow from 50 ms to 5 s;
//!   [`Cluster::state`] reports each change.

mod binaries;
mod cluster;
mod data_dir;
mod endpoint;
mod error;
mod lock;
mod options;
mod paths;
mod permissions;
mod pid_file;
mod postmaster;
mod process;
mod socket;
mod state;
mod supervisor;
mod user;

pub use self::binaries::{PostgresBinaries, SUPPORTED_MAJORS, find_binaries};
pub use self::cluster::{Cluster, running_url};
pub use self::error::EmbeddedError;
pub use self::options::ClusterOptions;
pub use self::state::ClusterState;
