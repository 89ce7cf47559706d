//! Where a cluster lives and as whom it runs.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User};
use sha2::{Digest as _, Sha256};

use super::Options;
use super::binaries::{self, Binaries};
use super::error::{EmbeddedError, IoContext as _};
use super::reach;

/// The cluster's own folder below the data folder, or a symbolic link to where it had to move.
pub(super) const CLUSTER: &str = "postgres";
/// Held for as long as a process looks after the cluster.
const LOCK: &str = "postgres.lock";

/// A user to run as, other than the one of this process.
#[derive(Clone, Debug)]
pub(super) struct RunAs {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Everything known before the first process is started.
#[derive(Debug)]
pub(super) struct Home {
    /// Postgres's own data folder, absolute.
    pub(super) pgdata: PathBuf,
    /// The server's log.
    pub(super) log: PathBuf,
    pub(super) binaries: Binaries,
    /// Libraries beside copied binaries, which may no longer be where the binaries look for them.
    pub(super) libraries: Option<PathBuf>,
    /// `None`: as this process.
    pub(super) run_as: Option<RunAs>,
    /// What the caller should print.
    pub(super) notes: Vec<String>,
}

/// The lock on a data folder; the system frees it with the process, however that ends.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// # Errors
    /// [`EmbeddedError::Locked`] if another process (or another part of this one) holds it.
    pub(super) fn acquire(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let path = data_dir.join(LOCK);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        give_to_owner_of(data_dir, &file);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                _ = file.read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(EmbeddedError::Locked {
                    path: data_dir.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
        }
        // Only a courtesy to whoever finds the folder locked.
        _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }

    /// Frees the lock now, even if a child that is just being started has a copy of the descriptor.
    pub(super) fn release(self) {
        _ = self.0.unlock();
    }
}

/// Makes the data folder if it is missing, and answers its absolute path.
pub(super) fn make_data_dir(path: &Path) -> Result<PathBuf, EmbeddedError> {
    if !path.is_dir() {
        // As root the cluster's user has to pass through; what is secret in it protects itself.
        let mode = if Uid::effective().is_root() {
            0o711
        } else {
            0o700
        };
        let parent_owner = existing_ancestor(path).and_then(|parent| fs::metadata(parent).ok());
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .at("create the data folder", path)?;
        if let Some(owner) =
            parent_owner.filter(|owner| Uid::effective().is_root() && owner.uid() != 0)
        {
            // In somebody's own folder the new one is theirs too, so that they can use it without root.
            _ = std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()));
        }
    }
    fs::canonicalize(path).at("resolve", path)
}

/// A file that root makes in somebody's folder must not keep them from using the folder later.
pub(super) fn give_to_owner_of(folder: &Path, file: &File) {
    if let Some(owner) = fs::metadata(folder)
        .ok()
        .filter(|_| Uid::effective().is_root())
    {
        _ = std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

fn existing_ancestor(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    if parent.is_dir() {
        Some(parent)
    } else {
        existing_ancestor(parent)
    }
}

impl Home {
    /// Finds binaries, user and folders. `data_dir` is absolute and locked by the caller.
    pub(super) fn prepare(options: &Options, data_dir: &Path) -> Result<Self, EmbeddedError> {
        let mut notes = Vec::new();
        let run_as = choose_user(data_dir)?;
        let preferred = if options.fresh {
            None
        } else {
            cluster_version(&data_dir.join(CLUSTER))
        };
        let found = binaries::find_binaries_of(options.binaries.as_deref(), preferred)?;
        let (binaries, libraries) = match &run_as {
            Some(user) => reach::binaries(found, user, &mut notes)?,
            None => (found, None),
        };
        let place = match &run_as {
            Some(user) => reach::place(data_dir, user, &mut notes)?,
            None => {
                refuse_foreign_cluster(&data_dir.join(CLUSTER))?;
                data_dir.to_owned()
            }
        };
        let pgdata = fs::canonicalize(&place)
            .at("resolve", &place)?
            .join(CLUSTER);
        Ok(Self {
            log: place.join("postgres.log"),
            pgdata,
            binaries,
            libraries,
            run_as,
            notes,
        })
    }

    /// A command for one of the Postgres programs, as the right user, without the caller's own PG… variables.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        // Postgres wants to be able to read where it stands.
        command.current_dir("/").env("LC_ALL", "C");
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| binaries::is_postgres_variable(name))
        {
            command.env_remove(name);
        }
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        if let Some(user) = &self.run_as {
            reach::become_user(&mut command, user);
        }
        command
    }

    /// Deletes the cluster, which must not run.
    pub(super) fn delete_cluster(&self) -> Result<(), EmbeddedError> {
        match fs::remove_dir_all(&self.pgdata) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).at("delete", &self.pgdata)
            }
            _ => Ok(()),
        }
    }

    /// Makes the cluster if it is missing, and checks that these binaries can run it if it is there.
    pub(super) fn ensure_cluster(&self, durable: bool) -> Result<(), EmbeddedError> {
        if let Some(cluster) = cluster_version(&self.pgdata) {
            if cluster == self.binaries.major {
                return Ok(());
            }
            return Err(EmbeddedError::VersionMismatch {
                path: self.pgdata.clone(),
                bin: self.binaries.dir.clone(),
                cluster,
                binaries: self.binaries.major,
            });
        }
        // Made beside and then renamed: a folder of the final name is always a whole cluster.
        let unfinished = self.pgdata.with_extension("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).at("delete", &unfinished)?;
        }
        make_owned_dir(&unfinished, self.run_as.as_ref()).at("create", &unfinished)?;
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&unfinished).args([
            "--username=earmark",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]);
        if !durable {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().at("run", self.binaries.program("initdb"))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            let output = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(EmbeddedError::Initdb {
                path: unfinished,
                output,
            });
        }
        if self.pgdata.exists() {
            // Without PG_VERSION it is no cluster; an empty folder may be replaced, anything else is not ours to delete.
            fs::remove_dir(&self.pgdata).at("replace", &self.pgdata)?;
        }
        fs::rename(&unfinished, &self.pgdata).at("rename the new cluster to", &self.pgdata)
    }
}

/// The major version that made a cluster, if there is one.
fn cluster_version(pgdata: &Path) -> Option<u32> {
    fs::read_to_string(pgdata.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// As root: the cluster's or the data folder's non-root owner, else `postgres`, else `nobody`.
fn choose_user(data_dir: &Path) -> Result<Option<RunAs>, EmbeddedError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for folder in [data_dir.join(CLUSTER), data_dir.to_owned()] {
        if let Some(owner) = fs::metadata(folder).ok().filter(|owner| owner.uid() != 0) {
            let known = User::from_uid(Uid::from_raw(owner.uid())).ok().flatten();
            let name = known.map_or_else(|| owner.uid().to_string(), |user| user.name);
            return Ok(Some(RunAs {
                name,
                uid: owner.uid(),
                gid: owner.gid(),
            }));
        }
    }
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Some(RunAs {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            }));
        }
    }
    Err(EmbeddedError::NoUser)
}

fn refuse_foreign_cluster(pgdata: &Path) -> Result<(), EmbeddedError> {
    let us = Uid::effective().as_raw();
    match fs::metadata(pgdata) {
        Ok(meta) if meta.uid() != us => Err(EmbeddedError::NotOwner {
            path: pgdata.to_owned(),
            owner: meta.uid(),
            us,
        }),
        _ => Ok(()),
    }
}

pub(super) fn make_owned_dir(path: &Path, user: Option<&RunAs>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match user {
        Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// Eight hexadecimal digits that stand for a path.
pub(super) fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    Sha256::digest(path.as_os_str().as_bytes())
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
