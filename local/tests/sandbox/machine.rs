//! A cloud for one test, and what the machine shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use landfall_compute::Limits;
use landfall_local::testing::process::{Cloud, Launch};
use landfall_sandbox::Exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::image::{self, File, Layout};
use crate::stub::{Reply, Request, Start};

/// How long anything here may take.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A cloud of this test alone, and an image to run in it. Ends with the test.
pub(crate) struct TestMachine {
    pub base: TempDir,
    pub cloud: Cloud,
    pub layout: Layout,
}

/// A directory for a test, with a path short enough for a socket.
pub(crate) fn base() -> TempDir {
    tempfile::Builder::new().prefix("lf-").tempdir().unwrap()
}

impl TestMachine {
    pub(crate) fn new() -> Self {
        Self::with(&[], json!({}))
    }

    /// With these files beside the probe in the image, and this configuration of it.
    pub(crate) fn with(files: &[File<'_>], config: Value) -> Self {
        let base = base();
        let layout = image::build(base.path(), files, config);
        let cloud = Launch::new(base.path().join("run"))
            .connect_or_start()
            .unwrap();
        assert!(cloud.started);
        Self {
            base,
            cloud,
            layout,
        }
    }

    pub(crate) fn outer(&self) -> i32 {
        self.cloud.pid.unwrap()
    }

    pub(crate) fn ask(&self, request: &Request) -> Reply {
        let mut socket = UnixStream::connect(&self.cloud.socket).unwrap();
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        writeln!(socket, "{}", serde_json::to_string(request).unwrap()).unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap()
    }

    /// An order for an instance that runs the probe with `words`.
    pub(crate) fn order(&self, id: &str, words: &[&str]) -> Start {
        let mut argv = vec!["/probe".to_owned()];
        argv.extend(words.iter().map(|&word| word.to_owned()));
        Start {
            id: id.to_owned(),
            layout: self.layout.path.clone(),
            images: self.base.path().join("images"),
            manifest: self.layout.manifest.clone(),
            argv,
            user: None,
            env: BTreeMap::new(),
            limits: Limits::default(),
            init: false,
        }
    }

    pub(crate) fn start(&self, order: Start) -> Reply {
        self.ask(&Request::Start(order))
    }

    /// Starts an instance that has to start, and has to need no workaround on this machine.
    pub(crate) fn started(&self, order: Start) {
        assert_eq!(self.start(order), Reply::Started { notes: vec![] });
    }

    /// Waits until an instance has said this line.
    pub(crate) fn said(&self, id: &str, line: &str) {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let Reply::List(lines) = self.ask(&Request::Output(id.to_owned())) else {
                panic!("{id} has no output");
            };
            if lines.iter().any(|it| it == line) {
                return;
            }
            assert!(Instant::now() < deadline, "no {line:?} in {lines:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a further command in an instance to its end.
    pub(crate) fn exec(&self, id: &str, argv: &[&str]) -> Reply {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        self.ask(&Request::Exec(id.to_owned(), argv))
    }

    /// The output of the probe run beside an instance's command.
    pub(crate) fn exec_output(&self, id: &str, words: &[&str]) -> Vec<String> {
        match self.exec(id, &[&["/probe"], words].concat()) {
            Reply::Ended { output, .. } => output,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn wait(&self, id: &str) -> (Exit, Vec<String>) {
        match self.ask(&Request::Wait(id.to_owned())) {
            Reply::Ended { exit, output, .. } => (exit, output),
            other => panic!("{other:?}"),
        }
    }

    /// Runs the probe to its end.
    pub(crate) fn run(&self, words: &[&str]) -> (Exit, Vec<String>) {
        self.run_as(None, words)
    }

    pub(crate) fn run_as(&self, user: Option<&str>, words: &[&str]) -> (Exit, Vec<String>) {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = format!("run-{number}");
        let mut order = self.order(&id, words);
        order.user = user.map(str::to_owned);
        self.started(order);
        self.wait(&id)
    }

    /// The output of the probe, which has to end well.
    pub(crate) fn output(&self, words: &[&str]) -> Vec<String> {
        let (exit, output) = self.run(words);
        assert_eq!(exit, Exit::Code(0), "{output:#?}");
        output
    }

    /// What the machine shows of this cloud now.
    pub(crate) fn traces(&self) -> Traces {
        Traces::of(self.outer(), self.base.path().join("run"))
    }
}

impl Drop for TestMachine {
    fn drop(&mut self) {
        // Only the process that is still this cloud's: its lock names it, and it holds its socket.
        if UnixStream::connect(&self.cloud.socket).is_ok() {
            // The outer process tidies up behind the inner one.
            let inner = processes()
                .into_iter()
                .find(|(_, process)| process.parent == self.outer());
            let pid = inner.map_or(self.outer(), |(pid, _)| pid);
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// All that a cloud has in the kernel.
#[derive(Debug)]
pub(crate) struct Traces {
    pub processes: BTreeMap<i32, String>,
    /// Namespaces that this test is not in itself, as `/proc` names them.
    pub namespaces: BTreeSet<String>,
    dir: PathBuf,
}

impl Traces {
    fn of(outer: i32, dir: PathBuf) -> Self {
        let all: BTreeMap<i32, Process> = processes();
        let mut mine = BTreeSet::from([outer]);
        while let Some(child) = all
            .iter()
            .find(|(pid, process)| mine.contains(&process.parent) && !mine.contains(pid))
        {
            mine.insert(*child.0);
        }
        let own = namespaces_of("self");
        let namespaces = mine
            .iter()
            .flat_map(|pid| namespaces_of(&pid.to_string()))
            .filter(|namespace| !own.contains(namespace))
            .collect();
        let name = |pid: &i32| Some((*pid, all.get(pid)?.name.clone()));
        Self {
            processes: mine.iter().filter_map(name).collect(),
            namespaces,
            dir,
        }
    }

    /// Waits until none of it is left, and says what is after a while.
    pub(crate) fn assert_gone(&self) {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still there: {left:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (pid, process) in processes() {
            if self.processes.get(&pid) == Some(&process.name) {
                left.push(format!("process {pid} ({})", process.name));
            }
            for namespace in namespaces_of(&pid.to_string()).intersection(&self.namespaces) {
                left.push(format!("process {pid} ({}) in {namespace}", process.name));
            }
        }
        let dir = self.dir.to_str().unwrap();
        for line in BufReader::new(std::fs::File::open("/proc/self/mountinfo").unwrap()).lines() {
            let line = line.unwrap();
            if line.contains(dir) {
                left.push(format!("mount {line}"));
            }
        }
        left
    }
}

pub(crate) struct Process {
    pub parent: i32,
    pub name: String,
}

/// All processes that this one sees, zombies aside: those are their parents' business.
pub(crate) fn processes() -> BTreeMap<i32, Process> {
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let mut fields = rest.split_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            (!matches!(state, "Z" | "X")).then(|| {
                (
                    pid,
                    Process {
                        parent,
                        name: name.to_owned(),
                    },
                )
            })
        })
        .collect()
}

fn namespaces_of(pid: &str) -> BTreeSet<String> {
    ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
        .iter()
        .filter_map(|kind| {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
            Some(link.to_str()?.to_owned())
        })
        .collect()
}
