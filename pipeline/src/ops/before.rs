//! The `before` commands: they run before a deploy, for builds outside the image.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use landfall_provider::{Event, Events, Key};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Commands;
use crate::outcome::{Failure, Stage};

/// The number of quoted lines of a failed command.
const QUOTED: usize = 20;

/// The time that an interrupted command gets to clean up.
const GRACE: Duration = Duration::from_secs(5);

/// The time limit for the last output of a command when a remaining child process keeps the pipe open.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs the commands in sequence, each by the shell, until one fails.
pub(crate) async fn run(
    commands: &Commands,
    directory: &Path,
    image: &Key,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(), Box<Failure>> {
    for command in &commands.0 {
        if stop.is_cancelled() {
            return Err(interrupted(command));
        }
        one(command, directory, image, events, stop).await?;
    }
    Ok(())
}

async fn one(
    command: &str,
    directory: &Path,
    image: &Key,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(), Box<Failure>> {
    let failed = |why: String| Failure::new(Stage::Before, format_args!("`{command}` {why}"));
    let not_started = |error: io::Error| failed(format!("could not be started: {error}"));
    // One pipe for both streams keeps their lines in order.
    let (reader, writer) = io::pipe().map_err(not_started)?;
    let mut child = shell(command)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(not_started)?)
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()
        .map_err(not_started)?;
    let family = Family::of(&child);
    let mut lines = lines(reader).map_err(not_started)?;

    let mut last = VecDeque::with_capacity(QUOTED);
    let tell = |line: String| {
        if last.len() == QUOTED {
            last.pop_front();
        }
        last.push_back(line.clone());
        events.emit(Event::Output {
            key: image.clone(),
            line,
        });
    };
    let status = {
        let mut tell = tell;
        let reading = async {
            while let Some(line) = lines.recv().await {
                tell(line);
            }
        };
        let ending = async {
            let status = tokio::select! {
                status = child.wait() => Some(status),
                () = stop.cancelled() => None,
            };
            if status.is_none() {
                family.ask_to_end();
                if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                    family.end();
                    // Without a process group, at least the command itself.
                    let _ = child.start_kill();
                }
            }
            status
        };
        tokio::pin!(reading, ending);
        tokio::select! {
            status = &mut ending => {
                // The last output is still in the pipe, and a remaining child process may keep the pipe open.
                let _ = tokio::time::timeout(DRAIN, reading).await;
                status
            }
            _ = &mut reading => ending.await,
        }
    };
    match status {
        None => Err(interrupted(command)),
        Some(Err(error)) => Err(failed(format!("could not be waited for: {error}"))),
        Some(Ok(status)) if status.success() => {
            family.release();
            Ok(())
        }
        Some(Ok(status)) => {
            family.release();
            let mut failure = failed(how(status)).hint(format_args!(
                "it ran in {}; nothing was deployed",
                directory.display()
            ));
            failure.output = last.into();
            Err(failure)
        }
    }
}

fn interrupted(command: &str) -> Box<Failure> {
    Failure::new(
        Stage::Interrupted,
        format_args!("interrupted while `{command}` ran"),
    )
}

/// The failure of a command.
fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => format!("was ended: {status}"),
    }
}

/// Reads lines as they arrive; invalid UTF-8 is replaced.
///
/// A separate thread reads, not one of the runtime: a remaining child process may keep
/// the pipe open, and the runtime would wait for the read at its end.
fn lines(pipe: PipeReader) -> io::Result<mpsc::UnboundedReceiver<String>> {
    let (sender, lines) = mpsc::unbounded_channel();
    let read = move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // A read error is treated like the end.
        while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            if sender
                .send(text.trim_end_matches(['\r', '\n']).to_owned())
                .is_err()
            {
                break;
            }
            line.clear();
        }
    };
    std::thread::Builder::new()
        .name("before".to_owned())
        .spawn(read)?;
    Ok(lines)
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    // A process group of its own: all of it can be ended, and a Ctrl-C in the terminal reaches only this program.
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

/// A command with its child processes; dropping this ends them, unless the command has finished.
struct Family {
    #[cfg(unix)]
    group: Option<nix::unistd::Pid>,
}

#[cfg(unix)]
impl Family {
    fn of(child: &Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            group: group.map(nix::unistd::Pid::from_raw),
        }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(group) = self.group {
            // The group may have ended already.
            let _ = nix::sys::signal::killpg(group, signal);
        }
    }

    fn ask_to_end(&self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    fn end(&self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
    }

    /// Background processes of a finished command keep running.
    fn release(mut self) {
        self.group = None;
    }
}

#[cfg(unix)]
impl Drop for Family {
    fn drop(&mut self) {
        self.end();
    }
}

/// On systems without process groups, dropping the handle ends the command itself.
#[cfg(not(unix))]
impl Family {
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn ask_to_end(&self) {}

    fn end(&self) {}

    fn release(self) {}
}
