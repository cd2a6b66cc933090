//! What a person is told of a policy.

use tollgate::config::Problems;

/// A refusal says in which file something is wrong, and brings nothing onto a terminal but text.
pub fn check(problems: &Problems, file: &str) {
    let told = problems.to_string();
    assert!(!problems.is_empty(), "refused for nothing");
    assert!(told.starts_with(&format!("{file}:")), "which file? {told:?}");
    check_text(&told);
}

/// What is told is lines of text.
pub fn check_text(told: &str) {
    assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    for line in told.lines() {
        assert!(!line.trim().is_empty(), "an empty line: {told:?}");
    }
}
