//! `exec`: runs a command in an instance's container.

use std::io::Write;

use landfall_local::{ExecEvent, ExecInput, ExecOutput, Local};
use landfall_pipeline::Host;
use serde::Serialize;

use super::inside::Inside;
use crate::args::Exec;
use crate::cli_error::CliError;
use crate::selected_provider::SelectedProvider;
use crate::{input, output, terminal};

/// The exit code of a command that the image does not contain, as in shells.
const NOT_FOUND: u8 = 127;

/// The exit code of a command whose end is unknown.
const LOST: u8 = 255;

/// The last line of JSON of a command.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    instance: &'a Host,
    exit_code: u8,
    stdout: String,
    stderr: String,
}

/// Runs the command, and returns its exit code.
pub(crate) async fn exec(args: &Exec) -> Result<u8, CliError> {
    let inside = Inside::open(&args.on).await?;
    let host = inside.running(&args.instance)?;
    if Some(host) == inside.access.bastion.as_ref() {
        return Err(CliError::usage(
            "the bastion runs no container",
            Some("name a service, or one of its instances"),
        ));
    }
    match &inside.place {
        SelectedProvider::Local(local) => locally(local, host, args).await,
        #[cfg(feature = "aws")]
        SelectedProvider::Aws(_) => super::ssh::exec(&inside, host, args).await,
    }
}

async fn locally(local: &Local, host: &Host, args: &Exec) -> Result<u8, CliError> {
    let json = args.on.common.json;
    let terminal = if json { None } else { terminal::here() };
    let has_terminal = terminal.is_some();
    let started = local.exec(&host.id, args.command.clone(), terminal).await?;
    let (steering, chatter) = match started {
        Ok(streams) => streams,
        Err(why) => {
            let text = format!("{}: {why}\n", host.name);
            match json {
                true => tell(host, NOT_FOUND, Vec::new(), text.into_bytes()),
                false => output::message(&text),
            }
            return Ok(NOT_FOUND);
        }
    };
    // Switched after the command has started: until then, Ctrl-C ends this program.
    let raw = has_terminal.then(terminal::Raw::take).transpose();
    let _raw =
        raw.map_err(|error| CliError::usage(format!("cannot set up the terminal: {error}"), None))?;
    tokio::spawn(steer(steering));
    hear(chatter, host, json).await
}

/// Forwards input and signals to the command, until it exits.
async fn steer(mut steering: ExecInput) {
    let mut input = input::chunks();
    let mut has_input = true;
    let mut signals = Signals::new();
    loop {
        let reported = tokio::select! {
            chunk = input.recv(), if has_input => match chunk {
                Some(chunk) => steering.input(&chunk).await,
                None => {
                    has_input = false;
                    steering.input_ends().await
                }
            },
            signal = signals.next() => match signal {
                Passed::On(number) => steering.signal(number).await,
                Passed::Resized => match terminal::here() {
                    Some(now) => steering.resize(now.columns, now.rows).await,
                    None => Ok(()),
                },
            },
        };
        // The command has exited; its exit is reported elsewhere.
        if reported.is_err() {
            return;
        }
    }
}

async fn hear(mut chatter: ExecOutput, host: &Host, json: bool) -> Result<u8, CliError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        let written = match chatter.next().await {
            Ok(ExecEvent::Output(bytes)) if json => {
                stdout.extend(bytes);
                continue;
            }
            Ok(ExecEvent::Errors(bytes)) if json => {
                stderr.extend(bytes);
                continue;
            }
            Ok(ExecEvent::Output(bytes)) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
            Ok(ExecEvent::Errors(bytes)) => std::io::stderr().lock().write_all(&bytes),
            Ok(ExecEvent::Exited(code)) => {
                if json {
                    tell(host, code, stdout, stderr);
                }
                return Ok(code);
            }
            Err(error) => return Err(error.into()),
        };
        // The reader of the output is gone; the command exits when its streams close.
        if written.is_err() {
            return Ok(LOST);
        }
    }
}

fn tell(host: &Host, exit_code: u8, stdout: Vec<u8>, stderr: Vec<u8>) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    output::json_line(&Line {
        result: "exec",
        instance: host,
        exit_code,
        stdout: text(stdout),
        stderr: text(stderr),
    });
}

/// The effect of a local signal on the remote command.
enum Passed {
    /// Forwards the signal of this number.
    #[cfg_attr(not(unix), expect(dead_code, reason = "signals are Unix's"))]
    On(u8),
    /// Forwards the terminal's new size.
    #[cfg_attr(not(unix), expect(dead_code, reason = "terminals are Unix's"))]
    Resized,
}

#[cfg(unix)]
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
    resized: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            resized: signal(SignalKind::window_change()).ok(),
        }
    }

    async fn next(&mut self) -> Passed {
        async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = of(&mut self.interrupt) => Passed::On(2),
            () = of(&mut self.terminate) => Passed::On(15),
            () = of(&mut self.resized) => Passed::Resized,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) -> Passed {
        std::future::pending().await
    }
}
