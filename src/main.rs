//! The `tollgate` command; everything it does is in [`tollgate::cli`].

use std::process::ExitCode;

use tollgate::cli::Cli;

/// Requests allocate small, short-lived objects on one thread each: the case mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::read() {
        Ok(cli) => cli.run(&mut std::io::stdout()),
        Err(code) => code,
    }
}
