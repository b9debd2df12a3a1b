//! Signals by number, including real-time signals; the nix crate knows only signals with a name.
#![expect(
    unsafe_code,
    reason = "kill(2) and sigwait(3) of any number have no safe form"
)]

use std::str::FromStr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};

/// The number of the first real-time signal for programs; the C library reserves two below it. Docker uses the same.
const REAL_TIME_FIRST: i32 = 34;
/// The number of the last real-time signal.
const REAL_TIME_LAST: i32 = 64;

/// The number of a `STOPSIGNAL`, as in Docker: a number, or a name with or without `SIG` in upper or lower case.
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REAL_TIME_LAST).contains(&number).then_some(number);
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |prefix: &str, sign: char| match name.strip_prefix(prefix)? {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    if let Some(offset) = offset("RTMIN", '+') {
        return (offset <= 15).then_some(REAL_TIME_FIRST + offset);
    }
    if let Some(offset) = offset("RTMAX", '-') {
        return (offset <= 14).then_some(REAL_TIME_LAST - offset);
    }
    let signal = match name {
        "CLD" => Ok(Signal::SIGCHLD),
        "IOT" => Ok(Signal::SIGABRT),
        "POLL" => Ok(Signal::SIGIO),
        name => Signal::from_str(&format!("SIG{name}")),
    };
    signal.ok().map(|signal| signal as i32)
}

/// Sends a signal to a process.
///
/// # Errors
///
/// The errors of kill(2).
pub fn send(pid: i32, number: i32) -> nix::Result<()> {
    // SAFETY: kill(2) takes two numbers, and checks both.
    Errno::result(unsafe { libc::kill(pid, number) }).map(drop)
}

/// Waits for any signal and returns its number. All signals must be blocked.
///
/// # Errors
///
/// The errors of sigwait(3), which has none for a full set.
pub fn wait() -> nix::Result<i32> {
    let all = SigSet::all();
    let mut number = 0;
    // SAFETY: both point to values that outlive the call.
    match unsafe { libc::sigwait(all.as_ref(), &raw mut number) } {
        0 => Ok(number),
        code => Err(Errno::from_raw(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("SIGTERM", 15),
            ("QUIT", 3),
            ("sigquit", 3),
            ("usr1", 10),
            ("2", 2),
            ("37", 37),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+15", 49),
            ("RTMAX-14", 50),
            ("SIGRTMAX", 64),
            ("SIGPOLL", 29),
            ("cld", 17),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in [
            "", "SIG", "SIGNONE", "0", "65", "-1", "RTMIN+16", "RTMIN+", "RTMIN-1", "RTMAX-15",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
