//! What the program says about itself: its version, completions and manual pages.

#[path = "../../../build/commit.rs"]
mod commit;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use earmark::db::migrate;
use earmark::version::{COMMIT, VERSION};

use crate::support::process::{earmark, run, text};

#[test]
fn the_version_has_commit_and_schema() {
    let newest = migrate::newest();
    assert!(newest.starts_with("2026") && newest.len() >= 14, "{newest}");
    let expected = format!("earmark {VERSION} (commit {COMMIT}, schema {newest})\n");
    for flag in ["--version", "-V"] {
        let printed = run(&mut earmark(&[flag]));
        assert!(printed.status.success());
        assert_eq!(text(&printed.stdout), expected);
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(folder)
        .args(["-c", "user.name=n", "-c", "user.email=e@example.com"])
        .args(arguments);
    let output = run(&mut git);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).trim().to_owned()
}

#[test]
fn the_commit_is_found_in_clones_and_worktrees_and_nowhere_else() {
    let top = tempfile::tempdir().expect("a folder");
    assert_eq!(commit::commit_of(top.path()), None, "no clone");
    let clone = top.path().join("clone");
    fs::create_dir(&clone).expect("a folder");
    git(&clone, &["init", "-q"]);
    fs::write(clone.join("Cargo.toml"), "").expect("written");
    git(&clone, &["add", "."]);
    assert_eq!(commit::commit_of(&clone), None, "no commit yet");
    git(&clone, &["commit", "-q", "-m", "a"]);
    git(&clone, &["worktree", "add", "-q", "../other"]);

    for folder in [clone.clone(), top.path().join("other")] {
        let (before, files) = commit::commit_of(&folder).expect("a commit");
        assert_eq!(before, git(&folder, &["rev-parse", "HEAD"])[..12]);
        assert!(files.iter().all(|file| file.exists()), "{files:?}");
        let content = || files.iter().map(|file| fs::read(file).expect("readable"));
        let content_before: Vec<_> = content().collect();
        git(&folder, &["commit", "-q", "--allow-empty", "-m", "b"]);
        assert_ne!(
            content().collect::<Vec<_>>(),
            content_before,
            "cargo sees it"
        );
        let (after, _) = commit::commit_of(&folder).expect("a commit");
        assert_ne!(before, after);
    }
    let unpacked = clone.join("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    fs::write(unpacked.join("Cargo.toml"), "").expect("written");
    assert_eq!(commit::commit_of(&unpacked), None, "not what the clone has");
}

#[test]
fn bash_completes_commands_and_flags() {
    let script = r#"
        source <(earmark completions bash)
        complete -p earmark
        COMP_WORDS=(earmark serve --pool-) COMP_CWORD=2
        _earmark earmark --pool- serve
        echo "${COMPREPLY[@]}"
        COMP_WORDS=(earmark ser) COMP_CWORD=1
        _earmark earmark ser earmark
        echo "${COMPREPLY[@]}"
    "#;
    let program = Path::new(env!("CARGO_BIN_EXE_earmark"));
    let folder = program.parent().expect("a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.args(["-euc", script])
        .env_clear()
        .env("PATH", format!("{folder}:{path}"));
    let output = run(&mut bash);
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].contains("-F _earmark"), "{printed}");
    assert_eq!(lines[1..], ["--pool-size", "serve"], "{printed}");

    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let printed = run(&mut earmark(&["completions", shell]));
        assert!(text(&printed.stdout).contains("pool-size"), "{shell}");
    }
}

/// A page as a reader sees it, where a formatter is installed.
fn formatted(page: &Path) -> Option<String> {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(page);
    let output = groff.stdin(Stdio::null()).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stderr.is_empty(),
        "{}: {}",
        page.display(),
        text(&output.stderr)
    );
    Some(text(&output.stdout))
}

#[test]
fn manual_pages_render_without_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("man1");
    let output = run(earmark(&["man", "--folder"]).arg(&written));
    assert!(output.status.success(), "{output:?}");
    let mut pages = 0;
    for entry in fs::read_dir(&written).expect("a folder") {
        let page = entry.expect("an entry").path();
        let source = fs::read_to_string(&page).expect("a page");
        assert!(
            source.contains("\n.TH earmark") || source.starts_with(".TH earmark"),
            "{source}"
        );
        if let Some(shown) = formatted(&page) {
            assert!(shown.contains("SYNOPSIS"), "{shown}");
        }
        pages += 1;
    }
    assert!(pages >= 8, "{pages} pages");

    let serve = text(&run(&mut earmark(&["man", "serve"])).stdout);
    let file = fs::read_to_string(written.join("earmark-serve.1")).expect("a page");
    assert_eq!(serve, file);
    assert!(
        serve.contains("pool\\-size") && serve.contains("EARMARK_POOL_SIZE"),
        "{serve}"
    );
    let overview = text(&run(&mut earmark(&["man"])).stdout);
    assert!(overview.contains("earmark\\-serve(1)"), "{overview}");
    let refused = run(&mut earmark(&["man", "serv"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("did you mean `serve`?"),
        "{refused:?}"
    );
}
