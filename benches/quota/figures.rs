//! The table that is printed: a line for each figure, with its target.

use std::time::Duration;

use super::processes::Failure;

/// The lines so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    missed: Vec<String>,
}

impl Table {
    /// Prints a line. A figure without a target has an empty one.
    pub(crate) fn add(&mut self, name: &str, measured: String, target: &str, is_met: bool) {
        let mark = if is_met { "" } else { "MISSED" };
        println!("{name:62} {measured:>12} {target:>12} {mark}");
        if !is_met {
            self.missed.push(name.trim().to_owned());
        }
    }

    /// # Errors
    /// If a target was missed.
    pub(crate) fn end(self) -> Result<(), Failure> {
        if self.missed.is_empty() {
            return Ok(());
        }
        Err(format!("missed: {}", self.missed.join("; ")).into())
    }
}

pub(crate) fn share_of(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

pub(crate) fn milliseconds(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}
