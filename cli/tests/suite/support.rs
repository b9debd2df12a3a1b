//! A project in a temporary directory, with its own cloud and image store, and the real program.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A directory with a `landfall.toml`. Its stack is destroyed when the test ends in any way.
pub(crate) struct Project {
    dir: TempDir,
    /// The program, and its user if it is not the user of the tests.
    program: PathBuf,
    user: Option<u32>,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Fails the test unless the exit code matches.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Fails the test unless standard error contains all of these.
    #[track_caller]
    pub(crate) fn saying(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "`{part}` is missing in: {self:#?}"
            );
        }
        self
    }

    /// The last line of standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}

impl Project {
    /// A project with this file and a Dockerfile without a service.
    pub(crate) fn new(landfall_toml: &str) -> Self {
        let project = Self {
            // A short name: the path of a Unix socket is limited to 107 bytes.
            dir: tempfile::Builder::new().prefix("lf-").tempdir().unwrap(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_landfall")),
            user: None,
        };
        std::fs::create_dir(project.path("project")).unwrap();
        project.write("landfall.toml", landfall_toml);
        project.write("Dockerfile", "FROM scratch\nENTRYPOINT [\"/nothing\"]\n");
        project
    }

    /// A project with the service in `service.c`, in its own image.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_service(landfall_toml: &str) -> Self {
        let project = Self::new(landfall_toml);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/service.c");
        let compiled = Command::new("cc")
            .args(["-static", "-O1", "-o"])
            .arg(project.path("project/service"))
            .arg(source)
            .status();
        assert!(compiled.unwrap().success());
        project.write(
            "Dockerfile",
            "FROM scratch\nCOPY service /service\nENTRYPOINT [\"/service\"]\n",
        );
        project.write(".dockerignore", "*\n!service\n");
        project
    }

    /// A project with the testkit's service, which has persistent connections and concurrent
    /// answers.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_busy_service(landfall_toml: &str) -> Self {
        let project = Self::new(landfall_toml);
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        landfall_testkit::service::context(&project.directory(), cache).unwrap();
        project.write(".dockerignore", "*\n!service\n");
        project
    }

    /// Runs the program as an ordinary user: `nobody`, if root runs the tests.
    #[cfg(target_os = "linux")]
    pub(crate) fn by_an_ordinary_user(mut self) -> Self {
        use std::os::unix::fs::{PermissionsExt, chown};
        let me = std::fs::metadata("/proc/self").unwrap();
        if std::os::unix::fs::MetadataExt::uid(&me) == 0 {
            const NOBODY: u32 = 65534;
            // Other users may have no access to the checkout.
            self.program = self.path("landfall");
            std::fs::copy(env!("CARGO_BIN_EXE_landfall"), &self.program).unwrap();
            for path in [self.path(""), self.path("project")] {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
                chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            self.user = Some(NOBODY);
        }
        self
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("project").join(name), text).unwrap();
    }

    /// The project's own directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.path("project")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The runtime directory of the project's cloud.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.path("run")
    }

    /// The directory of the program's user data.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.path("config")
    }

    /// Another program, run in the project's directory by the program's user.
    #[cfg(target_os = "linux")]
    pub(crate) fn as_its_user(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
            std::os::unix::process::CommandExt::gid(&mut command, user);
        }
        command
            .current_dir(self.path("project"))
            .env("HOME", self.path("home"))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    /// The program in the project's directory, not started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        #[cfg(unix)]
        if let Some(user) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
            std::os::unix::process::CommandExt::gid(&mut command, user);
        }
        command
            .args(args)
            .current_dir(self.path("project"))
            .env("LANDFALL_RUNTIME_DIR", self.runtime_dir())
            .env("LANDFALL_IMAGE_STORE", self.path("images"))
            .env("LANDFALL_CONFIG_DIR", self.config_dir())
            // Only the project's own keys.
            .env("HOME", self.path("home"))
            .env_remove("SSH_AUTH_SOCK")
            // No engine is reachable: the tests' images need none.
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env_remove("LANDFALL_PROVIDER")
            .env_remove("LANDFALL_ENV")
            .env_remove("LANDFALL_SECRETS")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program and waits for it.
    pub(crate) fn landfall(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Starts the program.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The processes of the project's cloud and its instances, by their command lines: every
    /// process with the project's runtime directory, except this test.
    pub(crate) fn processes(&self) -> Vec<String> {
        let ours = format!("LANDFALL_RUNTIME_DIR={}", self.runtime_dir().display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let environ = read("environ");
            if environ
                .split(|&byte| byte == 0)
                .any(|set| set == ours.as_bytes())
            {
                let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                found.push(format!("{} {line}", entry.path().display()));
            }
        }
        found
    }

    /// Fails the test unless the project's cloud is gone completely: no process, socket or mount.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        // The outer process removes the last files after its clients have been notified.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "left: {left:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = self.processes();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let dir = self.dir.path().to_string_lossy().into_owned();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&dir))
                .map(str::to_owned),
        );
        for entry in std::fs::read_dir(self.runtime_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !["cloud.lock", "cloud.log"].contains(&name.as_str()) {
                left.push(name);
            }
        }
        left
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if self.processes().is_empty() {
            return;
        }
        let files = std::fs::read_dir(self.path("project"))
            .into_iter()
            .flatten()
            .flatten();
        let files = files.map(|file| file.path());
        let stacks: String = files
            .filter(|file| file.extension().is_some_and(|end| end == "toml"))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect();
        for line in stacks.lines() {
            if let Some(name) = line.strip_prefix("stack = \"") {
                let name = name.trim_end_matches('"');
                let _ = self
                    .command(&["destroy", "--stack", name, "--yes"])
                    .output();
            }
            let environment = line
                .strip_prefix("[env.")
                .map(|rest| rest.split(['.', ']']));
            if let Some(name) = environment.and_then(|mut parts| parts.next()) {
                let _ = self.command(&["destroy", "--env", name, "--yes"]).output();
            }
        }
    }
}

/// Requests a path of a URL under `.localhost`; returns the status and the body.
pub(crate) fn get(url: &str, path: &str) -> std::io::Result<(u16, String)> {
    get_as(url, authority(url), path, Duration::from_secs(20))
}

/// The same with a read timeout.
pub(crate) fn get_within(url: &str, path: &str, limit: Duration) -> std::io::Result<(u16, String)> {
    get_as(url, authority(url), path, limit)
}

fn authority(url: &str) -> &str {
    url.strip_prefix("http://").unwrap().trim_end_matches('/')
}

/// The same with another host name at that address.
pub(crate) fn get_as(
    url: &str,
    host: &str,
    path: &str,
    limit: Duration,
) -> std::io::Result<(u16, String)> {
    let authority = authority(url);
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(limit))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let whole = answer.split_once("\r\n\r\n");
    let (head, body) = whole.ok_or_else(|| std::io::Error::other("no answer"))?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, body.to_owned()))
}

/// Waits until a file exists.
pub(crate) fn wait_for(file: &Path) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        assert!(
            std::time::Instant::now() < deadline,
            "no {}",
            file.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
