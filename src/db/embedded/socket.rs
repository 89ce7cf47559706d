//! The folder of the unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::error::{EmbeddedError, IoContext as _};
use super::home::{Home, make_owned_dir, short_hash};
use super::postmaster::{PORT, is_postmaster};

/// Short, since a socket's path has room for about 100 bytes.
const PREFIX: &str = "/tmp/earmark-";
const ATTEMPTS: usize = 10;

/// A folder that only the cluster's user and root can enter, free for a new server.
///
/// `preferred` is the one that the server had before, so that its URL stays. Else the name follows from the
/// cluster's path: the same at every start, unless somebody else sits there.
pub(super) fn claim(home: &Home, preferred: Option<&Path>) -> Result<PathBuf, EmbeddedError> {
    let name = format!("{PREFIX}{}", short_hash(&home.pgdata));
    let numbered = (1..ATTEMPTS).map(|number| PathBuf::from(format!("{name}-{number}")));
    let derived = std::iter::once(PathBuf::from(&name)).chain(numbered);
    for dir in preferred.map(Path::to_owned).into_iter().chain(derived) {
        match make_owned_dir(&dir, home.run_as.as_ref()) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).at("create the socket's folder", dir);
            }
            Err(_already_there) if is_ours(&dir, home) && !is_occupied(&dir, &home.pgdata) => {
                remove_leftovers(&dir)?;
                return Ok(dir);
            }
            Err(_already_there) => {}
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("use the socket's folder", name)
}

/// Removes the folder of a server that has ended, if it was made here and is empty.
pub(super) fn remove(dir: &Path) {
    if dir.to_string_lossy().starts_with(PREFIX) {
        _ = fs::remove_dir(dir);
    }
}

fn is_ours(dir: &Path, home: &Home) -> bool {
    let owner = home
        .run_as
        .as_ref()
        .map_or_else(|| Uid::effective().as_raw(), |user| user.uid);
    fs::symlink_metadata(dir)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == owner && meta.mode() & 0o077 == 0)
}

fn socket(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}"))
}

fn lock(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}.lock"))
}

/// Whether a server listens here: of a data folder of this name that was deleted under it, since no other hashes so.
fn is_occupied(dir: &Path, pgdata: &Path) -> bool {
    let text = fs::read_to_string(lock(dir)).unwrap_or_default();
    let holder = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let deleted = PathBuf::from(format!("{} (deleted)", pgdata.display()));
    holder.is_some_and(|pid| is_postmaster(pid, pgdata) || is_postmaster(pid, &deleted))
}

/// What a killed server left would keep a new one from starting if its number now belongs to another process.
fn remove_leftovers(dir: &Path) -> Result<(), EmbeddedError> {
    for leftover in [lock(dir), socket(dir)] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).at("delete", leftover);
            }
            _ => {}
        }
    }
    Ok(())
}
