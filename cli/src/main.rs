//! The `landfall` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    landfall_cli::hook();
    landfall_cli::run(std::env::args_os())
}
