//! Private container engines for tests: Docker's daemon or Podman's API service, each in a
//! temporary directory, with its own network and mount namespaces. They are removed on drop.
//!
//! Such an engine can also be stopped and restarted together with its containers, as by a
//! [reboot](PrivateEngine::reboot) of its machine.
//!
//! They see neither the machine's engines nor their images, and change neither its bridges nor its
//! firewall. They need root, and Debian 12's packages `docker.io` or `podman`.

mod remains;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

/// The time limit for an engine's first answer. A machine that compiles at the same time needs much
/// of it.
const START: Duration = Duration::from_secs(60);

/// The time limit for a stop, before the engine is killed.
const STOP: Duration = Duration::from_secs(20);

/// The interval of checks whether an engine has started or stopped.
const LOOK: Duration = Duration::from_millis(20);

/// An engine that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `dockerd`, with BuildKit and the classic builder.
    Docker,
    /// `podman system service`, the Docker-compatible API of Podman.
    Podman,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "dockerd",
            Self::Podman => "podman",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Docker => "docker.io",
            Self::Podman => "podman",
        }
    }

    /// The reason why this engine cannot be started here, or `None` if it can: for test runners
    /// that skip tests by name.
    #[must_use]
    pub fn missing(self) -> Option<Unavailable> {
        if !Uid::effective().is_root() {
            return Some(Unavailable::NotRoot { program: self });
        }
        let tools = ["setpriv", "unshare", "nsenter"];
        let lacking = std::iter::once(self.name())
            .chain(tools)
            .find(|name| find(name).is_none())?;
        Some(Unavailable::Missing {
            program: lacking.to_owned(),
            package: if lacking == self.name() {
                self.package()
            } else {
                "util-linux"
            },
        })
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub fn start(self) -> Result<PrivateEngine, Unavailable> {
        self.start_with(&[])
    }

    /// Starts it with additional options of its daemon, and waits until it answers.
    ///
    /// The engine stops when the calling thread ends, so that nothing remains if a test is killed:
    /// call this from the test's own thread.
    ///
    /// # Errors
    ///
    /// It is not installed, this user may not run it, or it does not come up within a minute.
    pub fn start_with(self, options: &[&str]) -> Result<PrivateEngine, Unavailable> {
        if let Some(reason) = self.missing() {
            return Err(reason);
        }
        let failed = |error: std::io::Error| self.failed(error.to_string(), String::new());
        // A short name: the path of a Unix socket is limited to 107 bytes.
        let dir = tempfile::Builder::new()
            .prefix("lf-engine-")
            .tempdir()
            .map_err(failed)?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let child = self.spawn(dir.path(), &options).map_err(failed)?;
        let mut engine = PrivateEngine {
            program: self,
            options,
            child,
            dir,
        };
        engine.wait_until_it_answers()?;
        Ok(engine)
    }

    fn failed(self, problem: String, log: String) -> Unavailable {
        Unavailable::Failed {
            program: self,
            problem,
            log,
        }
    }

    fn spawn(self, dir: &Path, options: &[String]) -> std::io::Result<Child> {
        let path = |name: &str| dir.join(name);
        // Its own configuration, and none of the data that the machine's engines and those of other
        // tests keep in memory: images, locks, names of containers and networks.
        std::fs::write(path("empty.json"), "{}")?;
        std::fs::write(path("containers.conf"), CONTAINERS_CONF)?;
        let prepare = "mount --make-rprivate /; \
             for dir in /dev/shm /run/containerd /run/runc /run/crun /run/netns; do \
             mkdir -p $dir; mount -t tmpfs none $dir; done; exec \"$@\"";
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "TERM",
            "unshare",
            "--net",
            "--mount",
            "sh",
            "-ec",
            prepare,
            "sh",
        ]);
        command.arg(find(self.name()).unwrap_or_else(|| self.name().into()));
        let socket = option("unix://", path("engine.sock"));
        match self {
            Self::Docker => {
                command
                    .arg(option("--host=", socket.into()))
                    .arg(option("--data-root=", path("data")))
                    .arg(option("--exec-root=", path("exec")))
                    .arg(option("--pidfile=", path("pid")))
                    .arg(option("--config-file=", path("empty.json")))
                    .arg("--iptables=false")
                    .args(options);
            }
            Self::Podman => {
                command
                    .args(podman_options(dir))
                    .args(["system", "service", "--time=0"])
                    .args(options)
                    .arg(socket);
            }
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("log"))?;
        command
            .env("HOME", dir)
            .env("XDG_RUNTIME_DIR", dir)
            .env("CONTAINERS_CONF", path("containers.conf"))
            .env_remove("DOCKER_HOST")
            .env_remove("CONTAINER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// Podman would raise these limits for each container, which even root may not do in a sandbox.
const CONTAINERS_CONF: &str =
    "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n";

/// The data directories of a private Podman.
fn podman_options(dir: &Path) -> Vec<OsString> {
    vec![
        option("--root=", dir.join("data")),
        option("--runroot=", dir.join("run")),
        option("--tmpdir=", dir.join("tmp")),
        "--cgroup-manager=cgroupfs".into(),
        "--events-backend=file".into(),
    ]
}

fn option(option: &str, value: PathBuf) -> OsString {
    let mut text = OsString::from(option);
    text.push(value);
    text
}

/// The way in which a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Its services are stopped, and stop the containers.
    InOrder,
    /// Every process is killed at once.
    PowerCut,
}

/// The reason why an engine is unavailable.
#[derive(Debug)]
pub enum Unavailable {
    /// A program is not installed.
    Missing {
        /// The program.
        program: String,
        /// The Debian package of the program.
        package: &'static str,
    },
    /// Only root can start it privately.
    NotRoot {
        /// The engine.
        program: Program,
    },
    /// It is installed and did not start.
    Failed {
        /// The engine.
        program: Program,
        /// The error.
        problem: String,
        /// The last lines of its output.
        log: String,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program, package } => {
                write!(
                    f,
                    "{program} is not installed (Debian: apt-get install {package})"
                )
            }
            Self::NotRoot { program } => {
                write!(f, "a private {} needs root", program.name())
            }
            Self::Failed {
                program,
                problem,
                log,
            } => write!(f, "{} did not come up: {problem}\n{log}", program.name()),
        }
    }
}

impl std::error::Error for Unavailable {}

/// A running engine. Dropping it stops it and removes all its resources.
#[derive(Debug)]
pub struct PrivateEngine {
    program: Program,
    options: Vec<String>,
    child: Child,
    dir: tempfile::TempDir,
}

impl PrivateEngine {
    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    /// Its socket in the form of `DOCKER_HOST`.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A command in the engine's network namespace, which has its own loopback: for a registry that
    /// it pulls from.
    #[must_use]
    pub fn command_inside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.child.id()))
            .arg("--")
            .arg(program);
        command
    }

    /// Podman's command line for this engine's data; useless with Docker.
    #[must_use]
    pub fn podman(&self) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.child.id()))
            .arg(format!("--mount=/proc/{}/ns/mnt", self.child.id()))
            .arg("--")
            .arg("podman")
            .args(podman_options(dir))
            .env("CONTAINERS_CONF", dir.join("containers.conf"));
        command
    }

    /// Brings up the loopback of the engine's network namespace.
    ///
    /// # Errors
    ///
    /// There is no busybox, or it failed.
    pub fn bring_up_loopback(&self) -> std::io::Result<()> {
        self.ip(&["link", "set", "lo", "up"])
    }

    /// Adds a private address to the engine's network namespace.
    ///
    /// # Errors
    ///
    /// There is no busybox, or it failed.
    pub fn add_address(&self, address: Ipv4Addr) -> std::io::Result<()> {
        self.ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])
    }

    fn ip(&self, args: &[&str]) -> std::io::Result<()> {
        let mut busybox = self.command_inside("/bin/busybox");
        let done = busybox.arg("ip").args(args).status()?;
        if done.success() {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("busybox ip: {done}")))
        }
    }

    /// Listens in the engine's network namespace, where every port is free.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or does not have the address.
    pub fn listen_inside(&self, address: SocketAddr) -> std::io::Result<TcpListener> {
        let namespace = File::open(format!("/proc/{}/ns/net", self.child.id()))?;
        // A socket stays in the namespace in which it was created; the thread ends at once.
        let bound = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            TcpListener::bind(address)
        });
        bound
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread that listens failed")))
    }

    /// Kills it at once, like a crash.
    pub fn crash(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Reboots its machine: all processes are killed, memory and network are lost with all
    /// listeners, and the disk is preserved.
    ///
    /// # Errors
    ///
    /// It does not start within a minute.
    pub fn reboot(&mut self, down: Down) -> Result<(), Unavailable> {
        match down {
            Down::InOrder => self.stop(),
            Down::PowerCut => self.crash(),
        }
        remains::kill(self.dir.path());
        // On a machine, Podman's two directories and the daemon's own are in /run.
        let restarted = ["exec", "run", "tmp", "pid", "engine.sock"]
            .into_iter()
            .try_for_each(|name| forget(&self.dir.path().join(name)))
            .and_then(|()| self.program.spawn(self.dir.path(), &self.options));
        self.child =
            restarted.map_err(|error| self.program.failed(error.to_string(), self.log()))?;
        self.wait_until_it_answers()
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn wait_until_it_answers(&mut self) -> Result<(), Unavailable> {
        let deadline = Instant::now() + START;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let problem = format!("it ended with {status}");
                return Err(self.program.failed(problem, self.log()));
            }
            match ping(&self.socket()) {
                Ok(true) => return Ok(()),
                _ if Instant::now() >= deadline => {
                    let problem = format!("no answer within {} seconds", START.as_secs());
                    return Err(self.program.failed(problem, self.log()));
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    /// Stops it, and kills it if it does not stop.
    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        // A child that has been waited for must not be signalled: its process id may be reused.
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), pid) {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= deadline {
                self.crash();
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        self.stop();
        remains::kill(self.dir.path());
    }
}

/// Removes a file or a directory, if it exists.
fn forget(path: &Path) -> std::io::Result<()> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether an engine answers `GET /_ping` with a success.
fn ping(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"))
}

/// A program of the search path.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Daemons are in sbin, which is missing in some shells' search path.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
