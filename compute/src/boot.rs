//! The user data of an AWS instance: the script that starts its container, rendered from the
//! workload.
//!
//! **Invariant:** the workload can be read back from the script ([`read`]), because the cloud's
//! resources are the only state. The script contains no secret values: anyone who may describe an
//! instance can read its user data.
//!
//! An instance without a workload has no user data. The script is for Amazon Linux 2023; any other
//! Linux with cloud-init, bash, curl, the AWS CLI and Docker or Podman works. The engine restarts
//! the container by its own policy, instead of a systemd unit around `docker run`: the policy also
//! applies after a reboot, and is the same with every init system, and in a test as on an instance.
//! Podman does not support log groups.

use std::fmt::Write as _;

use landfall_provider::{Error, ErrorKind, Result};

use crate::{Limits, Workload};

/// The maximum size of user data in EC2, before encoding, in bytes:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html>.
pub const LONGEST: usize = 16 * 1024;

/// The prefix of the line with the workload.
const MARK: &str = "# landfall-workload: ";

/// The prefix of the lines that the script prints.
pub(crate) const SAYS: &str = "landfall: ";

/// The part of the script that is the same for every workload.
const SCRIPT: &str = include_str!("boot/script.sh");

/// The user data of an instance in this region.
///
/// # Errors
/// When the image's id is not known yet, when a value is not allowed in an environment, and when
/// the script would be longer than [`LONGEST`]: then the environment is too large.
pub fn user_data(region: &str, workload: &Workload) -> Result<String> {
    let image = workload.image.resolved()?.as_ref();
    if let Some((name, _)) = workload.env.iter().find(|(_, value)| value.contains('\0')) {
        return Err(Error::new(
            ErrorKind::Invalid,
            format_args!("{name}: an environment variable cannot hold a zero character"),
        ));
    }
    let json = serde_json::to_string(workload).map_err(|error| {
        Error::new(ErrorKind::Invalid, "the workload does not go into JSON").caused_by(error)
    })?;
    let log_group = workload.logs.as_ref().map_or("", |group| group.as_str());
    let mut script = format!("#!/bin/bash\n{MARK}{json}\n\n");
    for (name, value) in [
        ("image", image),
        ("port", &workload.port.to_string()),
        ("region", region),
        ("registry_region", registry_region(image).unwrap_or(region)),
        ("log_group", log_group),
    ] {
        assign(&mut script, name, &quoted(value));
    }
    let environment = workload
        .env
        .iter()
        .map(|(name, value)| format!("--env {}", quoted(&format!("{name}={value}"))));
    // Shell syntax in values is literal text.
    script.push_str("# shellcheck disable=SC1003,SC2016\n");
    assign(&mut script, "environment", &list(environment));
    assign(
        &mut script,
        "limits",
        &list(flags(&workload.limits).into_iter()),
    );
    let init = workload.init.then(|| "--init".to_owned());
    assign(&mut script, "init", &list(init.into_iter()));
    let secrets = workload.secrets.iter().map(|(name, reference)| {
        let parts = [
            name.as_str(),
            reference.store().word(),
            reference.name(),
            reference.key().unwrap_or_default(),
        ];
        parts.map(quoted).join(" ")
    });
    assign(&mut script, "secrets", &list(secrets));
    script.push_str(SCRIPT);
    if script.len() > LONGEST {
        let size = script.len();
        return Err(Error::new(
            ErrorKind::Limit,
            format_args!("the user data would have {size} bytes, and EC2 takes {LONGEST}"),
        )
        .hint("put less into `env`, such as the name of a file in the image or of a parameter"));
    }
    Ok(script)
}

/// The workload of user data; `None` when [`user_data`] did not create it.
#[must_use]
pub fn read(user_data: &str) -> Option<Workload> {
    let json = user_data.lines().find_map(|line| line.strip_prefix(MARK))?;
    serde_json::from_str(json).ok()
}

/// The progress of a boot, from its messages on the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booted {
    /// No message yet, or the messages have scrolled away.
    NotYet,
    /// The container runs, and has run for a while.
    Runs,
    /// The boot script has given up; the text is the reason.
    Failed(String),
}

/// The progress in the last lines of a console: the last message counts.
#[must_use]
pub fn booted(console: &[String]) -> Booted {
    // Cloud-init may print a prefix, such as a time.
    let said = console
        .iter()
        .filter_map(|line| line.split_once(SAYS).map(|(_, said)| said.trim()))
        .filter(|said| !said.starts_with('|'));
    for said in said.rev() {
        if said.contains(" runs on port ") {
            return Booted::Runs;
        }
        if let Some(why) = said.strip_prefix("gave up: ") {
            return Booted::Failed(why.to_owned());
        }
        if said.starts_with("the container failed: ") {
            return Booted::Failed(said.trim_end_matches("; its last lines:").to_owned());
        }
    }
    Booted::NotYet
}

/// The region of an ECR registry, which may differ from the instance's.
fn registry_region(image: &str) -> Option<&str> {
    let (_, rest) = image.split_once('/')?.0.split_once(".dkr.ecr.")?;
    Some(rest.split_once('.')?.0)
}

/// The engine's options for these limits. The disk limit is the size of the instance's root volume,
/// set at launch.
///
/// <https://docs.docker.com/engine/containers/resource_constraints/>
fn flags(limits: &Limits) -> Vec<String> {
    let memory = limits
        .memory
        .map(|size| format!("--memory {}", size.bytes()));
    let cpu = limits.cpu.map(|share| format!("--cpus {share}"));
    let processes = limits.processes.map(|most| format!("--pids-limit {most}"));
    [memory, cpu, processes].into_iter().flatten().collect()
}

fn assign(script: &mut String, name: &str, value: &str) {
    writeln!(script, "{name}={value}").expect("a string can be written to");
}

/// One line per element of an array or per group of elements.
fn list(elements: impl Iterator<Item = String>) -> String {
    let lines: String = elements.map(|element| format!("  {element}\n")).collect();
    if lines.is_empty() {
        "()".to_owned()
    } else {
        format!("(\n{lines})")
    }
}

/// Any text as one word for the shell: inside single quotes only the quote itself is special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(unix)]
#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod tests;
