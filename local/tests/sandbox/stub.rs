//! A cloud that only starts instances: what the inner process runs in these tests.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_compute::Limits;
use landfall_local::testing::process::{CloudContext, Launch, Outer};
use landfall_sandbox::{Config, Entered, Exit, Further, Limiter, Output, Running, Spec};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A file in the cloud's directory that makes it misbehave.
pub(crate) const SCRIPT: &str = "stub";

#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    Start(Start),
    /// Waits for the end of an instance.
    Wait(String),
    /// Stops it with this grace in milliseconds.
    Stop(String, u64),
    /// Forgets it without stopping it.
    Drop(String),
    /// Listens on this address of the machine, and greets the first caller.
    Bind(String),
    /// Starts a cloud in this folder, which a part of a cloud must not.
    Launch(PathBuf),
    /// Lists the folder of the instances' own files.
    Scratch,
    /// What an instance has said so far.
    Output(String),
    /// Runs a further command in an instance to its end.
    Exec(String, Vec<String>),
    /// Starts a file server in an instance, which goes on until the instance is dropped.
    Files(String),
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    pub id: String,
    pub layout: PathBuf,
    pub images: PathBuf,
    pub manifest: String,
    /// In place of the image's own command, if there is one.
    pub argv: Vec<String>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub limits: Limits,
    pub init: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Started {
        notes: Vec<String>,
    },
    Ended {
        exit: Exit,
        output: Vec<String>,
        how: String,
    },
    Bound(String),
    List(Vec<String>),
    Done,
    Error(String),
}

pub(crate) fn main(context: CloudContext) -> Result<()> {
    match std::fs::read_to_string(context.dir.join(SCRIPT)).as_deref() {
        Ok("fail") => return Err("the stub was told to fail".into()),
        Ok("hang") => loop {
            std::thread::park();
        },
        Ok("die") => std::process::exit(3),
        _ => {}
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(serve(context))
}

struct Stub {
    outer: Outer,
    scratch: PathBuf,
    limiter: Arc<Limiter>,
    instances: Mutex<BTreeMap<String, Arc<Running>>>,
    file_servers: Mutex<BTreeMap<String, Entered>>,
}

async fn serve(context: CloudContext) -> Result<()> {
    let listener = UnixListener::from_std(context.listener)?;
    let stub = Arc::new(Stub {
        outer: context.outer.clone(),
        scratch: context.scratch,
        limiter: Arc::new(Limiter::new(&context.dir)),
        instances: Mutex::default(),
        file_servers: Mutex::default(),
    });
    let mut terminate = signal(SignalKind::terminate())?;
    context.outer.ready()?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                let stub = Arc::clone(&stub);
                tokio::spawn(async move { stub.converse(socket).await });
            }
            _ = terminate.recv() => return Ok(()),
        }
    }
}

impl Stub {
    async fn converse(&self, mut socket: UnixStream) -> Result<()> {
        let mut line = String::new();
        if BufReader::new(&mut socket).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let reply = match self.answer(serde_json::from_str(&line)?).await {
            Ok(reply) => reply,
            Err(error) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(next) = cause {
                    text.push_str(&format!(": {next}"));
                    cause = next.source();
                }
                Reply::Error(text)
            }
        };
        socket.write_all(&serde_json::to_vec(&reply)?).await?;
        Ok(())
    }

    async fn answer(&self, request: Request) -> Result<Reply> {
        match request {
            Request::Start(start) => {
                let id = start.id.clone();
                let running = self.start(start).await?;
                let notes = running.notes().to_vec();
                self.instances.lock().unwrap().insert(id, Arc::new(running));
                Ok(Reply::Started { notes })
            }
            Request::Wait(id) => {
                let running = self.instance(&id);
                let exit = running.wait().await;
                Ok(ended(exit, &running).await)
            }
            Request::Stop(id, grace) => {
                let running = self.instance(&id);
                let exit = running.stop(Duration::from_millis(grace)).await;
                Ok(ended(exit, &running).await)
            }
            Request::Drop(id) => {
                self.file_servers.lock().unwrap().remove(&id);
                self.instances.lock().unwrap().remove(&id);
                Ok(Reply::Done)
            }
            Request::Bind(address) => {
                let listener = self.outer.bind_loopback(address.parse()?)?;
                let address = listener.local_addr()?.to_string();
                std::thread::spawn(move || {
                    let (mut socket, _) = listener.accept().unwrap();
                    std::io::Write::write_all(&mut socket, b"hello from inside").unwrap();
                });
                Ok(Reply::Bound(address))
            }
            Request::Launch(dir) => {
                tokio::task::spawn_blocking(|| Launch::new(dir).connect_or_start()).await??;
                Ok(Reply::Done)
            }
            Request::Output(id) => Ok(Reply::List(output(&self.instance(&id)))),
            Request::Exec(id, argv) => exec(&self.instance(&id), argv).await,
            Request::Files(id) => {
                let server = landfall_sandbox::enter(&self.instance(&id), Further::Files).await?;
                self.file_servers.lock().unwrap().insert(id, server);
                Ok(Reply::Done)
            }
            Request::Scratch => {
                let names = std::fs::read_dir(&self.scratch)?
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<Result<_>>()?;
                Ok(Reply::List(names))
            }
        }
    }

    fn instance(&self, id: &str) -> Arc<Running> {
        Arc::clone(&self.instances.lock().unwrap()[id])
    }

    async fn start(&self, start: Start) -> Result<Running> {
        let image = tokio::task::spawn_blocking(move || {
            landfall_sandbox::unpack(&start.layout, &start.manifest, &start.images)
        })
        .await??;
        let mut config = Config { ..image.config };
        if !start.argv.is_empty() {
            config.argv = start.argv;
        }
        if let Some(user) = start.user {
            config.user = user;
        }
        let spec = Spec {
            id: start.id,
            rootfs: image.rootfs,
            config,
            env: start.env,
            hostname: "web-1".to_owned(),
            hosts: "127.0.0.1 localhost\n10.0.1.5 web-1\n".to_owned(),
            resolv_conf: "nameserver 10.0.0.2\n".to_owned(),
            scratch: self.scratch.clone(),
            limits: start.limits,
            limiter: Arc::clone(&self.limiter),
            init: start.init,
        };
        Ok(landfall_sandbox::start(&spec, network()?, Arc::new(Output::new(64 * 1024))).await?)
    }
}

async fn exec(running: &Running, argv: Vec<String>) -> Result<Reply> {
    let further = Further::Command {
        argv,
        otherwise: None,
        env: BTreeMap::new(),
        terminal: None,
    };
    let Entered {
        input,
        mut output,
        errors,
        handle,
    } = landfall_sandbox::enter(running, further).await?;
    drop(input);
    let mut text = String::new();
    output.read_to_string(&mut text).await?;
    if let Some(mut errors) = errors {
        errors.read_to_string(&mut text).await?;
    }
    let exit = handle.wait().await;
    Ok(Reply::Ended {
        exit,
        output: text.lines().map(str::to_owned).collect(),
        how: exit.to_string(),
    })
}

async fn ended(exit: Exit, running: &Running) -> Reply {
    Reply::Ended {
        exit,
        output: output(running),
        how: running.how().await,
    }
}

fn output(running: &Running) -> Vec<String> {
    let lines = running.output().tail(1000).into_iter();
    lines.map(|line| line.text).collect()
}

/// A network namespace with nothing in it.
fn network() -> Result<OwnedFd> {
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
    })
    .join()
    .unwrap()
}
