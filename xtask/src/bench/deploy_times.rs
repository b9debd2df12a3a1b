//! The times of the local provider: from nothing to the first answer, with nothing to do, and of a
//! destroy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::median;

/// The options of `cargo xtask bench deploy-times`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The times of one run.
#[derive(Debug, Clone, Copy)]
struct Sample {
    deploy: Duration,
    again: Duration,
    destroy: Duration,
    memory: Memory,
}

/// The memory of the cloud's processes, in KiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// The proportional set size: a page that several processes share counts once, divided among
    /// them.
    pss: u64,
    /// The resident set size: a shared page counts for each process.
    rss: u64,
}

/// The medians.
#[derive(Debug, PartialEq, Serialize)]
struct Figures {
    runs: usize,
    /// Whether the program was built with optimisations.
    optimised: bool,
    /// From the call of deploy, with no cloud process running, to the first 200, in milliseconds.
    deploy_to_first_answer_ms: u64,
    /// A deploy without changes, in milliseconds.
    deploy_nothing_to_do_ms: u64,
    /// A complete destroy, in milliseconds.
    destroy_ms: u64,
    /// The total of the cloud's own processes, without the service's: their proportional set sizes,
    /// in KiB.
    cloud_pss_kib: u64,
    /// Their resident set sizes, in KiB.
    cloud_rss_kib: u64,
}

/// The parsed fields of a deploy's last line.
#[derive(Deserialize)]
struct Deployed {
    url: String,
    changes: Changes,
}

#[derive(Deserialize)]
struct Changes {
    create: Vec<String>,
    update: Vec<String>,
    replace: Vec<String>,
    delete: Vec<String>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        [&self.create, &self.update, &self.replace, &self.delete]
            .iter()
            .all(|keys| keys.is_empty())
    }
}

/// Measures and prints.
///
/// # Errors
/// When a deploy or destroy fails, or an answer is not 200.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| format!("no scratch directory: {error}"))?;
    let landfall = Landfall {
        scratch: scratch.path(),
    };
    // The first run builds the binary and the image, and is not counted.
    let samples = landfall.sample().and_then(|_| {
        (0..options.runs)
            .map(|_| landfall.sample())
            .collect::<Result<Vec<Sample>, String>>()
    });
    if samples.is_err() {
        // The leftovers of a failed run are useless; its error is the one to report.
        let _ = landfall.call("destroy");
    }
    let figures = figures(&samples?);
    if options.json {
        let line = serde_json::to_string(&figures).map_err(|error| error.to_string())?;
        println!("{line}");
    } else {
        println!("{}", table(&figures));
    }
    Ok(())
}

/// The landfall commands, on a separate cloud.
struct Landfall<'a> {
    scratch: &'a Path,
}

impl Landfall<'_> {
    fn sample(&self) -> Result<Sample, String> {
        let started = Instant::now();
        let deployed = self.deploy()?;
        let status = status_of(&deployed.url)?;
        let deploy = started.elapsed();
        if status != 200 {
            return Err(format!("{} answered {status}", deployed.url));
        }

        let started = Instant::now();
        let second = self.deploy()?;
        let again = started.elapsed();
        if !second.changes.is_empty() {
            return Err("the second deploy found something to do".to_owned());
        }
        let memory = self.memory()?;

        let started = Instant::now();
        self.call("destroy")?;
        let destroy = started.elapsed();
        Ok(Sample {
            deploy,
            again,
            destroy,
            memory,
        })
    }

    fn deploy(&self) -> Result<Deployed, String> {
        let output = self.call("deploy")?;
        let last = output.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|error| format!("deploy's last line: {error}: {last}"))
    }

    fn call(&self, command: &str) -> Result<String, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program: {error}"))?;
        let output = Command::new(program)
            .args([command, "--json", "--yes"])
            .env("LANDFALL_RUNTIME_DIR", self.runtime_dir())
            .env("LANDFALL_IMAGE_STORE", self.scratch.join("images"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot run {command}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            let last = text.lines().last().unwrap_or_default();
            Err(format!("{command} failed ({}): {last}", output.status))
        }
    }

    fn runtime_dir(&self) -> std::path::PathBuf {
        self.scratch.join("run")
    }

    /// The memory of the cloud's processes: those with this runtime directory that are not clients.
    /// The service's processes have neither.
    fn memory(&self) -> Result<Memory, String> {
        let ours = format!("LANDFALL_RUNTIME_DIR={}", self.runtime_dir().display());
        let mut sum = Memory::default();
        let processes = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        for process in processes.flatten() {
            // A process that exited in the meantime, or belongs to another user, does not count.
            let Ok(environment) = std::fs::read(process.path().join("environ")) else {
                continue;
            };
            let set: Vec<&[u8]> = environment.split(|&byte| byte == 0).collect();
            let is_ours = set.contains(&ours.as_bytes());
            let is_cloud = set.iter().any(|set| set.starts_with(b"LANDFALL_ROLE="));
            if is_ours && is_cloud {
                let rollup = std::fs::read_to_string(process.path().join("smaps_rollup"));
                let rollup = rollup.unwrap_or_default();
                sum.pss += kib(&rollup, "Pss:").unwrap_or_default();
                sum.rss += kib(&rollup, "Rss:").unwrap_or_default();
            }
        }
        if sum.pss == 0 {
            return Err("found no cloud process to weigh".to_owned());
        }
        Ok(sum)
    }
}

/// A line of `/proc/<pid>/smaps_rollup`.
fn kib(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Requests a URL under `.localhost` and returns the status code.
fn status_of(url: &str) -> Result<u16, String> {
    let failed = |why: String| format!("{url}: {why}");
    let authority = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next())
        .ok_or_else(|| failed("not an http URL".to_owned()))?;
    let port = authority
        .rsplit_once(':')
        .map_or(Ok(80), |(_, port)| port.parse::<u16>())
        .map_err(|error| failed(error.to_string()))?;
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| failed(error.to_string()))?;
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| failed("not an HTTP answer".to_owned()))
}

fn figures(samples: &[Sample]) -> Figures {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let of = |value: &dyn Fn(&Sample) -> f64| {
        // Far below the largest number of this type.
        median(samples.iter().map(value).collect()).round() as u64
    };
    Figures {
        runs: samples.len(),
        optimised: !cfg!(debug_assertions),
        deploy_to_first_answer_ms: of(&|sample| ms(sample.deploy)),
        deploy_nothing_to_do_ms: of(&|sample| ms(sample.again)),
        destroy_ms: of(&|sample| ms(sample.destroy)),
        cloud_pss_kib: of(&|sample| sample.memory.pss as f64),
        cloud_rss_kib: of(&|sample| sample.memory.rss as f64),
    }
}

fn table(figures: &Figures) -> String {
    let build = if figures.optimised { "release" } else { "dev" };
    format!(
        "medians of {} runs, {build} build\n\
         deploy, nothing running, to the first 200  {:>7.2} s\n\
         deploy, nothing to do                      {:>7.2} s\n\
         destroy                                    {:>7.2} s\n\
         memory of the cloud's processes, PSS       {:>7.1} MiB\n\
         memory of the cloud's processes, RSS       {:>7.1} MiB",
        figures.runs,
        figures.deploy_to_first_answer_ms as f64 / 1000.0,
        figures.deploy_nothing_to_do_ms as f64 / 1000.0,
        figures.destroy_ms as f64 / 1000.0,
        figures.cloud_pss_kib as f64 / 1024.0,
        figures.cloud_rss_kib as f64 / 1024.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_sizes_are_read() {
        let rollup = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:  1234 kB\n";
        assert_eq!(kib(rollup, "Pss:"), Some(1234));
        assert_eq!(kib(rollup, "Rss:"), Some(9000));
        assert_eq!(kib("", "Pss:"), None);
    }
}
