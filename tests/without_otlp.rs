//! A build without the Cargo feature `otlp`. A program of its own, so that no other test is compiled for that build.

#![cfg(not(feature = "otlp"))]
#![allow(clippy::unwrap_used, reason = "test code: a failure is a panic")]

use std::process::Command;

#[test]
fn a_collector_that_the_build_has_no_spans_for_ends_the_start() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["serve", "--otlp-endpoint", "http://127.0.0.1:4317"]);
    let ended = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!((ended.status.code(), &*out), (Some(2), ""));
    assert!(err.contains("build tollgate with the Cargo feature `otlp`"), "{err}");
}
