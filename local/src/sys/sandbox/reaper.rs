//! Process 1 of an instance that wants a reaper (`init = true`): passes signals on to the command and reaps orphans.

use std::os::unix::net::UnixStream;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::exec::Command;
use super::{Report, report, reset_signals};
use crate::sys::process::userns::explain;

/// Runs the command as a child to its end. Returns the code to end with: the command's own, or 128 and the number of
/// the signal that ended it, since process 1 cannot end by a signal of its own.
///
/// # Errors
///
/// The command is not even a process; one that cannot be executed says so itself.
pub(super) fn run(command: Command, mut control: UnixStream) -> Result<i32, String> {
    let _ = prctl::set_name(c"landfall-init");
    // From here on every signal waits for `follow`.
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
    let all = SigSet::all();
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(command) {
                    return code;
                }
            }
            // It may have just ended.
            Ok(signal) => drop(kill(command, signal)),
            // A signal without a name (a real-time one) is for nobody.
            Err(_) => {}
        }
    }
}

/// Reaps every process that has ended; tells if the command is one of them.
fn reap(command: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, number)) if pid == command => code = Some(number),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                code = Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}
