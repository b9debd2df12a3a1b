//! The local cloud's background process as a program of its own.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    landfall_local::hook();
    // Standard error may be closed.
    let _ = writeln!(
        std::io::stderr(),
        "landfall-cloud: the background process of Landfall's local provider.\n\
         It is started by the programs that need it, such as `landfall deploy`; by hand it does nothing."
    );
    ExitCode::from(2)
}
