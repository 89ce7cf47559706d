//! A data folder with everything that a start of its server needs: programs, user and paths.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid};

use crate::binaries::{self, PostgresBinaries};
use crate::endpoint::SUPERUSER;
use crate::error::{EmbeddedError, IoErrorContext as _};
use crate::options::ClusterOptions;
use crate::paths::CLUSTER;
use crate::permissions;
use crate::user::{PostgresUser, choose_user, make_owned_dir, run_as};

/// A prepared data folder: everything that is determined before the first process is started.
#[derive(Debug)]
pub(crate) struct DataDir {
    /// The cluster's folder (Postgres's `data_directory`), absolute.
    pub(crate) pgdata: PathBuf,
    /// The file that the server's log is appended to.
    pub(crate) log: PathBuf,
    pub(crate) binaries: PostgresBinaries,
    /// The libraries of copied programs, whose compiled-in search path names the original folder; set as LD_LIBRARY_PATH.
    pub(crate) libraries: Option<PathBuf>,
    /// `None` if the server runs as the user of this process.
    pub(crate) run_as: Option<PostgresUser>,
    /// Lines to be shown to the user, see [`Cluster::notes`](crate::Cluster::notes).
    pub(crate) notes: Vec<String>,
}

/// Makes the data folder if it is missing, and returns its absolute path.
pub(crate) fn make_data_dir(path: &Path) -> Result<PathBuf, EmbeddedError> {
    if !path.is_dir() {
        // If root makes it, the server's user needs to pass through; the secret files in it have modes of their own.
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
            // Below a folder of another user root gives it to that user, who can then use it without root.
            _ = std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()));
        }
    }
    fs::canonicalize(path).at("resolve", path)
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

impl DataDir {
    /// Determines programs, user and folders. `data_dir` is absolute and locked by the caller.
    pub(crate) fn prepare(
        options: &ClusterOptions,
        data_dir: &Path,
    ) -> Result<Self, EmbeddedError> {
        let mut notes = Vec::new();
        let run_as = choose_user(data_dir)?;
        let preferred = if options.fresh {
            None
        } else {
            cluster_version(&data_dir.join(CLUSTER))
        };
        let found = binaries::find_binaries_of(options.binaries.as_deref(), preferred)?;
        let (binaries, libraries) = match &run_as {
            Some(user) => permissions::usable_binaries(found, user, &mut notes)?,
            None => (found, None),
        };
        let place = match &run_as {
            Some(user) => permissions::usable_place(data_dir, user, &mut notes)?,
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

    /// A command for one of the Postgres programs as the server's user, without the PG… variables of this process.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        // Postgres must be able to read its working directory.
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
            run_as(&mut command, user);
        }
        command
    }

    /// Deletes the cluster's files; its server must have ended.
    pub(crate) fn delete_cluster(&self) -> Result<(), EmbeddedError> {
        match fs::remove_dir_all(&self.pgdata) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).at("delete", &self.pgdata)
            }
            _ => Ok(()),
        }
    }

    /// Makes the cluster by `initdb` if it is missing; otherwise checks that the programs have its version. Dropped before
    /// it has ended, it ends `initdb` and what that has started.
    pub(crate) async fn ensure_cluster(&self, durable: bool) -> Result<(), EmbeddedError> {
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
        // Made under another name and then renamed, so that a folder of the final name is always a complete cluster.
        let unfinished = self.pgdata.with_extension("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).at("delete", &unfinished)?;
        }
        make_owned_dir(&unfinished, self.run_as.as_ref()).at("create", &unfinished)?;
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&unfinished).args([
            "--username",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]);
        if !durable {
            initdb.arg("--no-sync");
        }
        let output = run_to_end(initdb)
            .await
            .at("run", self.binaries.program("initdb"))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            let output = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(EmbeddedError::Initdb {
                path: unfinished,
                output,
            });
        }
        if self.pgdata.exists() {
            // Without PG_VERSION it is no cluster. `remove_dir` succeeds only if it is empty, so that no user's file is deleted.
            fs::remove_dir(&self.pgdata).at("replace", &self.pgdata)?;
        }
        fs::rename(&unfinished, &self.pgdata).at("rename the new cluster to", &self.pgdata)
    }
}

/// Runs a command with a process group of its own, which is killed if this is dropped before the command has ended.
async fn run_to_end(mut command: Command) -> io::Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = tokio::process::Command::from(command).spawn()?;
    let mut group = ProcessGroup(child.id());
    let output = child.wait_with_output().await;
    group.0 = None;
    output
}

/// The process group of a command that has not ended.
struct ProcessGroup(Option<u32>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // An error means that it has just ended.
            _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// The major version by which a cluster was made; `None` if there is no cluster.
fn cluster_version(pgdata: &Path) -> Option<u32> {
    fs::read_to_string(pgdata.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
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
