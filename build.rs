//! Compiles `proto/` with protox, a protobuf compiler in Rust, so that no protoc has to be installed.

use std::path::PathBuf;

/// The root of the import graph; what it imports comes along.
const PROTOS: [&str; 1] = ["envoy/service/ratelimit/v3/rls.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rustc-env=TOLLGATE_RUSTC={}", rustc());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    // With source info, so that `grpcurl describe` shows the comments.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .include_file("proto.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// The compiler's version, `1.95.0`.
fn rustc() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = std::process::Command::new(rustc).arg("--version").output();
    let told = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    told.ok().and_then(|told| told.split(' ').nth(1).map(str::to_owned)).unwrap_or_default()
}
