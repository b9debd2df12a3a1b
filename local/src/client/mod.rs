//! The client side: a provider whose operations are calls to the cloud.

mod image;
mod inside;
mod presence;
mod secrets;
mod single;
mod verbs;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landfall_compute::ReleaseNote;
use landfall_container::ImageBuilder;
use landfall_provider::{Error, ErrorKind, Left, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::Instant;

pub use inside::{Dialled, ExecInput, ExecOutput, Logs};

use crate::LocalOptions;
use crate::process::{self, Launch};
use crate::wire::{Answer, Call, Extras, PROTOCOL, Request};

/// The number of attempts if the cloud ends during a call.
const TRIES: usize = 5;

/// The pause between attempts to connect while the cloud's queue of connections is full.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The time limit for an empty cloud to exit.
const DELETE_TIMEOUT: Duration = Duration::from_secs(10);

/// The local provider: resources on this machine, in a background process that starts with the
/// first resource and exits with the last.
///
/// The program's `main` has to begin with [`hook`](crate::hook), since that process is the program
/// itself, executed again.
#[derive(Debug, Clone)]
pub struct Local(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: LocalOptions,
    dir: PathBuf,
    image_builder: ImageBuilder,
    extras: Mutex<Extras>,
    safe: secrets::Safe,
    /// The number of held locks: while one is held, an end of the cloud is a failure.
    locks: AtomicUsize,
    /// Whether the cloud's processes were stopped at the last wait.
    stopped: AtomicBool,
}

impl Local {
    /// A client of the cloud in the runtime directory. It does not start the cloud; the first resource does.
    ///
    /// # Errors
    /// When the image store cannot be opened.
    pub fn open(options: LocalOptions) -> Result<Self> {
        let dir = match &options.dir {
            Some(dir) => dir.clone(),
            None => process::default_dir().map_err(unavailable)?,
        };
        let image_builder =
            ImageBuilder::open(options.image_store.clone(), options.events.clone())?;
        let extras = Extras {
            published_port: options.published_port,
            image_store: image_builder.store().root().to_owned(),
            note: ReleaseNote::default(),
            ..Extras::default()
        };
        let safe = secrets::Safe::new(options.secrets.clone());
        Ok(Self(Arc::new(Inner {
            options,
            dir,
            image_builder,
            extras: Mutex::new(extras),
            safe,
            locks: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        })))
    }

    /// The runtime directory of the cloud.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The current settings that are sent beside every spec.
    fn extras(&self) -> Extras {
        self.locked_extras().clone()
    }

    fn locked_extras(&self) -> MutexGuard<'_, Extras> {
        self.0.extras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log file of the cloud, for messages.
    pub fn log_file(&self) -> PathBuf {
        self.0.dir.join("cloud.log")
    }

    /// Waits until an empty cloud has exited and removed its files.
    ///
    /// # Errors
    /// When it is empty and does not exit, or does not answer.
    pub async fn settle(&self) -> Result<()> {
        self.unless_stopped(self.ended()).await?
    }

    async fn ended(&self) -> Result<()> {
        let deadline = Instant::now() + DELETE_TIMEOUT;
        let mut pause = Duration::from_millis(1);
        loop {
            let dir = self.0.dir.clone();
            let running = blocking(move || process::running(&dir)).await?;
            if running.is_none() {
                let dir = self.0.dir.clone();
                if blocking(move || process::clear(&dir)).await? {
                    return Ok(());
                }
            } else {
                match tokio::time::timeout_at(deadline, self.holds_something()).await {
                    Ok(Ok(false)) => {}
                    Ok(Ok(true)) => return Ok(()),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        let silent = "the local cloud does not answer";
                        return Err(Error::new(ErrorKind::Timeout, silent)
                            .hint(format_args!("see {}", self.log_file().display())));
                    }
                }
            }
            if Instant::now() > deadline {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "the local cloud is empty and does not exit",
                )
                .hint(format_args!("see {}", self.log_file().display())));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    async fn holds_something(&self) -> Result<bool> {
        let held: Option<bool> = self.ask(Call::HoldsSomething).await?;
        Ok(held.unwrap_or(false))
    }

    /// Sends a call to the cloud if one runs.
    async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<Option<T>> {
        Ok(self.talk(call).await?.map(|(value, _)| value))
    }

    /// Sends a call to the cloud if one runs, and returns the open connection.
    async fn talk<T: DeserializeOwned>(&self, call: Call) -> Result<Option<(T, Connection)>> {
        let request = line(&Request {
            protocol: PROTOCOL,
            call,
        })?;
        for _ in 0..TRIES {
            match self.attempt(&request).await? {
                Attempt::Answered(value, connection) => return Ok(Some((value, connection))),
                Attempt::Ended => {}
                Attempt::NoCloud if self.0.locks.load(Ordering::SeqCst) == 0 => return Ok(None),
                Attempt::NoCloud => return Err(self.lost()),
            }
        }
        Err(self.keeps_ending())
    }

    /// Sends a call to the cloud, which it starts if necessary, and returns the open connection.
    async fn demand<T: DeserializeOwned>(&self, call: Call) -> Result<(T, Connection)> {
        let request = line(&Request {
            protocol: PROTOCOL,
            call,
        })?;
        for _ in 0..TRIES {
            match self.attempt(&request).await? {
                Attempt::Answered(value, connection) => return Ok((value, connection)),
                Attempt::Ended => {}
                // A new cloud would not contain the resources of the locked stack.
                Attempt::NoCloud if self.0.locks.load(Ordering::SeqCst) > 0 => {
                    return Err(self.lost());
                }
                Attempt::NoCloud => self.start().await?,
            }
        }
        Err(self.keeps_ending())
    }

    /// One attempt of a call.
    async fn attempt<T: DeserializeOwned>(&self, request: &[u8]) -> Result<Attempt<T>> {
        let attempt = async {
            let Some(stream) = self.connect().await? else {
                // A stopped process of an ended cloud still uses the directory.
                while self.is_stopped() {
                    tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
                }
                return Ok(Attempt::NoCloud);
            };
            // A cloud that is about to exit has not read the call; and every call can be repeated.
            Ok(match converse(stream, request).await? {
                Some((value, connection)) => Attempt::Answered(value, connection),
                None => Attempt::Ended,
            })
        };
        self.unless_stopped(attempt).await?
    }

    fn lost(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the local cloud has ended")
            .left(Left::Nothing)
            .hint(format_args!(
                "`deploy` starts it again and creates the stack again; {} may contain the reason",
                self.log_file().display()
            ))
    }

    fn keeps_ending(&self) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            "the local cloud exits before it answers",
        )
        .left(Left::Unknown)
        .hint(format_args!("see {}", self.log_file().display()))
    }

    async fn connect(&self) -> Result<Option<UnixStream>> {
        let socket = socket(&self.0.dir);
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return Ok(Some(stream)),
                // Reset: the cloud ended before it accepted this connection.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::ConnectionRefused
                            | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    return Ok(None);
                }
                // The kernel's queue of waiting connections is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
                }
                Err(error) => {
                    let socket = socket.display();
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format_args!("the local cloud cannot be reached at {socket}"),
                    )
                    .caused_by(error));
                }
            }
        }
    }

    async fn start(&self) -> Result<()> {
        let mut launch = Launch::new(self.0.dir.clone());
        launch.program = self.0.options.program.clone();
        self.unless_stopped(blocking(move || launch.connect_or_start()))
            .await?
            .map(|_| ())
    }
}

/// The result of one attempt.
enum Attempt<T> {
    /// The answer, and its connection.
    Answered(T, Connection),
    /// The cloud ended before it answered.
    Ended,
    NoCloud,
}

/// A held lock; the cloud keeps it as long as the connection is open.
struct HeldLock(Local);

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.0.0.locks.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection after its answer; closing it releases what it holds.
type Connection = BufReader<UnixStream>;

fn socket(dir: &Path) -> PathBuf {
    dir.join("cloud.sock")
}

fn line(request: &Request) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request).map_err(|error| {
        Error::new(ErrorKind::Invalid, "a call does not go into JSON").caused_by(error)
    })?;
    line.push(b'\n');
    Ok(line)
}

/// Sends a call and reads the answer; `None` if the cloud ended before it answered.
async fn converse<T: DeserializeOwned>(
    stream: UnixStream,
    request: &[u8],
) -> Result<Option<(T, Connection)>> {
    let mut stream = BufReader::new(stream);
    if stream.get_mut().write_all(request).await.is_err() {
        return Ok(None);
    }
    let mut answer = String::new();
    match stream.read_line(&mut answer).await {
        Ok(0) | Err(_) => return Ok(None),
        Ok(_) => {}
    }
    let strange = |error: serde_json::Error| {
        Error::new(
            ErrorKind::Other,
            "the local cloud gave an answer that is not understood",
        )
        .caused_by(error)
    };
    match serde_json::from_str::<Answer>(&answer).map_err(strange)? {
        Answer::Ok(value) => Ok(Some((
            serde_json::from_value::<T>(value).map_err(strange)?,
            stream,
        ))),
        Answer::Err(error) => Err(error),
    }
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> std::result::Result<T, process::Error> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(task).await;
    match done {
        Ok(done) => done.map_err(unavailable),
        Err(panic) => Err(Error::new(ErrorKind::Other, panic)),
    }
}

fn unavailable(error: process::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the local cloud is unavailable").caused_by(error)
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        Error::new(ErrorKind::Other, "a record is not of its kind").caused_by(error)
    })
}
