//! The commands that run before a deploy: a build that happens outside of the image.

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

/// How many of its last lines a failed command is quoted with.
const QUOTED: usize = 20;

/// For how long an interrupted command may tidy up.
const GRACE: Duration = Duration::from_secs(5);

/// For how long what a command wrote last may take to arrive when a child that it has left behind keeps the pipe open.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs the commands one after the other, each by the shell, until one fails.
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
                    // Where there is no group to be ended, at least the command itself.
                    let _ = child.start_kill();
                }
            }
            status
        };
        tokio::pin!(reading, ending);
        tokio::select! {
            status = &mut ending => {
                // What it wrote last is still in the pipes. A child of its that stays may hold them open.
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

/// How a command ended that did not end well.
fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => format!("was ended: {status}"),
    }
}

/// Every line, without its end, as it comes; what is no UTF-8 is shown as such.
///
/// A thread of its own reads, and not one of the runtime's: a child that the command has left behind may hold
/// the pipe open for good, and the runtime would wait for it at its end.
fn lines(pipe: PipeReader) -> io::Result<mpsc::UnboundedReceiver<String>> {
    let (sender, lines) = mpsc::unbounded_channel();
    let read = move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // A pipe that cannot be read any more ends like one that was closed.
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
    // A group of its own, so that all of it can be ended, and a Ctrl-C in the terminal reaches it by us alone.
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

/// A command and all that it has started; ended with this value, unless it is done.
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
            // A group that is gone already is as it should be.
            let _ = nix::sys::signal::killpg(group, signal);
        }
    }

    fn ask_to_end(&self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    fn end(&self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
    }

    /// What it has left running in the background is meant to stay.
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

/// Where there are no process groups, the command itself is ended when its handle is dropped.
#[cfg(not(unix))]
impl Family {
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn ask_to_end(&self) {}

    fn end(&self) {}

    fn release(self) {}
}
