//! Whether a process is the server of a folder, and signals to it.

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether the process is a Postgres server of this folder. A pid alone proves nothing: the system gives the pid of an
/// ended process to a new one.
pub(crate) fn is_postmaster(pid: u32, pgdata: &Path) -> bool {
    if cfg!(target_os = "linux") {
        // A server's working directory is its data folder. Root in a container may not be allowed to read it.
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(cwd) => cwd == pgdata,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                arguments
                    .split(|byte| *byte == 0)
                    .any(|argument| argument == pgdata.as_os_str().as_encoded_bytes())
            }
            Err(_) => false,
        }
    } else {
        let listed = std::process::Command::new("ps")
            .args(["-o", "command=", "-p", &pid.to_string()])
            .output();
        listed.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains(&*pgdata.to_string_lossy())
        })
    }
}

/// Sends a signal to the server of `pgdata`; nothing is sent if the pid belongs to another process by now.
pub(crate) fn send_signal(pid: u32, pgdata: &Path, signal: Signal) {
    if let Ok(raw) = i32::try_from(pid)
        && is_postmaster(pid, pgdata)
    {
        // An error means that it has ended in between, as the signal would have it.
        _ = kill(Pid::from_raw(raw), signal);
    }
}
