//! Tests in a process with namespaces of its own, for the crates of the local cloud.
#![expect(
    unsafe_code,
    reason = "the test process enters its namespaces between fork and exec"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "only tests call this: they fail by panicking, and print"
)]

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, write};

/// Set in the inner process to the name of the test that it runs.
const INNER: &str = "LANDFALL_FABRIC_TEST";

/// Runs a test body in a process that is root of new namespaces, whoever runs the tests.
///
/// `name` is the test's path without the crate. A failure inside fails the test with its output.
pub fn isolated(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INNER).is_some_and(|inner| inner == name) {
        return body();
    }
    let user = geteuid();
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {} 1", getegid())),
    ]
    .map(|(path, text)| (CString::new(path).unwrap(), text));
    let enter = move || -> io::Result<()> {
        if user.is_root() {
            return Ok(unshare(CloneFlags::CLONE_NEWNET)?);
        }
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
        for (path, text) in &maps {
            let file = open(path.as_c_str(), OFlag::O_WRONLY, Mode::empty())?;
            write(&file, text.as_bytes())?;
        }
        Ok(())
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            name,
            "--exact",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(INNER, name);
    // SAFETY: between fork and exec the closure makes system calls only, on strings made before.
    unsafe {
        command.pre_exec(enter);
    }
    let output = command.output().expect("the test enters its namespaces");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside:\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "ran nothing: {stdout}");
    print!("{stdout}");
}

/// Names a test for [`isolated`] and runs its body there.
#[macro_export]
macro_rules! isolated_test {
    ($(#[$meta:meta])* fn $name:ident() $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let path = path.split_once("::").expect("a path has a crate").1;
            $crate::testing::isolated(path, || $body);
        }
    };
}
pub use crate::isolated_test;
