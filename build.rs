//! Compiles the protos without a protoc, and writes the descriptor set that reflection serves.

use std::error::Error;
use std::path::{Path, PathBuf};

#[path = "build/commit.rs"]
mod commit;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // Neither protox nor embed_migrations! tells cargo what they have read.
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    name_commit();

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(proto_files(Path::new("proto"))?)?;

    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    // From the compiler itself: prost's own types would drop custom options.
    std::fs::write(
        out_dir.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .btree_map(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Gives the crate the commit that it is built from: `EARMARK_COMMIT`, for builds outside of a clone, else what git says. Git
/// is asked for optimised builds only, since the crate would otherwise be compiled anew after each commit.
fn name_commit() {
    println!("cargo:rerun-if-env-changed=EARMARK_COMMIT");
    println!("cargo:rerun-if-changed=build");
    let given = std::env::var("EARMARK_COMMIT").unwrap_or_default();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let mut commit = commit::shortened(given.trim());
    if commit.is_empty()
        && is_release
        && let Some((found, files)) = commit::commit_of(Path::new("."))
    {
        for file in files {
            println!("cargo:rerun-if-changed={}", file.display());
        }
        commit = found;
    }
    if commit.is_empty() {
        commit = "unknown".into();
    }
    println!("cargo:rustc-env=EARMARK_BUILD_COMMIT={commit}");
}

fn proto_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            // The compiler names files relative to its include folder.
            files.push(path.strip_prefix("proto").unwrap_or(&path).to_path_buf());
        }
    }
    files.sort();
    Ok(files)
}
