//! The folder of the unix socket of a server.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::data_dir::DataDir;
use crate::endpoint::PORT;
use crate::error::{EmbeddedError, IoErrorContext as _};
use crate::paths::short_hash;
use crate::process::is_postmaster;
use crate::user::make_owned_dir;

/// Short, since the path of a unix socket has at most 107 bytes on Linux and 103 on macOS.
const PREFIX: &str = "/tmp/earmark-";
const ATTEMPTS: usize = 10;

/// Makes or reuses a folder for a new server's socket, which only the server's user and root can enter.
///
/// `preferred` is the folder that the server had before a restart, so that its URL stays valid. Otherwise the name is derived
/// from the cluster's path and is the same at every start, unless another user or server has taken it.
pub(crate) fn claim(
    data_dir: &DataDir,
    preferred: Option<&Path>,
) -> Result<PathBuf, EmbeddedError> {
    let name = format!("{PREFIX}{}", short_hash(&data_dir.pgdata));
    let numbered = (1..ATTEMPTS).map(|number| PathBuf::from(format!("{name}-{number}")));
    let derived = std::iter::once(PathBuf::from(&name)).chain(numbered);
    for dir in preferred.map(Path::to_owned).into_iter().chain(derived) {
        match make_owned_dir(&dir, data_dir.run_as.as_ref()) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).at("create the socket's folder", dir);
            }
            Err(_already_there)
                if is_ours(&dir, data_dir) && !is_occupied(&dir, &data_dir.pgdata) =>
            {
                remove_leftovers(&dir)?;
                return Ok(dir);
            }
            Err(_already_there) => {}
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("use the socket's folder", name)
}

/// Removes the folder of a server that has ended, if [`claim`] has made it and it is empty.
pub(crate) fn remove(dir: &Path) {
    if dir.to_string_lossy().starts_with(PREFIX) {
        _ = fs::remove_dir(dir);
    }
}

fn is_ours(dir: &Path, data_dir: &DataDir) -> bool {
    let owner = data_dir
        .run_as
        .as_ref()
        .map_or_else(|| Uid::effective().as_raw(), |user| user.uid);
    fs::symlink_metadata(dir)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == owner && meta.mode() & 0o077 == 0)
}

fn socket_path(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}"))
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}.lock"))
}

/// Whether a server listens in this folder: the one of `pgdata`, or of a deleted data folder with the same path.
fn is_occupied(dir: &Path, pgdata: &Path) -> bool {
    let text = fs::read_to_string(lock_path(dir)).unwrap_or_default();
    let holder = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let deleted = PathBuf::from(format!("{} (deleted)", pgdata.display()));
    holder.is_some_and(|pid| is_postmaster(pid, pgdata) || is_postmaster(pid, &deleted))
}

/// Removes socket and lock file of a killed server: Postgres refuses to start if the pid in the lock file is in use again.
fn remove_leftovers(dir: &Path) -> Result<(), EmbeddedError> {
    for leftover in [lock_path(dir), socket_path(dir)] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).at("delete", leftover);
            }
            _ => {}
        }
    }
    Ok(())
}
