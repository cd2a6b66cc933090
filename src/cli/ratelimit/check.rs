//! `tollgate ratelimit-check`: the program of envoyproxy/ratelimit that checks a folder, with its flags and exit codes.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::value::boolean;
use crate::cli::output::report_error;
use crate::cli::{FAILED, Failure};
use crate::config::ratelimit::{self, RuntimeFolder, Settings};
use crate::policy::fingerprint::FingerprintKey;
use crate::reading::{self, caught};

const USAGE: &str = "Usage of ratelimit-check:
  -config_dir string
        path to the folder of ratelimit configurations
  -merge_domain_configs
        whether several files may define one domain, together";

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(in crate::cli) struct RateLimitCheck {
    /// `-config_dir FOLDER` and `-merge_domain_configs`, as Go writes flags: with one or two dashes.
    #[arg(value_name = "FLAG", trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

impl RateLimitCheck {
    /// Returns 0, 1 if the folder cannot be read or a file is wrong, or 2 for wrong flags.
    pub(in crate::cli) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let words = self.flags.iter().map(|word| word.to_string_lossy().into_owned());
        match Flags::parse(words) {
            Ok(Some(flags)) => flags.check(out),
            Ok(None) => {
                writeln!(out, "{USAGE}")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                report_error(format!("{error}\n{USAGE}"));
                Ok(ExitCode::from(FAILED))
            }
        }
    }
}

/// The flags, as Go reads them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    config_dir: PathBuf,
    merges_domains: bool,
}

impl Flags {
    /// `None` if help is asked for. What follows the first word that is no flag is ignored, as there.
    ///
    /// # Errors
    /// What is wrong.
    fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut flags = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-') else { break };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() {
                break;
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match (name, value) {
                ("config_dir", value) => {
                    let value = value.or_else(|| words.next());
                    flags.config_dir = value.ok_or("flag needs an argument: -config_dir")?.into();
                }
                ("merge_domain_configs", None) => flags.merges_domains = true,
                ("merge_domain_configs", Some(value)) => {
                    let error = |what| format!("-merge_domain_configs={value}: {what}");
                    flags.merges_domains = boolean(&value).map_err(error)?;
                }
                ("h" | "help", _) => return Ok(None),
                (name, _) => return Err(format!("flag provided but not defined: -{name}")),
            }
        }
        Ok(Some(flags))
    }

    /// The files in the folder itself.
    fn check(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let Self { config_dir, merges_domains } = self;
        writeln!(out, "checking rate limit configs...")?;
        writeln!(out, "loading config directory: {}", config_dir.display())?;
        let folder = RuntimeFolder {
            root: config_dir.clone(),
            subdirectory: PathBuf::new(),
            app_directory: PathBuf::from("."),
            ignores_dotfiles: false,
            watches_root: false,
        };
        let settings = Settings { merges_domains, ..Settings::default() };
        let compiled = reading::read_now(move || {
            let sources = ratelimit::read(&folder)?;
            Ok(caught(|| ratelimit::compile_texts(&sources, FingerprintKey::fixed(0), &settings)))
        });
        let problems = match compiled? {
            Ok(compiled) => match compiled? {
                Ok(_) => {
                    writeln!(out, "all rate limit configs ok")?;
                    return Ok(ExitCode::SUCCESS);
                }
                Err(problems) => problems,
            },
            Err(problems) => problems,
        };
        writeln!(out, "error loading rate limit configs:\n{problems}")?;
        Ok(ExitCode::from(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Option<Flags>, String> {
        Flags::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn flags_are_written_as_in_go() {
        let flags = |merges_domains| Ok(Some(Flags { config_dir: "a".into(), merges_domains }));
        for (words, merges_domains) in [
            (&["-config_dir", "a"][..], false),
            (&["--config_dir=a"], false),
            (&["-config_dir=a", "-merge_domain_configs"], true),
            (&["-merge_domain_configs=true", "-config_dir", "a"], true),
            (&["-merge_domain_configs=F", "-config_dir", "a"], false),
            (&["-config_dir", "a", "b", "-merge_domain_configs"], false),
            (&["-config_dir", "a", "--", "-merge_domain_configs"], false),
        ] {
            assert_eq!(parse(words), flags(merges_domains), "{words:?}");
        }
        assert_eq!(parse(&[]), Ok(Some(Flags::default())));
        assert_eq!(parse(&["-help"]), Ok(None));
        for wrong in [&["-config"][..], &["-config_dir"], &["-merge_domain_configs=yes"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
