//! Whether a signal reaches process 1 of an instance.

use nix::libc;
use nix::sys::signal::Signal;

/// Whether the kernel drops `signal` from the cloud to process 1 of an instance. It does so if process 1 neither
/// handles nor ignores nor blocks the signal, because default actions do not apply to a process 1. SIGKILL and
/// SIGSTOP from outside are exceptions. See pid_namespaces(7).
pub(super) fn is_dropped(pid: i32, signal: i32) -> bool {
    if [Signal::SIGKILL as i32, Signal::SIGSTOP as i32].contains(&signal) {
        return false;
    }
    // While a process waits for signals, its masks do not show those as blocked.
    !waits_for_signals(pid)
        && std::fs::read_to_string(format!("/proc/{pid}/status"))
            // An ended process receives no signal; its end is noticed elsewhere.
            .is_ok_and(|status| has_default(&status, signal))
        && !waits_for_signals(pid)
}

/// Whether the main thread of a process may be in sigwait(3), sigwaitinfo(2) or sigtimedwait(2).
fn waits_for_signals(pid: i32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/syscall")) else {
        return true;
    };
    // The first field is the number of the system call, or a word if the process runs.
    let number = text.split_whitespace().next();
    number.and_then(|number| number.parse().ok()) == Some(libc::SYS_rt_sigtimedwait)
}

/// Whether the masks of `/proc/PID/status` leave the signal to its default action.
fn has_default(status: &str, signal: i32) -> bool {
    let bit = 1_u64 << (signal - 1);
    ["SigBlk:", "SigIgn:", "SigCgt:"].into_iter().all(|name| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & bit == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_the_kernel_are_read() {
        let status = |blocked: &str, ignored: &str, caught: &str| {
            format!("Name:\tx\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n")
        };
        let (none, term) = ("0000000000000000", "0000000000004000");
        assert!(has_default(
            &status(none, none, none),
            Signal::SIGTERM as i32
        ));
        assert!(has_default(
            &status(none, none, term),
            Signal::SIGINT as i32
        ));
        for status in [
            status(term, none, none),
            status(none, term, none),
            status(none, none, term),
            String::new(),
        ] {
            assert!(!has_default(&status, Signal::SIGTERM as i32), "{status}");
        }
    }
}
