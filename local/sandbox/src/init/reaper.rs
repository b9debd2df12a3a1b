//! Process 1 of an instance with a reaper (`init = true`): it forwards signals to the command and reaps orphans.

use std::os::unix::net::UnixStream;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::{WaitOptions, wait};

use super::exec::Command;
use super::{Report, report, reset_signals};
use landfall_kernel::signal;
use landfall_kernel::userns::explain;

/// Runs the command as a child until it ends. Returns the exit code: the command's own, or 128 and the number of the
/// signal that ended it, because a process 1 cannot end by its own signal.
///
/// # Errors
///
/// The command's process could not be created. A command that cannot be executed reports that itself.
pub(super) fn run(command: Command, mut control: UnixStream) -> Result<i32, String> {
    let _ = prctl::set_name(c"landfall-init");
    // From here on, all signals wait for `follow`.
    SigSet::all()
        .thread_block()
        .map_err(|error| explain("block signals", error))?;
    // SAFETY: this process has one thread, so the copy is whole and may go on as any program.
    match unsafe { fork() }.map_err(|error| explain("fork", error))? {
        ForkResult::Child => {
            let reason = match reset_signals() {
                Ok(()) => command.execute(),
                Err(error) => explain("reset signals", error),
            };
            let _ = report(&mut control, &Report::Failed { reason });
            std::process::exit(127)
        }
        ForkResult::Parent { child } => {
            // The cloud waits for its end.
            drop(control);
            Ok(follow(child))
        }
    }
}

fn follow(command: Pid) -> i32 {
    loop {
        match signal::wait() {
            Ok(number) if number == Signal::SIGCHLD as i32 => {
                if let Some(code) = reap(command) {
                    return code;
                }
            }
            // The command may have just ended.
            Ok(number) => drop(signal::send(command.as_raw(), number)),
            Err(_) => {}
        }
    }
}

/// Reaps all ended processes; returns whether the command is one of them.
fn reap(command: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == command.as_raw() {
            let signal = status.terminating_signal();
            code = status.exit_status().or(signal.map(|signal| 128 + signal));
        }
    }
    code
}
