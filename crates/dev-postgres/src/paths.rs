//! Names of files and folders that several parts share.

use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The cluster's folder below the data folder, or a symbolic link to it where the server's user cannot enter the latter.
pub(crate) const CLUSTER: &str = "postgres";
/// The first eight hexadecimal digits of the SHA-256 of a path, for names of folders that must differ by path.
pub(crate) fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    Sha256::digest(path.as_os_str().as_bytes())
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
