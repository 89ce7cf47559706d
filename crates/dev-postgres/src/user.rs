//! The user that Postgres runs as, and files that belong to it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, User};

use crate::error::EmbeddedError;
use crate::paths::CLUSTER;

/// The user that the server runs as, if it is not that of this process.
#[derive(Clone, Debug)]
pub(crate) struct PostgresUser {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The user for the server if this process is root's: the owner of the cluster or of the data folder if that is not root,
/// else `postgres`, else `nobody`. `None` if this process is not root's.
pub(crate) fn choose_user(data_dir: &Path) -> Result<Option<PostgresUser>, EmbeddedError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for folder in [data_dir.join(CLUSTER), data_dir.to_owned()] {
        if let Some(owner) = fs::metadata(folder).ok().filter(|owner| owner.uid() != 0) {
            let known = User::from_uid(Uid::from_raw(owner.uid())).ok().flatten();
            let name = known.map_or_else(|| owner.uid().to_string(), |user| user.name);
            return Ok(Some(PostgresUser {
                name,
                uid: owner.uid(),
                gid: owner.gid(),
            }));
        }
    }
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Some(PostgresUser {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            }));
        }
    }
    Err(EmbeddedError::NoUser)
}

/// Sets uid and gid of a command. The standard library clears the supplementary groups when root sets a uid.
pub(crate) fn run_as(command: &mut Command, user: &PostgresUser) {
    command.uid(user.uid).gid(user.gid);
}

/// Makes a folder that only this user can enter; `None` is the user of this process.
pub(crate) fn make_owned_dir(path: &Path, user: Option<&PostgresUser>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match user {
        Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// Gives a file that root has made to the owner of its folder, who could not open it otherwise.
pub(crate) fn give_to_owner_of(folder: &Path, file: &File) {
    if let Some(owner) = fs::metadata(folder)
        .ok()
        .filter(|_| Uid::effective().is_root())
    {
        _ = std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}
