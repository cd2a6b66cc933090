//! Compiles `proto/` with protox, a protobuf compiler in Rust, so that no protoc has to be installed.

use std::path::{Path, PathBuf};

/// What is served: the roots of the import graph; what they import comes along.
const SERVED: [&str; 2] =
    ["envoy/service/ratelimit/v3/rls.proto", "envoy/service/rate_limit_quota/v3/rlqs.proto"];

/// What control planes are asked for, and what with.
const XDS: [&str; 2] =
    ["envoy/service/discovery/v3/ads.proto", "ratelimit/config/ratelimit/v3/rls_conf.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rustc-env=TOLLGATE_RUSTC={}", rustc());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(SERVED)?;
    // With source info, so that `grpcurl describe` shows the comments.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .include_file("proto.rs")
        .extern_path(
            ".envoy.service.rate_limit_quota.v3.BucketId",
            "crate::wire::quota::WireBucketId",
        )
        .compile_fds(compiler.file_descriptor_set())?;
    compile_xds(&out.join("xds"))
}

/// Compiles the protocol of control planes apart, so that reflection offers only what is served.
fn compile_xds(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(out)?;
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(XDS)?;
    tonic_prost_build::configure()
        .build_server(false)
        .out_dir(out)
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
