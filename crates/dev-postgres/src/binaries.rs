//! The Postgres programs on this machine: where they are searched for, and which versions are supported.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::EmbeddedError;

/// The major versions that Earmark is tested with, from the oldest to the newest.
pub const SUPPORTED_MAJORS: std::ops::RangeInclusive<u32> = 15..=18;

/// The folder of a Postgres installation's programs, known to hold `postgres` and `initdb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresBinaries {
    /// The absolute path of the folder.
    pub dir: PathBuf,
    /// The major version, for example 15.
    pub major: u32,
}

impl PostgresBinaries {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Finds `postgres` and `initdb` of a [supported](SUPPORTED_MAJORS) version.
///
/// `setting` is a folder that the user named; nothing else is tried then. It may be the installation's folder
/// instead of its `bin`. Otherwise, in this order: PATH, `pg_config --bindir`, Debian's, Red Hat's and Homebrew's
/// folders (newest version first), and `tools/postgres/bin` beside the running program's own folders, where
/// `make tools` puts one.
///
/// # Errors
/// [`EmbeddedError::BinariesUnusable`] for a setting that does not do, else [`EmbeddedError::BinariesNotFound`],
/// which lists every place with what was wrong there.
pub fn find_binaries(setting: Option<&Path>) -> Result<PostgresBinaries, EmbeddedError> {
    find_binaries_of(setting, None)
}

/// As [`find_binaries`], but prefers the version that made an existing cluster.
pub(crate) fn find_binaries_of(
    setting: Option<&Path>,
    preferred: Option<u32>,
) -> Result<PostgresBinaries, EmbeddedError> {
    if let Some(path) = setting {
        let as_bin = inspect(path);
        return as_bin
            .or_else(|problem| inspect(&path.join("bin")).map_err(|_| problem))
            .map_err(|problem| EmbeddedError::BinariesUnusable {
                path: path.to_owned(),
                problem,
            });
    }
    let mut looked_at = String::new();
    let mut fallback = None;
    for (origin, dir) in candidates(&mut looked_at) {
        match inspect(&dir) {
            Ok(found) if preferred.is_none_or(|major| major == found.major) => return Ok(found),
            Ok(found) => fallback = fallback.or(Some(found)),
            // A String never refuses a write.
            Err(problem) => _ = writeln!(looked_at, "  {origin}: {}: {problem}", dir.display()),
        }
    }
    fallback.ok_or_else(|| EmbeddedError::BinariesNotFound {
        oldest: *SUPPORTED_MAJORS.start(),
        newest: *SUPPORTED_MAJORS.end(),
        looked_at: looked_at.trim_end().to_owned(),
    })
}

/// The folders to inspect, in order. Places without any folder are appended to `looked_at` for the error message.
fn candidates(looked_at: &mut String) -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    let before = |found: &Vec<_>| found.len();

    let count = before(&found);
    let path = env::var_os("PATH").unwrap_or_default();
    found.extend(
        env::split_paths(&path)
            .filter(|dir| dir.join("postgres").is_file())
            .map(|dir| ("PATH", dir)),
    );
    if found.len() == count {
        looked_at.push_str("  PATH: no folder with a program `postgres`\n");
    }

    match pg_config_bindir() {
        Ok(dir) => found.push(("pg_config --bindir", dir)),
        Err(problem) => _ = writeln!(looked_at, "  pg_config --bindir: {problem}"),
    }

    let majors = || SUPPORTED_MAJORS.rev();
    let mut families: Vec<(&'static str, String, Vec<PathBuf>)> = vec![
        (
            "Debian",
            "/usr/lib/postgresql/*/bin".to_owned(),
            majors()
                .map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")))
                .collect(),
        ),
        (
            "Red Hat",
            "/usr/pgsql-*/bin".to_owned(),
            majors()
                .map(|major| PathBuf::from(format!("/usr/pgsql-{major}/bin")))
                .collect(),
        ),
    ];
    for prefix in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        let dirs = majors()
            .map(|major| PathBuf::from(format!("{prefix}/opt/postgresql@{major}/bin")))
            .collect();
        families.push(("Homebrew", format!("{prefix}/opt/postgresql@*/bin"), dirs));
    }
    families.push((
        "make tools",
        "target/tools/postgres/bin".to_owned(),
        fetched_by_make(),
    ));
    for (origin, pattern, dirs) in families {
        let count = before(&found);
        found.extend(
            dirs.into_iter()
                .filter(|dir| dir.is_dir())
                .map(|dir| (origin, dir)),
        );
        if found.len() == count {
            _ = writeln!(looked_at, "  {origin}: {pattern}: no such folder");
        }
    }
    found
}

/// `tools/postgres/bin` beside each of the four folders above the running program, so that both `target/debug/earmark`
/// and `target/debug/deps/it-…` lead to `target/tools`.
fn fetched_by_make() -> Vec<PathBuf> {
    let Ok(program) = env::current_exe() else {
        return Vec::new();
    };
    program
        .ancestors()
        .skip(1)
        .take(4)
        .map(|folder| folder.join("tools/postgres/bin"))
        .collect()
}

fn pg_config_bindir() -> Result<PathBuf, String> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .map_err(|error| error.to_string())?;
    let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !dir.is_empty() {
        Ok(PathBuf::from(dir))
    } else {
        Err(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// The programs of a folder, or what is wrong with it.
fn inspect(dir: &Path) -> Result<PostgresBinaries, String> {
    if !dir.is_dir() {
        return Err("no such folder".to_owned());
    }
    // Symbolic links are resolved, since the server's user needs access to the installation itself.
    let postgres = fs::canonicalize(dir.join("postgres"))
        .map_err(|_| "no program `postgres` in it".to_owned())?;
    let dir = postgres
        .parent()
        .ok_or_else(|| "no folder above `postgres`".to_owned())?
        .to_owned();
    if !dir.join("initdb").is_file() {
        return Err("no program `initdb` in it".to_owned());
    }
    let output = Command::new(&postgres)
        .arg("--version")
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = major_of(&text).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!(
            "`postgres --version` answered {:?}",
            format!("{text}{said}").trim()
        )
    })?;
    if SUPPORTED_MAJORS.contains(&major) {
        Ok(PostgresBinaries { dir, major })
    } else {
        Err(format!(
            "version {major}, but {} to {} are supported",
            SUPPORTED_MAJORS.start(),
            SUPPORTED_MAJORS.end()
        ))
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15, `postgres (PostgreSQL) 18beta1` is 18.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Whether an environment variable is one of libpq's or the server's (PGDATA, PGPORT …).
pub(crate) fn is_postgres_variable(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("PG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_kind_of_build() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 17devel"), Some(17));
        assert_eq!(major_of("psql"), None);
    }
}
