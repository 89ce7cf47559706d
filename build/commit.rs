//! Finds the commit that a program is built from.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How many digits of a commit's name are shown.
const DIGITS: usize = 12;

/// The name of the commit that is checked out in a folder, and the files that change when another one is. `None` if the
/// folder is not in a clone, or there is no git.
pub(crate) fn commit_of(folder: &Path) -> Option<(String, Vec<PathBuf>)> {
    // A folder that was unpacked within another clone is not what that one has.
    git(folder, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let commit = git(folder, &["rev-parse", "HEAD"])?;
    // In a worktree these are not in `.git`. The second changes with each commit, checkout and reset.
    let files = ["HEAD", "logs/HEAD"].map(|name| git(folder, &["rev-parse", "--git-path", name]));
    let files = files.into_iter().flatten().map(|path| folder.join(path));
    // A file that is not there would have cargo build anew each time.
    let files = files.filter(|path| path.exists()).collect();
    Some((shortened(&commit), files))
}

/// The first digits of a commit's name.
pub(crate) fn shortened(commit: &str) -> String {
    commit.chars().take(DIGITS).collect()
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
