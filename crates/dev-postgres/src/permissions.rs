//! Which folders and programs the server's user can access, and copies or other places for those that it cannot.
//!
//! Postgres refuses to run as root, so a cluster that root starts belongs to another user, who needs access to both
//! the folder and the programs. Access is tested by a child process that runs as that user, since mode bits do not
//! show access control lists or mount namespaces.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use crate::binaries::PostgresBinaries;
use crate::error::{EmbeddedError, IoErrorContext as _};
use crate::paths::{CLUSTER, short_hash};
use crate::user::{PostgresUser, run_as};

/// Folders for what the server's user cannot access elsewhere; the second is used where the first cannot be written.
const REACHABLE: [&str; 2] = ["/var/lib/earmark", "/var/tmp/earmark"];

/// Whether `user` can start `program` with `dir` as its working directory.
fn can_run(program: &Path, dir: &Path, user: &PostgresUser) -> Result<bool, EmbeddedError> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir(dir);
    run_as(&mut command, user);
    match command.output() {
        Ok(output) => Ok(output.status.success()),
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(false),
        Err(error) => Err(EmbeddedError::UserUnusable {
            user: user.name.clone(),
            problem: error.to_string(),
        }),
    }
}

fn can_run_all(binaries: &PostgresBinaries, user: &PostgresUser) -> Result<bool, EmbeddedError> {
    let root = Path::new("/");
    Ok(can_run(&binaries.program("postgres"), root, user)?
        && can_run(&binaries.program("initdb"), root, user)?)
}

/// The programs as found if `user` can run them, else a copy that it can run, with the folder of the copy's libraries.
pub(crate) fn usable_binaries(
    found: PostgresBinaries,
    user: &PostgresUser,
    notes: &mut Vec<String>,
) -> Result<(PostgresBinaries, Option<PathBuf>), EmbeddedError> {
    if can_run_all(&found, user)? {
        return Ok((found, None));
    }
    let prefix = found.dir.parent().unwrap_or(&found.dir).to_owned();
    // The time of the last change is part of the name, so that an upgrade in place leads to a new copy.
    let program = found.program("postgres");
    let changed = fs::metadata(&program).at("inspect", &program)?.mtime();
    let name = format!(
        "postgresql-{}-{}",
        found.major,
        short_hash(&prefix.join(changed.to_string()))
    );
    let base = make_reachable_base(user)?;
    let copy = base.join(&name);
    if !copy.join("bin/postgres").is_file() {
        let unfinished = base.join(format!("{name}.{}", std::process::id()));
        DirBuilder::new()
            .mode(0o755)
            .create(&unfinished)
            .at("create", &unfinished)?;
        for part in ["bin", "lib", "share"] {
            copy_tree(&prefix.join(part), &unfinished.join(part))?;
        }
        if let Err(error) = fs::rename(&unfinished, &copy) {
            // Another process has made the same copy in the meantime.
            _ = fs::remove_dir_all(&unfinished);
            if !copy.join("bin/postgres").is_file() {
                return Err(error).at("rename the copied Postgres to", &copy);
            }
        }
    }
    notes.push(format!(
        "user `{}` cannot run the Postgres in {}: a copy in {} is used",
        user.name,
        found.dir.display(),
        copy.display()
    ));
    Ok((
        PostgresBinaries {
            dir: copy.join("bin"),
            major: found.major,
        },
        Some(copy.join("lib")),
    ))
}

/// The data folder if `user` can enter it, else a folder elsewhere, to which a symbolic link in the data folder points.
pub(crate) fn usable_place(
    data_dir: &Path,
    user: &PostgresUser,
    notes: &mut Vec<String>,
) -> Result<PathBuf, EmbeddedError> {
    let link = data_dir.join(CLUSTER);
    if !link.is_symlink() && can_stand_in(data_dir, user)? {
        return Ok(data_dir.to_owned());
    }
    if link.is_dir() && !link.is_symlink() {
        return Err(EmbeddedError::UserUnusable {
            user: user.name.clone(),
            problem: format!("it cannot reach its own cluster in {}", link.display()),
        });
    }
    let base = make_reachable_base(user)?;
    let place = base.join(format!("cluster-{}", short_hash(data_dir)));
    if !link.is_symlink() && place.exists() {
        // It belonged to a data folder of the same path that has been deleted, and its data was to be deleted too.
        fs::remove_dir_all(&place).at("delete the leftover", &place)?;
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&place)
        .at("create", &place)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o711))
        .at("open to its user", &place)?;
    let target = place.join(CLUSTER);
    if fs::read_link(&link).ok().as_ref() != Some(&target) {
        _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link).at("link", &link)?;
    }
    notes.push(format!(
        "user `{}` cannot reach {}: the cluster lives in {}",
        user.name,
        data_dir.display(),
        target.display()
    ));
    Ok(place)
}

/// Whether `user` can enter `dir`, and so access a folder of its own below it.
fn can_stand_in(dir: &Path, user: &PostgresUser) -> Result<bool, EmbeddedError> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", ":"]).current_dir(dir);
    run_as(&mut command, user);
    match command.status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(false),
        Err(error) => Err(EmbeddedError::UserUnusable {
            user: user.name.clone(),
            problem: error.to_string(),
        }),
    }
}

/// Makes a folder that root owns and every user can enter.
fn make_reachable_base(user: &PostgresUser) -> Result<PathBuf, EmbeddedError> {
    let mut problem = String::new();
    for base in REACHABLE.map(Path::new) {
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o755).create(base) {
            problem = format!("{}: {error}", base.display());
            continue;
        }
        // Another owner could replace what is stored in it.
        let safe = fs::symlink_metadata(base).is_ok_and(|meta| meta.is_dir() && meta.uid() == 0);
        if safe && can_stand_in(base, user)? {
            return Ok(base.to_owned());
        }
        problem = format!("{} cannot be used by it, or is not root's", base.display());
    }
    Err(EmbeddedError::UserUnusable {
        user: user.name.clone(),
        problem,
    })
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), EmbeddedError> {
    DirBuilder::new().mode(0o755).create(to).at("create", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let entry = entry.at("list", from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().at("inspect", &source)?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            let points_to = fs::read_link(&source).at("read the link", &source)?;
            std::os::unix::fs::symlink(points_to, &target).at("link", &target)?;
        } else {
            fs::copy(&source, &target).at("copy", &source)?;
            let mode = if entry.metadata().at("inspect", &source)?.mode() & 0o100 == 0 {
                0o644
            } else {
                0o755
            };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))
                .at("open to everybody", &target)?;
        }
    }
    Ok(())
}
