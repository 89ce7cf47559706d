//! Runs the built binary as processes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpSocket;

/// Path of the built binary.
pub(crate) const EARMARK: &str = env!("CARGO_BIN_EXE_earmark");
/// How long a server may take to end before it counts as hung.
const END_MAX: Duration = Duration::from_secs(20);

/// A command with an empty environment but for what a test sets.
pub(crate) fn earmark(arguments: &[&str]) -> Command {
    let mut command = Command::new(EARMARK);
    command.args(arguments).env_clear();
    for kept in ["PATH", "EARMARK_POSTGRES_BIN"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Runs a command that ends by itself; one that does not is killed, and fails its test.
pub(crate) fn run(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = Started::new(child.expect("it starts"));
    let pipes = child.child.stdout.take().zip(child.child.stderr.take());
    let (stdout, stderr) = pipes.expect("piped");
    // Read while it runs: a full pipe would hold it up.
    let (stdout, stderr) = (all_of(stdout), all_of(stderr));
    child.ended_within(Duration::from_secs(20));
    Output {
        status: child.child.wait().expect("a child"),
        stdout: stdout.join().expect("readable"),
        stderr: stderr.join().expect("readable"),
    }
}

/// Reads a pipe to its end, on a thread of its own.
fn all_of(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut read = Vec::new();
        pipe.read_to_end(&mut read).expect("readable");
        read
    })
}

/// What a process printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// An address for one server and those that follow it. As long as this lives, no socket that asks for any port gets
/// this one: a port that is only found free may be another test's by the time a server listens on it.
pub(crate) struct OwnAddress {
    pub(crate) address: SocketAddr,
    _bound: TcpSocket,
}

impl OwnAddress {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Both have to say so, this one and the server's: it may listen where this one only stands.
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        Self {
            address: socket.local_addr().expect("bound"),
            _bound: socket,
        }
    }
}

/// A server that runs; ended if the test panics, its Postgres with it.
pub(crate) struct Started {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Started {
    fn new(child: Child) -> Self {
        let stdout = None;
        Self { child, stdout }
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_with_log(command, Stdio::null())
    }

    /// The same with its log somewhere.
    pub(crate) fn spawn_with_log(command: &mut Command, log: impl Into<Stdio>) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(log).spawn().expect("it starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.send(Signal::SIGKILL);
        self.ended_within(END_MAX);
    }

    /// The exit code, once it has ended.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<i32> {
        let ended = self.ends_within(limit);
        ended.unwrap_or_else(|| panic!("still running after {limit:?}"))
    }

    /// The exit code, or `None` if it still runs.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> Option<Option<i32>> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Some(status.code());
            }
            if started.elapsed() >= limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it prints, up to and with the first line that starts so.
    pub(crate) fn prints_until(&mut self, start: &str) -> String {
        let mut printed = String::new();
        for line in self.stdout.as_mut().expect("piped").lines() {
            let line = line.expect("UTF-8");
            printed.push_str(&line);
            printed.push('\n');
            if line.starts_with(start) {
                return printed;
            }
        }
        panic!("it ended before a line that starts with {start}: {printed}");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Twice: in peace, but without waiting.
        for _ in 0..2 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            self.send(Signal::SIGTERM);
            std::thread::sleep(Duration::from_millis(50));
        }
        let started = Instant::now();
        while started.elapsed() < END_MAX {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A development server that has printed its greeting.
pub(crate) struct Dev {
    pub(crate) process: Started,
    pub(crate) greeting: String,
}

impl Dev {
    /// Starts one on a free port.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    /// Starts one with more arguments.
    pub(crate) fn start_with(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut command = earmark(&["dev", "--listen", "127.0.0.1:0"]);
        command.args(arguments).env("EARMARK_DATA_DIR", data_dir);
        Self::spawn(&mut command)
    }

    /// Starts one by a command of the test's own.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut process = Started::spawn(command);
        let greeting = process.prints_until("export TOKEN=");
        Self { process, greeting }
    }

    /// The address from its greeting.
    pub(crate) fn address(&self) -> &str {
        self.between("Earmark serves on ", ",")
    }

    /// The database URL from its greeting.
    pub(crate) fn database(&self) -> &str {
        self.between("psql '", "'")
    }

    fn between(&self, before: &str, after: &str) -> &str {
        let found = self.greeting.split_once(before);
        let (_, rest) = found.unwrap_or_else(|| panic!("no {before}: {}", self.greeting));
        rest.split(after).next().unwrap_or_default()
    }

    /// Ends it by a signal, and says with which exit code.
    pub(crate) fn end(&mut self, signal: Signal) -> Option<i32> {
        self.process.send(signal);
        self.process.ended_within(END_MAX)
    }
}
