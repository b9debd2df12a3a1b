//! Registries for tests: Debian's `docker-registry`, beside a private engine or on loopback.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::engines::PrivateEngine;

/// Its address: in the engine's own network namespace this port is always free.
pub const ADDRESS: &str = "127.0.0.1:5000";

/// A registry that is stopped when it is dropped.
#[derive(Debug)]
pub struct Registry(Child);

impl Registry {
    /// Starts it with its data in `dir`, for the users in a `htpasswd` file. It listens a moment
    /// later.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or a program cannot be started.
    pub fn start(engine: &PrivateEngine, dir: &Path, htpasswd: &str) -> io::Result<Self> {
        engine.bring_up_loopback()?;
        std::fs::write(dir.join("htpasswd"), htpasswd)?;
        let shown = dir.display();
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {shown}/data}}}}\n\
             http: {{addr: {ADDRESS}}}\n\
             auth: {{htpasswd: {{realm: landfall, path: {shown}/htpasswd}}}}\n"
        );
        std::fs::write(dir.join("config.yml"), config)?;
        let child = engine
            .command_inside("setpriv")
            // It exits with the calling thread, like the engine, if a test is killed.
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(dir.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("log"))?)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A user of [`OnLoopback`], with the password.
pub const USER: (&str, &str) = ("digi", "open sesame");

/// The same as a line of `htpasswd`, with bcrypt at its lowest cost.
const HTPASSWD: &str = "digi:$2b$04$n4ffH4MWRSsnDcrRxUuXG.O/ygj0QoEgHNXV.R/1G9oK4PY4XBfAe\n";

/// A registry on a free port of loopback, with its own storage. It is stopped when it is dropped.
#[derive(Debug)]
pub struct OnLoopback {
    child: Child,
    address: String,
    dir: TempDir,
}

impl OnLoopback {
    /// Starts it, for [`USER`] or without a login, and waits until it listens.
    ///
    /// # Errors
    /// When the program is missing (Debian: `apt-get install docker-registry`) or does not print
    /// its address.
    pub fn start(password: bool) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let shown = dir.path().display();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD)?;
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {shown}/htpasswd}}}}\n");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {shown}/storage}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n{}",
            if password { auth.as_str() } else { "" }
        );
        std::fs::write(dir.path().join("config.yml"), config)?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let silent = || io::Error::other("the registry does not say where it listens");
        let mut lines = BufReader::new(child.stderr.take().ok_or_else(silent)?).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split("listening on ").nth(1)?;
            Some(rest.split(['"', ',', ' ']).next()?.to_owned())
        });
        // It continues to write, and must not block because nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        match address {
            Some(address) => Ok(Self {
                child,
                address,
                dir,
            }),
            None => {
                child.kill()?;
                Err(silent())
            }
        }
    }

    /// Its address: `127.0.0.1:4711`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The directory of a repository's tags: a subdirectory for each, with the digest in
    /// `current/link`.
    #[must_use]
    pub fn tags(&self, repository: &str) -> PathBuf {
        let repositories = self
            .dir
            .path()
            .join("storage/docker/registry/v2/repositories");
        repositories.join(repository).join("_manifests/tags")
    }
}

impl Drop for OnLoopback {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
