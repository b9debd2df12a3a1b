//! The background process and its instances, tried with real kernels: every test runs as root (if
//! the caller is) and as an ordinary user, in the test program itself executed again.

#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::unwrap_used,
        clippy::print_stdout,
        reason = "all of this program is a test"
    )
)]

#[cfg(target_os = "linux")]
mod applications;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod instances;
#[cfg(target_os = "linux")]
mod lifecycle;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod process_one;
#[cfg(target_os = "linux")]
mod stub;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};

    use libtest_mimic::{Arguments, Failed, Trial};

    use crate::{applications, hostile, instances, lifecycle, limits, process_one, stub};

    /// A user that no machine has, for what root tries as an ordinary user.
    const ORDINARY: u32 = 61_234;

    pub(crate) fn main() -> ExitCode {
        landfall_local::testing::process::hook(stub::main);
        lifecycle::enter_forbidden();
        let root = nix::unistd::geteuid().is_root();
        let mut trials = Vec::new();
        let cases = [
            instances::CASES,
            process_one::CASES,
            hostile::CASES,
            limits::CASES,
            lifecycle::CASES,
            applications::CASES,
        ];
        for (name, case) in cases.into_iter().flatten() {
            let ordinary = format!("ordinary_user::{name}");
            if root {
                trials.push(Trial::test(format!("root::{name}"), move || run(*case)));
                if name.contains("needs_docker_") {
                    // Docker's daemon belongs to root.
                    continue;
                }
                let again = ordinary.clone();
                trials.push(Trial::test(ordinary, move || as_ordinary_user(&again)));
            } else {
                trials.push(Trial::test(ordinary, move || run(*case)));
            }
        }
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    }

    fn run(case: fn()) -> Result<(), Failed> {
        case();
        Ok(())
    }

    /// Runs one test in this program executed as an ordinary user.
    fn as_ordinary_user(name: &str) -> Result<(), Failed> {
        let base = tempfile::Builder::new().prefix("lfu-").tempdir()?;
        std::os::unix::fs::chown(base.path(), Some(ORDINARY), Some(ORDINARY))?;
        // The build's folder may be closed to other users.
        let program = base.path().join("tests");
        std::fs::copy(std::env::current_exe()?, &program)?;
        let output = Command::new(&program)
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env("TMPDIR", base.path())
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(base.path())
            .uid(ORDINARY)
            .gid(ORDINARY)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && text.contains("1 passed") {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}\n{text}\n{errors}", output.status).into())
    }
}
