//! The `landfall` program as a library, so that `cargo xtask` in a checkout has the same commands.

mod args;
mod cli_error;
mod commands;
mod exit;
mod features;
mod input;
mod my_address;
mod output;
mod progress;
mod render;
mod selected_provider;
mod ssh;
mod stop;
mod terminal;
mod who;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// Call this first in `main`, before any thread: the local provider's background process is this
/// program, executed again. In that process this does not return.
pub fn hook() {
    landfall_local::hook();
}

/// Runs a command line, with the program's name first, and returns the exit code.
///
/// Results go to standard output, everything else to standard error.
pub fn run<I>(args: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match args::Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(unparsed(&args, &error)),
    };
    let refused = features::missing(&cli)
        .first()
        .map(features::Missing::error);
    ExitCode::from(commands::run(cli, refused))
}

/// The features of this crate that a command line needs and this build lacks, for a caller that can
/// build the program again.
#[must_use]
pub fn missing_features(args: &[OsString]) -> Vec<&'static str> {
    let missing = match args::Cli::try_parse_from(args) {
        Ok(cli) => features::missing(&cli),
        Err(_) => Vec::new(),
    };
    missing.iter().map(|part| part.feature).collect()
}

/// Prints help, the version, or the error of the command line; the last one as JSON if requested.
fn unparsed(args: &[OsString], error: &clap::Error) -> u8 {
    let asked_for = !error.use_stderr();
    // With this flag, exit code 2 means that there are changes.
    let usage = match args.iter().any(|arg| arg == "--detailed-exitcode") {
        true => exit::FAILED,
        false => exit::USAGE,
    };
    if !asked_for && args.iter().any(|arg| arg == "--json") {
        let text = error.to_string();
        let message = text.trim_start_matches("error: ").trim_end();
        let (message, hint) = match message.split_once("\n\n") {
            Some((message, rest)) => (message, Some(rest)),
            None => (message, None),
        };
        cli_error::CliError::usage(message, hint).tell("", true, usage);
        return usage;
    }
    // If the stream is closed, nobody reads the message.
    let _ = error.print();
    if asked_for { exit::DONE } else { usage }
}
