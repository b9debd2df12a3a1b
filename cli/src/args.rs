//! The command line: commands, options and their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use landfall_provider::{ResourceName, StackName};

use crate::my_address::MyAddress;

mod access;
#[cfg(test)]
mod documented;
mod scale;

pub(crate) use access::{Dial, Exec, Logs, Ssh, SshConfig};
use access::{EXEC_AFTER, LOGS_AFTER, SSH_AFTER, SSH_CONFIG_AFTER};
use scale::SCALE_AFTER;
pub(crate) use scale::Scale;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "landfall",
    version,
    about = "Deploy a containerised web service from source to a load-balancer address in one command",
    long_about = "Deploy a containerised web service from source to a load-balancer address.\n\n\
        landfall.toml describes the stack. `deploy` builds the image, creates the network, the instances \
        and the balancer, waits until every target is healthy, and prints the address. Running it again \
        changes only the differences. There is no state file: the provider's resources are the state.",
    after_long_help = AFTER,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  landfall deploy                       deploy the stack of ./landfall.toml, print its address
  landfall plan                         show the changes that deploy would make
  landfall plan --out review.plan       show the changes, and save the plan
  landfall deploy --plan review.plan    apply this saved plan and no other
  landfall explain internet lb:80       check whether clients can connect, and which rule blocks them
  landfall deploy --env staging         deploy the environment `staging`
  landfall status                       show listener, rules, target groups and targets
  landfall releases                     list the releases of every service
  landfall rollback                     return the service to its previous release
  landfall scale web=3                  set the number of instances of web to 3
  landfall logs web -f                  follow the output of the instances of web
  landfall exec web -- env              run a command in an instance's container
  landfall ssh web/2                    log in to an instance, through the bastion
  landfall destroy                      delete every resource of the stack
  landfall destroy --stack digipay --yes
                                        the same without the file and without a confirmation
  curl \"$(landfall deploy)\"             standard output is the address and nothing else
  landfall deploy --json | tail -n 1    the result as one line of JSON

Exit codes:
  0    done
  1    failed; the message says what is left and how to continue
  2    refused: the command line, landfall.toml or a saved plan is wrong, the stack is protected, or
       a confirmation is missing; nothing was changed
  130  interrupted; run the same command again to continue

Interrupting:
  Ctrl-C (or SIGTERM) once finishes the current operations and starts no others; twice ends at once.

Environment:
  NO_COLOR               no colours
  LANDFALL_ENV           the environment, like --env
  LANDFALL_SECRETS       the file with the values of secrets on this machine; LANDFALL_SECRET_<VARIABLE> gives one
  LANDFALL_RUNTIME_DIR   where the local provider keeps its socket (default: the user's runtime directory)
  LANDFALL_CONFIG_DIR    the directory of host keys and of a generated key (default: ~/.config/landfall)
  DOCKER_HOST            the container engine that builds images (optional)";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deploy the stack of landfall.toml, and print its address
    ///
    /// Progress goes to standard error. The last line of standard output is the address, or with --json the
    /// result: url, dns_name, targets, image, duration_ms.
    ///
    /// A failed first deploy deletes the resources that it created, unless --keep-failed. In a later deploy, a service
    /// whose new release does not become healthy returns to its previous release, which serves the whole time.
    ///
    /// Asks for a confirmation before it loses an address, data or the service for good. Without a terminal it needs
    /// --yes.
    Deploy(Deploy),
    /// Show the changes that deploy would make, and make none
    ///
    /// Standard output is the plan: resources to create (+), change (~), replace (-/+ the old one is deleted first, +/-
    /// the new one is created first) and delete (-), with each field that differs, and every irreversible loss.
    /// Changes that somebody made by hand are shown too.
    #[command(after_help = PLAN_AFTER)]
    Plan(Plan),
    /// Show the stack's listeners, rules, target groups and targets
    ///
    /// For each target: its zone, version, health with reason code, and the time of its last change. For each
    /// group: the desired number of instances, its limits, and the reason of the last change.
    ///
    /// Exits with 0 whether or not the targets are healthy; with 1 if there is no such stack.
    Status(Status),
    /// List the releases of every service
    ///
    /// Each change of the image, the environment or the instance type is a release, numbered from 1. The provider keeps
    /// the list; there is no file. States are `current` (it serves), `rolling` (it is replacing the old one), `failed`
    /// (with the reason), `superseded` and `waiting` (created, and not on any instance yet).
    #[command(after_help = RELEASES_AFTER)]
    Releases(Releases),
    /// Return a service to an earlier release, and wait until it is healthy
    ///
    /// The content of the earlier release becomes a new release, and is rolled out like any other: the current release
    /// serves until the new instances are healthy, and stays if they do not become healthy. The file does not change:
    /// `plan` shows the difference, and the next deploy rolls out the file's version again.
    #[command(after_help = ROLLBACK_AFTER)]
    Rollback(Rollback),
    /// Set the number of instances of a service, and wait until they are healthy
    ///
    /// The number must be between `min` and `max` of [service.NAME.scale] in landfall.toml. The file's `desired` is only
    /// the initial number: a deploy keeps the scaled number until `desired` in the file changes. A scaling policy of the
    /// service may change the number again.
    #[command(after_help = SCALE_AFTER)]
    Scale(Scale),
    /// Explain whether a connection is allowed, which rule blocks it, and which change would allow it
    ///
    /// FROM and TO are `internet`, an address or a block, `balancer` (or `lb`), `bastion`, `s3`, a service or one
    /// of its instances such as `web/1`. By default, the network is the one that landfall.toml describes: nothing is
    /// built, and no provider is needed. With --live, it is the provider's present network.
    #[command(after_help = EXPLAIN_AFTER)]
    Explain(Explain),
    /// Log in to an instance, or run a command there, through the bastion
    ///
    /// INSTANCE is a service (the first of its instances that runs), one of them such as `web/2`, an instance's id, or
    /// `bastion`. Runs the system's `ssh`; host keys come from the provider, and the private key stays where it is:
    /// in the agent or in its file.
    #[command(after_help = SSH_AFTER)]
    Ssh(Ssh),
    /// Print the SSH configuration for ssh, scp and rsync through the bastion
    ///
    /// It lists the present instances: print it again after they are replaced.
    #[command(after_help = SSH_CONFIG_AFTER)]
    SshConfig(SshConfig),
    /// Run a command in an instance's container
    ///
    /// The command has the files, the user and the environment of the service. Its exit code is the exit code of this
    /// program; 127 means that the image does not contain the command. On this machine it needs no bastion.
    #[command(after_help = EXEC_AFTER)]
    Exec(Exec),
    /// Show the output of a service's instances
    ///
    /// On this machine the last 64 KiB of each instance are kept, also of instances that ended recently.
    #[command(after_help = LOGS_AFTER)]
    Logs(Logs),
    /// Carry a connection into the local provider's network: what ssh-config has ssh do
    #[command(hide = true)]
    Dial(Dial),
    /// Delete every resource of the stack
    ///
    /// Needs only the stack's name, from --stack or from the file. Continues after failures, and lists the remaining
    /// resources. Built images stay in the image store. Asks first; without a terminal it needs --yes.
    Destroy(Destroy),
    /// Stop the instance of a stack with mode = "single"; its address stays
    ///
    /// A stopped instance costs only its disk and its address, and serves no requests. `start` or the next `deploy` starts it
    /// again.
    Stop(Power),
    /// Start the instance of a stack with mode = "single" again, and print its address
    ///
    /// Waits until the instance runs; `deploy` also waits until the service answers.
    Start(Power),
    /// Break the lock of a run that died
    ///
    /// Shows the holder of the lock, and asks. If that run still lives, two runs will then change one stack.
    /// Local locks end with their process.
    Unlock(Unlock),
    /// Print a completion script for a shell
    ///
    /// For bash: landfall completions bash > ~/.local/share/bash-completion/completions/landfall
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of landfall.toml, for editors
    Schema,
    /// Print the least IAM policy for the operator, or the policies of the instances
    ///
    /// The operator's policy allows `plan`, `deploy`, `status`, `destroy` and `unlock` for every stack. The command needs
    /// no file, no credentials and no access to AWS.
    ///
    /// The policies of the instances, one per service, are those that a deploy of the file writes into the roles of the
    /// services.
    #[command(after_help = IAM_POLICY_AFTER)]
    IamPolicy(IamPolicy),
}

/// The common arguments of commands about a stack.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The file that describes the stack
    #[arg(long, value_name = "FILE", default_value = "landfall.toml")]
    pub(crate) config: PathBuf,
    /// The environment: [env.NAME] is merged into the rest of the file
    #[arg(long, value_name = "NAME", env = "LANDFALL_ENV")]
    pub(crate) env: Option<String>,
    /// The provider
    #[arg(long, value_enum, default_value_t = ProviderName::Local, env = "LANDFALL_PROVIDER")]
    pub(crate) provider: ProviderName,
    /// The AWS region; overrides the file, AWS_REGION and the profile
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The AWS profile; overrides AWS_PROFILE
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Print JSON lines to standard output: events as they happen, the result (or error) last
    #[arg(long)]
    pub(crate) json: bool,
}

const PLAN_AFTER: &str = "\
Examples:
  landfall plan --json | tail -n 1 | jq .losses        the irreversible losses, for a script
  landfall plan --detailed-exitcode || echo $?         2 if there are changes

Exit codes:
  0    success (with --detailed-exitcode: there are no changes)
  1    failed, or the provider rejects the plan
  2    the command line or landfall.toml is wrong
With --detailed-exitcode every error is 1, and 2 means that there are changes.";

/// `plan`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Save the plan to a file, for `deploy --plan`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Allow the public address of this machine to connect to the bastion, in addition to those in the file; or the
    /// given address or block: --my-address=198.51.100.7
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) my_address: Option<MyAddress>,
    /// Exit with 2 if there are changes, with 0 if there are none, and with 1 for every error
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Skip the `before` commands, and use the output of their last run
    #[arg(long)]
    pub(crate) no_before: bool,
    /// Skip the reachability check
    #[arg(long)]
    pub(crate) accept_unreachable: bool,
}

const EXPLAIN_AFTER: &str = "\
Examples:
  landfall explain internet lb:80               can clients reach the balancer and the service behind it
  landfall explain bastion web/1:22             can operators log in to an instance
  landfall explain web internet:443             can every instance pull its image
  landfall explain 203.0.113.9 bastion:22       can this address log in
  landfall explain web/1 s3 --svg path.svg      the same as a picture, on the port of S3
  landfall explain --all                        all allowed connections, with their ports
  landfall explain --live internet lb || exit   for a script: the exit code is the answer

Exit codes:
  0    reachable (with --all: printed)
  1    not reachable, or only in part; or failed, for example because there is no such stack
  2    the command line or landfall.toml is wrong";

/// `explain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Explain {
    /// The source
    #[arg(required_unless_present = "all")]
    pub(crate) from: Option<String>,
    /// The destination and its TCP port; without a port, that of the listener or service, 22 for the
    /// bastion, 443 otherwise
    #[arg(value_name = "TO[:PORT]", required_unless_present = "all")]
    pub(crate) to: Option<String>,
    /// Show all allowed connections, with their ports
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(crate) all: bool,
    /// Use the provider's present network instead of the file's
    #[arg(long)]
    pub(crate) live: bool,
    /// Also draw the result into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

const RELEASES_AFTER: &str = "\
Examples:
  landfall releases                                  of every service
  landfall releases web                              of one
  landfall releases --json | tail -n 1 | jq '.services[0].releases[-1].digest'";

/// `releases`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Releases {
    /// The service (default: every service)
    pub(crate) service: Option<ResourceName>,
    #[command(flatten)]
    pub(crate) on: OnStack,
}

const ROLLBACK_AFTER: &str = "\
Examples:
  landfall rollback             the only service, to the last release that served before
  landfall rollback 3           the only service, to release 3
  landfall rollback web 3       one of several

Exit codes:
  0    the service runs the content of that release, and is healthy
  1    failed, or the release can no longer run; the message says which release serves
  2    refused: there is no such service or release, or no earlier release; nothing was changed
  130  interrupted";

/// `rollback`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Rollback {
    /// The service; optional if there is only one
    pub(crate) service: Option<String>,
    /// The release to return to (default: the last that served before the current one)
    #[arg(value_name = "RELEASE")]
    pub(crate) release: Option<u32>,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

const IAM_POLICY_AFTER: &str = "\
Examples:
  landfall iam-policy > operator.json
  aws iam create-policy --policy-name landfall --policy-document file://operator.json
  landfall iam-policy --for instances --account 123456789012 | jq .web";

/// `iam-policy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IamPolicy {
    /// The subject of the policy
    #[arg(long = "for", value_enum, value_name = "WHO", default_value_t = Who::Operator)]
    pub(crate) who: Who,
    /// The file that describes the services
    #[arg(long, value_name = "FILE", default_value = "landfall.toml")]
    pub(crate) config: PathBuf,
    /// The environment: [env.NAME] is merged into the rest of the file
    #[arg(long, value_name = "NAME", env = "LANDFALL_ENV")]
    pub(crate) env: Option<String>,
    /// The AWS region of the instances; overrides the file and AWS_REGION
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The AWS account of the instances; overrides the file
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
}

/// The principal of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// The operator, who runs Landfall
    Operator,
    /// The services' instances
    Instances,
}

/// The common arguments of commands that need the stack's lock.
#[derive(Debug, Clone, Args)]
pub(crate) struct Waiting {
    /// Wait for another run on the stack, for up to one hour or the given time: --wait=10m
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1h",
        value_parser = humantime::parse_duration
    )]
    pub(crate) wait: Option<Duration>,
}

/// The common arguments of commands that change a stack.
#[derive(Debug, Clone, Args)]
pub(crate) struct Changing {
    /// Confirm every question in advance
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// `status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) on: OnStack,
    /// Update the output until Ctrl-C or the end of the stack: in place on a terminal, otherwise printed again after each
    /// change (with --json, one line for each change)
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `destroy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(crate) on: OnStack,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

/// `stop` and `start`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Power {
    #[command(flatten)]
    pub(crate) on: OnStack,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// `unlock`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    pub(crate) on: OnStack,
    /// Confirm every question in advance
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `deploy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Allow the public address of this machine to connect to the bastion, in addition to those in the file; or the
    /// given address or block: --my-address=198.51.100.7
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) my_address: Option<MyAddress>,
    /// Keep the resources of a failed first deploy, for inspection
    #[arg(long)]
    pub(crate) keep_failed: bool,
    /// Apply this plan, saved by `plan --out`; refuse if anything has changed since
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Skip the `before` commands, and use the output of their last run
    #[arg(long)]
    pub(crate) no_before: bool,
    /// Skip the reachability check
    #[arg(long)]
    pub(crate) accept_unreachable: bool,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

/// The arguments of a command that needs only the stack's name.
#[derive(Debug, Clone, Args)]
pub(crate) struct OnStack {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The stack (default: the stack of the file)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) stack: Option<StackName>,
}

/// Writes the completion script for a shell to standard output.
pub(crate) fn complete(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "landfall", &mut script);
    crate::output::result(&String::from_utf8_lossy(&script));
}

/// The providers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProviderName {
    /// This machine: real packets, no account, nothing installed (Linux)
    Local,
    /// Amazon Web Services
    Aws,
}

#[cfg(test)]
mod tests {
    use super::scale::ScaleTarget;
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_stack_name_is_checked_where_it_is_given() {
        let error =
            Cli::try_parse_from(["landfall", "destroy", "--stack", "Digi_Pay"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error
                .to_string()
                .contains("`Digi_Pay` is not a stack name: 1 to 24 lower-case letters"),
            "{error}"
        );
    }

    #[test]
    fn a_wish_is_a_service_and_a_number() {
        let target: ScaleTarget = "web=3".parse().unwrap();
        assert_eq!((target.service.as_str(), target.instances), ("web", 3));
        for bad in ["web", "web=", "web=three", "web=-1", "=3", "We b=3"] {
            assert!(bad.parse::<ScaleTarget>().is_err(), "{bad}");
        }
        assert!(Cli::try_parse_from(["landfall", "scale"]).is_err());
    }

    #[test]
    fn stack_name_and_file_exclude_each_other() {
        let both = ["landfall", "destroy", "--stack", "a", "--config", "b.toml"];
        assert!(Cli::try_parse_from(both).is_err());
        assert!(Cli::try_parse_from(["landfall", "destroy", "--stack", "a"]).is_ok());
    }

    #[test]
    fn the_exit_codes_are_documented() {
        let help = Cli::command().render_long_help().to_string();
        for code in ["  0 ", "  1 ", "  2 ", "  130 "] {
            assert!(help.contains(code), "{code} is missing in:\n{help}");
        }
    }
}
