//! Figures against their limits, in lines for a person.

use std::process::ExitCode;

/// What has been measured so far.
#[derive(Debug, Default)]
pub struct Report {
    missed: usize,
}

impl Report {
    /// A figure that must not be over its limit.
    pub fn check(&mut self, what: &str, figure: f64, limit: f64, unit: &str) {
        let is_met = figure <= limit;
        self.missed += usize::from(!is_met);
        let word = if is_met { "pass" } else { "MISS" };
        println!("{word}  {what:<64} {figure:>9.2} of {limit:>7.2} {unit}");
    }

    /// A figure to know beside those.
    pub fn note(&self, what: &str, figure: f64, unit: &str) {
        println!("      {what:<64} {figure:>9.2}            {unit}");
    }

    /// A headline.
    pub fn headline(&self, what: &str) {
        println!("\n{what}");
    }

    /// Whether every target was met.
    pub fn exit(&self) -> ExitCode {
        if self.missed == 0 {
            ExitCode::SUCCESS
        } else {
            println!("\n{} missed", self.missed);
            ExitCode::FAILURE
        }
    }
}
