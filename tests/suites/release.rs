//! One version everywhere.

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn every_file_that_names_the_version_names_this_one() {
    for (path, named) in [
        ("CHANGELOG.md", format!("\n## {VERSION}")),
        ("deploy/kubernetes/deployment.yaml", format!("image: tollgate:{VERSION}\n")),
        ("docs/operations.md", format!("`tollgate:{VERSION}`")),
        ("fuzz/Cargo.lock", format!("name = \"tollgate\"\nversion = \"{VERSION}\"\n")),
    ] {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&named), "{path} does not say {named:?}");
    }
}

/// What everything is tested with is the oldest that Cargo.toml allows, which the image is built with.
#[test]
fn the_toolchain_is_the_one_that_is_asked_for() {
    let text = std::fs::read_to_string("rust-toolchain.toml").unwrap();
    let channel = text.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap();
    let channel = channel.trim_end_matches('"');
    assert!(channel.starts_with(env!("CARGO_PKG_RUST_VERSION")), "{channel}");
}
