//! A registry that asks for a password, beside a private engine: Debian's `docker-registry`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::engines::PrivateEngine;

/// Where it listens: in the engine's own network namespace nobody else has this port.
pub const ADDRESS: &str = "127.0.0.1:5000";

/// A registry that is stopped when it is dropped.
#[derive(Debug)]
pub struct Registry(Child);

impl Registry {
    /// Starts it with its data in `dir`, for the users of a `htpasswd` file. It listens a moment later.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or a program be started.
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
            .command_inside("docker-registry")
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("log"))?)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
