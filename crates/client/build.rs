//! Generates messages and clients from the server's protos, without a protoc.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Relative to this crate's folder, in which cargo runs build scripts.
const PROTOS: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTOS}");
    let mut files = Vec::new();
    find_protos(Path::new(PROTOS), &mut files)?;
    files.sort();
    let descriptors = protox::compile(files, [PROTOS])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}

fn find_protos(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
