//! Compiles the protos without a protoc, and writes the descriptor set that reflection serves.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    // Neither protox nor embed_migrations! tells cargo what they have read.
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");

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
