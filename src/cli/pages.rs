//! Completion scripts and man pages, for packages to install.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Failure};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to complete for.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        // Generated into memory first: the generator panics if it cannot write, as to a closed pipe.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "tollgate", &mut text);
        out.write_all(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct ManPage {
    /// The command to document; the program itself if omitted.
    command: Option<String>,
}

impl ManPage {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut program = Cli::command();
        // Gives every command its full name, as in `tollgate serve`.
        program.build();
        let page = match &self.command {
            None => program,
            Some(name) => page_of(&program, name)?,
        };
        Man::new(page).render(out)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn page_of(program: &Command, name: &str) -> Result<Command, Failure> {
    let Some(command) = program.find_subcommand(name) else {
        let names: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
        return Err(
            format!("there is no command {name:?}; choose from: {}", names.join(", ")).into()
        );
    };
    let whole = format!("tollgate-{}", command.get_name());
    // A subcommand has no version of its own.
    let version = program.get_version().unwrap_or_default().to_owned();
    Ok(command.clone().name(whole).version(version))
}
