//! `wrk`, run in the namespace that is the internet to a cloud.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landfall_local::testing::process;
use tokio::process::Command;

/// The name of the thread that carries connections from loopback into the cloud. It lives on the internet.
const INTERNET: &str = "internet";

/// A way to run `wrk` there.
pub(crate) struct Wrk {
    /// `nsenter` and its arguments.
    enter: Vec<String>,
}

impl Wrk {
    /// Finds the internet of the cloud in this runtime directory.
    ///
    /// # Errors
    /// When there is no cloud, or its processes cannot be looked at.
    pub(crate) fn on_the_internet(run_dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let outer = process::running(run_dir)?
            .and_then(|cloud| cloud.pid)
            .ok_or("there is no cloud to measure")?;
        let thread = thread_of_children(outer, INTERNET)
            .ok_or("found no thread of the cloud that lives on the internet")?;
        let shown = thread.display();
        let mut enter = vec![format!("--net={shown}/ns/net")];
        // Root's cloud has no user namespace of its own, and nobody can enter the one he is in.
        if fs::read_link(thread.join("ns/user"))? != fs::read_link("/proc/self/ns/user")? {
            enter.push(format!("--user={shown}/ns/user"));
            enter.push("--preserve-credentials".to_owned());
        }
        Ok(Self { enter })
    }

    /// Asks port 80 of an address for this long, with 64 connections from 2 threads.
    ///
    /// # Errors
    /// When `wrk` cannot be run, or not every answer was 200.
    pub(crate) async fn requests_per_second(
        &self,
        address: Ipv4Addr,
        duration: Duration,
    ) -> Result<f64, Box<dyn std::error::Error>> {
        let output = Command::new("nsenter")
            .args(&self.enter)
            .args(["--", "wrk", "-c", "64", "-t", "2"])
            .args(["-d", &format!("{}s", duration.as_secs())])
            .arg(format!("http://{address}/"))
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("cannot run nsenter: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("wrk failed ({}): {}", output.status, why.trim()).into());
        }
        rate(&text).map_err(Into::into)
    }
}

/// What `wrk` has found, unless it met with errors.
fn rate(report: &str) -> Result<f64, String> {
    let line = |name: &str| {
        report
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
    };
    for errors in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(what) = line(errors) {
            return Err(format!("not every request was answered: {errors}{what}"));
        }
    }
    line("Requests/sec:")
        .and_then(|rate| rate.trim().parse().ok())
        .ok_or_else(|| format!("wrk reports no rate:\n{report}"))
}

/// The `/proc` directory of the thread of this name in a child of a process.
fn thread_of_children(process: i32, name: &str) -> Option<PathBuf> {
    let tasks = |process: &str| fs::read_dir(format!("/proc/{process}/task")).ok();
    tasks(&process.to_string())?.flatten().find_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).ok()?;
        children.split_whitespace().find_map(|child| {
            let of_name = |thread: &PathBuf| {
                fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
            };
            tasks(child)?
                .flatten()
                .map(|thread| thread.path())
                .find(of_name)
        })
    })
}
