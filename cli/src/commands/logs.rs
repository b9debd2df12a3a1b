//! `logs`: shows the output of a service's instances.

use std::io::IsTerminal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landfall_local::{Local, LogLine};
use landfall_pipeline::Host;
use landfall_provider::InstanceId;
use serde::Serialize;
use tokio::sync::mpsc;

use super::inside::Inside;
use crate::args::Logs;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{self, DIM, paint};
use crate::selected_provider::SelectedProvider;

/// A line of a log as JSON.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    name: &'a str,
    instance: &'a InstanceId,
    at: String,
    stream: &'static str,
    text: &'a str,
}

/// Shows the logs.
pub(crate) async fn logs(args: &Logs) -> Result<u8, CliError> {
    let inside = Inside::open(&args.on).await?;
    let hosts = inside.hosts(&args.instance)?;
    match &inside.place {
        SelectedProvider::Local(local) => locally(local, &hosts, args).await,
        #[cfg(feature = "aws")]
        SelectedProvider::Aws(_) => super::ssh::logs(&inside, &hosts, args).await,
    }
}

async fn locally(local: &Local, hosts: &[&Host], args: &Logs) -> Result<u8, CliError> {
    let since_ms = args
        .since
        .map(|ago| ms(SystemTime::now()).saturating_sub(whole_ms(ago)));
    let (reported, mut lines) = mpsc::channel(256);
    for (index, host) in hosts.iter().enumerate() {
        let mut logs = local.logs(&host.id, since_ms, args.follow).await?;
        let reported = reported.clone();
        tokio::spawn(async move {
            loop {
                let line = logs.next().await;
                let is_last = !matches!(line, Ok(Some(_)));
                if reported.send((index, line)).await.is_err() || is_last {
                    return;
                }
            }
        });
    }
    drop(reported);
    let mut all: Vec<(usize, LogLine)> = Vec::new();
    while let Some((index, line)) = lines.recv().await {
        let Some(line) = line? else { continue };
        match args.follow {
            true => show(hosts, index, &line, args),
            false => all.push((index, line)),
        }
    }
    // The lines of several instances are ordered by time.
    all.sort_by_key(|(_, line)| line.at_ms);
    for (index, line) in &all {
        show(hosts, *index, line, args);
    }
    Ok(crate::exit::DONE)
}

fn show(hosts: &[&Host], index: usize, line: &LogLine, args: &Logs) {
    let host = hosts[index];
    let at = UNIX_EPOCH + Duration::from_millis(line.at_ms);
    let at = humantime::format_rfc3339_millis(at).to_string();
    if args.on.common.json {
        output::json_line(&Line {
            event: "log",
            name: &host.name,
            instance: &host.id,
            at,
            stream: if line.is_error { "stderr" } else { "stdout" },
            text: &line.text,
        });
        return;
    }
    let mut text = String::new();
    if args.timestamps {
        text.push_str(&paint(DIM, format_args!("{at} ")));
    }
    if hosts.len() > 1 {
        text.push_str(&paint(DIM, format_args!("{} | ", host.name)));
    }
    // A pipe gets the output unchanged; a terminal gets no control characters that move its cursor.
    match std::io::stdout().is_terminal() {
        true => text.push_str(&render::tame(&line.text)),
        false => text.push_str(&line.text),
    }
    text.push('\n');
    output::result(&text);
}

fn ms(time: SystemTime) -> u64 {
    whole_ms(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
