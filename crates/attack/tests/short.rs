//! Each attack for a moment on one server, which has to answer everybody else meanwhile. How long it takes to is for
//! `make attack`, since a machine that runs tests may be slow. It takes the whole machine, so `make check-real` runs it and
//! `make test` does not.

use std::process::{Command, Stdio};

#[test]
#[ignore = "takes the whole machine: see make check-real"]
fn other_tenants_are_answered_under_attack() {
    let output = Command::new(env!("CARGO_BIN_EXE_earmark-attack"))
        .arg("short")
        // Attackers of the lowest priority would do nothing on a machine that is busy with other tests.
        .args(["--nice", "5"])
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
}
