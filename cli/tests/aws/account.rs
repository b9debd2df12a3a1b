//! An emulated account, and a project deployed to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use landfall_testkit::emulated::Emulated;
use landfall_testkit::scripted::{Answer, Call, Faults, Upstream};
use serde_json::Value;
use tempfile::TempDir;

/// The repository's own example, without the command that builds its binary.
pub(crate) const EXAMPLE: &str = r#"
stack  = "digipay"

[network]
cidr    = "10.0.0.0/16"
zones   = 2
nat     = "per-zone"
bastion = { allow = ["203.0.113.7/32"], key = "key.pub" }

[load-balancer]
port = 80

[service.web]
port     = 8000
health   = { path = "/healthz" }
instance = "t3.micro"
scale    = { min = 1, desired = 2, max = 4, cpu = 60 }
env      = { LOG = "info" }
"#;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzDGmY5SxSkZWm2mHHYcKqGZvXBTvQVQmAmnDXBtq4e ana\n";

/// An account, and a directory with a `landfall.toml` for it.
pub(crate) struct Account {
    pub(crate) aws: Emulated,
    dir: TempDir,
    /// Outside the project: files in its directory are part of the image's identity.
    store: TempDir,
}

impl Account {
    pub(crate) async fn new(file: &str) -> Self {
        Self::with(file, Faults::seeded(0)).await
    }

    pub(crate) async fn with(file: &str, faults: Faults) -> Self {
        Self::of(file, Emulated::start(faults).await.unwrap())
    }

    /// An account with a script that answers first.
    pub(crate) async fn scripted(
        file: &str,
        script: impl Fn(&Call, &Upstream) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let aws = Emulated::with_script(Faults::seeded(0), script).await;
        Self::of(file, aws.unwrap())
    }

    fn of(file: &str, aws: Emulated) -> Self {
        let account = Self {
            aws,
            dir: tempfile::tempdir().unwrap(),
            store: tempfile::tempdir().unwrap(),
        };
        account.write("landfall.toml", file);
        account.write("key.pub", KEY);
        account.write("service", "not a program, and never run here");
        // The configuration is not part of the image.
        account.write(".dockerignore", "*\n!service\n");
        account.write(
            "Dockerfile",
            "FROM scratch\nCOPY service /service\nENTRYPOINT [\"/service\"]\n",
        );
        account
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A file of the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program in the project's directory, not started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("LANDFALL_PROVIDER", "aws")
            .env("LANDFALL_IMAGE_STORE", self.store.path())
            .env("HOME", self.dir.path())
            // No engine is reachable: the tests' images need none.
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .envs(self.aws.env())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program and waits for it.
    pub(crate) fn landfall(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs the program, and returns the calls and the memory that it used.
    pub(crate) fn measured(&self, args: &[&str]) -> (Ran, Took) {
        let (command, peak) = (self.command(args), self.store.path().join("peak"));
        let mut measured = Command::new("python3");
        measured
            .args(["-c", PEAK])
            .arg(&peak)
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(self.dir.path())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null());
        self.calls();
        let start = Instant::now();
        let ran = Ran::from(measured.output().unwrap());
        let took = Took {
            seconds: start.elapsed().as_secs_f64(),
            calls: self.calls(),
            kibibytes: std::fs::read_to_string(peak)
                .unwrap()
                .trim()
                .parse()
                .unwrap(),
        };
        eprintln!(
            "{}: {} calls, {:.1} s, {} MiB\n{:?}",
            args[0],
            took.total(),
            took.seconds,
            took.kibibytes / 1024,
            took.calls
        );
        (ran, took)
    }

    /// The number of calls by action since the last time.
    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for call in self.aws.endpoint.calls() {
            *calls.entry(call.to_string()).or_default() += 1;
        }
        self.aws.endpoint.forget();
        calls
    }
}

/// Runs a program and writes its peak memory in KiB to a file.
const PEAK: &str = "
import resource, subprocess, sys
ended = subprocess.run(sys.argv[2:])
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(ended.returncode)
";

/// The resources used by a run.
pub(crate) struct Took {
    pub(crate) calls: BTreeMap<String, usize>,
    seconds: f64,
    kibibytes: u64,
}

impl Took {
    /// Its calls, including retries.
    pub(crate) fn total(&self) -> usize {
        self.calls.values().sum()
    }
}

/// The exit code and the output of a run.
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
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The last line of `--json`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}
