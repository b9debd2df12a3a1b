//! The arguments of the commands for access to instances: ssh, ssh-config, exec, logs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::OnStack;

pub(super) const SSH_AFTER: &str = "\
Examples:
  landfall ssh web                     a shell on the first instance of web
  landfall ssh web/2 -- uptime         run a command on the second
  landfall ssh web -i ~/.ssh/work      with this private key

The exit code is the command's; 255 is ssh's own.";

/// `ssh`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ssh {
    /// The instance: a service, one of its instances such as `web/2`, an instance's id, or `bastion`
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    /// The file of the private key, if Landfall does not find it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) on: OnStack,
    /// The command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

pub(super) const SSH_CONFIG_AFTER: &str = "\
Examples:
  landfall ssh-config > ~/.ssh/landfall       and once, at the top of ~/.ssh/config:  Include landfall
  scp report.csv shop-web-1:/tmp/             the stack `shop`, the first instance of `web`
  rsync -r shop-web-1:/var/data .             needs rsync in the image";

/// `ssh-config`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SshConfig {
    /// The file of the private key, if Landfall does not find it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) on: OnStack,
}

pub(super) const EXEC_AFTER: &str = "\
Examples:
  landfall exec web -- env              the environment of the first instance of web
  landfall exec web/2 -- sh             a shell in the second, if the image has one
  landfall exec web -- tar c /data | tar x";

/// `exec`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Exec {
    /// The instance: a service, one of its instances such as `web/2`, or an instance's id
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    #[command(flatten)]
    pub(crate) on: OnStack,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

pub(super) const LOGS_AFTER: &str = "\
Examples:
  landfall logs web                     of all instances of web, in the order of their output
  landfall logs web/1 -f --since 10m    of the first: the last ten minutes, then new output";

/// `logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Logs {
    /// The instances: a service, one of its instances such as `web/2`, or an instance's id
    #[arg(value_name = "INSTANCE")]
    pub(crate) instance: String,
    /// Follow the output until the instances end or Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Show only the output of this last period: 90s, 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) since: Option<Duration>,
    /// Print the time of each line
    #[arg(long, short)]
    pub(crate) timestamps: bool,
    #[command(flatten)]
    pub(crate) on: OnStack,
}

/// `dial`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Dial {
    /// Where the local provider keeps its socket
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) runtime_dir: PathBuf,
    /// The address to connect to
    pub(crate) address: std::net::Ipv4Addr,
    /// Its TCP port
    pub(crate) port: u16,
}
