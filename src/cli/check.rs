//! `tollgate check`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, load};
use crate::policy::Policy;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Policy files, or folders of them. Each is checked as `serve --config` would load it.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut problems = 0;
        for path in &self.paths {
            match load(path)? {
                Ok(policies) => {
                    for policy in policies.iter() {
                        writeln!(out, "{}: {}", path.display(), summary(policy))?;
                    }
                }
                Err(found) => {
                    problems += found.len();
                    writeln!(out, "{found}")?;
                }
            }
        }
        if problems == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "{}", counted(problems, "problem", "problems"))?;
        Ok(ExitCode::from(1))
    }
}

fn summary(policy: &Policy) -> String {
    let tables = policy.tables();
    let rows = tables.iter().flat_map(|table| table.rows().iter());
    let (mut row_count, mut buckets, mut overrides) = (0, 0, 0);
    for row in rows {
        row_count += 1;
        buckets += row.rules().len();
        overrides += row.overrides().len();
    }
    let counts = [
        counted(tables.len(), "table", "tables"),
        counted(row_count, "row", "rows"),
        counted(buckets, "bucket", "buckets"),
        counted(policy.endpoints().iter().len(), "endpoint", "endpoints"),
        counted(overrides, "override", "overrides"),
        counted(policy.bypass().len(), "bypass", "bypasses"),
    ];
    format!("domain {}: {}", policy.domain().escape_debug(), counts.join(", "))
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
