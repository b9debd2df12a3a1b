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
    about = "From a container's source to a load-balancer address that answers, in one command",
    long_about = "Takes a containerised web service from its source to a load-balancer address that answers.\n\n\
        landfall.toml says what there is to be. `deploy` builds the image, makes the network, the instances \
        and the balancer, waits until every target is healthy, and prints the address. Running it again \
        changes only what differs. There is no state file: what the provider holds is the state.",
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
  landfall deploy                       make what ./landfall.toml says, print its address
  landfall plan                         show what deploy would change, change nothing
  landfall plan --out review.plan       the same, and keep the plan
  landfall deploy --plan review.plan    carry out this plan and no other
  landfall explain internet lb:80       tell whether clients get through, and what stops them
  landfall deploy --env staging         the same for another environment, with what [env.staging] says
  landfall status                       show listener, rules, target groups and targets
  landfall releases                     list what every service has run and runs
  landfall rollback                     bring the service back to the release before
  landfall scale web=3                  current the service web current three instances from now on
  landfall logs web -f                  follow what the instances of web write
  landfall exec web -- env              run a command in an instance's container
  landfall ssh web/2                    log in to an instance, through the bastion
  landfall destroy                      end everything that the stack holds
  landfall destroy --stack digipay --yes
                                        the same without the file, and without a question
  curl \"$(landfall deploy)\"             standard output is the address and nothing else
  landfall deploy --json | tail -n 1    the result as one line of JSON

Exit codes:
  0    done
  1    it failed; the message says what is left and how to go on
  2    refused: the command line, landfall.toml or a saved plan is wrong, the stack is protected, or
       a yes is missing; nothing was changed
  130  interrupted; running the same command again goes on where it ended

Interrupting:
  Ctrl-C (or SIGTERM) once starts nothing new and finishes what is under way; twice ends at once.

Environment:
  NO_COLOR               no colours
  LANDFALL_ENV           the environment, as --env names it
  LANDFALL_SECRETS       the file with the values of secrets on this machine; LANDFALL_SECRET_<VARIABLE> gives one
  LANDFALL_RUNTIME_DIR   where the local provider keeps its socket (default: the user's runtime directory)
  LANDFALL_CONFIG_DIR    where host keys are kept, and a key that was made (default: ~/.config/landfall)
  DOCKER_HOST            the container engine that builds images, if there is to be one";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make what landfall.toml says, and print the address once it answers
    ///
    /// Progress goes to standard error. The last line of standard output is the address, or with --json the
    /// result: url, dns_name, targets, image, duration_ms.
    ///
    /// A first deploy that fails removes again what it made, unless --keep-failed. In a later one, a service whose
    /// new release does not become healthy goes back to the one before, which serves all the while.
    ///
    /// Before an address, data or the service would be lost for good, it asks. Without a terminal it takes
    /// --yes.
    Deploy(Deploy),
    /// Show what deploy would change, and change nothing
    ///
    /// Standard output is the plan: what is created (+), changed (~), replaced (-/+ the old one goes first, +/-
    /// the new one comes first) and deleted (-), with each field that differs, and what would be lost for good.
    /// What somebody changed by hand shows as a difference too.
    #[command(after_help = PLAN_AFTER)]
    Plan(Plan),
    /// Show the stack's listeners, rules, target groups and targets
    ///
    /// For each target: its zone, the version that it runs, its health with the reason's code, and since when. For
    /// each group: how many instances it is to have now, between which limits, and why that was changed last.
    ///
    /// Exits with 0 whether or not the targets are healthy; with 1 if there is no such stack.
    Status(Status),
    /// List the releases of every service: what it has run and runs
    ///
    /// Each change of what a service's instances run is a release, numbered from 1. What is listed is what the
    /// provider remembers: there is no file. States are `current` (it serves), `rolling` (it is taking over), `failed`
    /// (it was given up, and why), `superseded` and `waiting` (made, and not brought to any instance yet).
    #[command(after_help = RELEASES_AFTER)]
    Releases(Releases),
    /// Bring a service back to an earlier release, and wait until it is healthy
    ///
    /// What the earlier release ran becomes a new release and takes over as any other: the one that serves goes on
    /// serving until the instances of the new one are healthy, and comes back if they do not become so. The file still
    /// says what it says: `plan` shows the difference, and the next deploy brings it forward again.
    #[command(after_help = ROLLBACK_AFTER)]
    Rollback(Rollback),
    /// Have services have so many instances from now on, and wait until they are healthy
    ///
    /// Within the limits of [service.NAME.scale] in landfall.toml: `min` and `max`. The file's `desired` stays a wish
    /// for the beginning: a deploy leaves what was scaled as it is, until another `desired` is wished for. Where a
    /// policy scales the service, it may change the number again.
    #[command(after_help = SCALE_AFTER)]
    Scale(Scale),
    /// Tell whether a connection comes about, what stops it, and which change would let it through
    ///
    /// FROM and TO are `internet`, an address or a block, `balancer` (or `lb`), `bastion`, `s3`, a service or one
    /// of its instances such as `web/1`. It asks about the network that landfall.toml describes: nothing is built,
    /// no provider is asked. With --live it asks about what there is now.
    #[command(after_help = EXPLAIN_AFTER)]
    Explain(Explain),
    /// Log in to an instance, or run a command there, through the bastion
    ///
    /// INSTANCE is a service (the first of its instances that runs), one of them such as `web/2`, an instance's id, or
    /// `bastion`. The system's `ssh` is run; host keys come from the provider, and the private key stays where it is:
    /// in the agent or in its file.
    #[command(after_help = SSH_AFTER)]
    Ssh(Ssh),
    /// Print what ~/.ssh/config needs for ssh, scp and rsync to get through the bastion
    ///
    /// It is about the instances that there are now: print it anew when they have been replaced.
    #[command(after_help = SSH_CONFIG_AFTER)]
    SshConfig(SshConfig),
    /// Run a command in an instance's container
    ///
    /// The command sees what the service sees: the same files, user and environment. Its exit code is this
    /// program's; 127 is that of a command that the image does not have. On this machine it needs no bastion.
    #[command(after_help = EXEC_AFTER)]
    Exec(Exec),
    /// Show what a service's instances have written
    ///
    /// On this machine the last 64 KiB of each instance are kept, also of one that has ended not long ago.
    #[command(after_help = LOGS_AFTER)]
    Logs(Logs),
    /// Carry a connection into the local provider's network: what ssh-config has ssh do
    #[command(hide = true)]
    Dial(Dial),
    /// End everything that the stack holds
    ///
    /// Needs only the stack's name, from --stack or from the file. Carries on past what fails, and says
    /// what is left. Built images stay in the image store. Asks first; without a terminal it takes --yes.
    Destroy(Destroy),
    /// Stop the instance of a stack with mode = "single"; its address stays
    ///
    /// It then costs no more than its disk and its address, and answers nobody. `start` or the next `deploy` starts it
    /// again.
    Stop(Power),
    /// Start the instance of a stack with mode = "single" again, and print its address
    ///
    /// Waits until it runs; `deploy` waits until it answers as well.
    Start(Power),
    /// Break the lock of a run that has died without releasing it
    ///
    /// Shows whose lock it is, and asks. Breaking the lock of a run that lives lets two runs change one stack.
    /// Local locks end with their process and need no breaking.
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
    /// Print the least IAM policy for whoever deploys to AWS, or those that instances get
    ///
    /// The operator's is what `plan`, `deploy`, `status`, `destroy` and `unlock` need, for any stack. Nothing is
    /// read or asked for it: no file, no credentials, no AWS.
    ///
    /// Those for instances, one per service, are what a deploy of the file writes into the services' roles. They are
    /// for looking at.
    #[command(after_help = IAM_POLICY_AFTER)]
    IamPolicy(IamPolicy),
}

/// The common arguments of commands about a stack.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The file that says what there is to be
    #[arg(long, value_name = "FILE", default_value = "landfall.toml")]
    pub(crate) config: PathBuf,
    /// The environment: what the file says in [env.NAME] is laid over the rest
    #[arg(long, value_name = "NAME", env = "LANDFALL_ENV")]
    pub(crate) env: Option<String>,
    /// Where it is to be
    #[arg(long, value_enum, default_value_t = ProviderName::Local, env = "LANDFALL_PROVIDER")]
    pub(crate) provider: ProviderName,
    /// The AWS region, in place of the file's, AWS_REGION and the profile's
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The AWS profile, in place of AWS_PROFILE
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Print JSON lines to standard output: events as they happen, the result (or error) last
    #[arg(long)]
    pub(crate) json: bool,
}

const PLAN_AFTER: &str = "\
Examples:
  landfall plan --json | tail -n 1 | jq .losses        what would be lost, for a script
  landfall plan --detailed-exitcode || echo $?         2 if there is something to do

Exit codes:
  0    planned (with --detailed-exitcode: and there is nothing to do)
  1    it failed, or the provider has something against the plan
  2    the command line or landfall.toml is wrong
With --detailed-exitcode every error is 1, and 2 means that there is something to do.";

/// `plan`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Keep the plan in a file, for `deploy --plan`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Let the address by which this machine is seen connect to the bastion, beside those that the file names; or the
    /// address or block that is given: --my-address=198.51.100.7
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) my_address: Option<MyAddress>,
    /// Exit with 2 if there is something to do, with 0 if there is not, and with 1 for every error
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Leave the `before` commands out: what they build is there already
    #[arg(long)]
    pub(crate) no_before: bool,
    /// Accept a network in which something cannot be reached that has to be, or can that must not
    #[arg(long)]
    pub(crate) accept_unreachable: bool,
}

const EXPLAIN_AFTER: &str = "\
Examples:
  landfall explain internet lb:80               can clients reach the balancer, and through it the service
  landfall explain bastion web/1:22             can operators log in to an instance
  landfall explain web internet:443             can every instance pull its image
  landfall explain 203.0.113.9 bastion:22       can this address log in
  landfall explain web/1 s3 --svg path.svg      the same as a picture, on the port that S3 has
  landfall explain --all                        who can reach what, on which ports
  landfall explain --live internet lb || exit   for a script: the exit code is the answer

Exit codes:
  0    reachable (with --all: reported)
  1    not reachable, or not all of it; or it failed, as when there is no such stack
  2    the command line or landfall.toml is wrong";

/// `explain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Explain {
    /// Who connects
    #[arg(required_unless_present = "all")]
    pub(crate) from: Option<String>,
    /// Who is connected to, and on which TCP port; without one, on that of the listener or service, 22 for the
    /// bastion, 443 elsewhere
    #[arg(value_name = "TO[:PORT]", required_unless_present = "all")]
    pub(crate) to: Option<String>,
    /// Tell who can reach what, on which ports
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(crate) all: bool,
    /// Ask about what there is now, and not about what the file describes
    #[arg(long)]
    pub(crate) live: bool,
    /// Draw the answer into this file, too
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
    /// The service; every one if not given
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
  0    the service runs what that release ran, and is healthy
  1    it failed, or the release cannot run any more; the message says what serves
  2    refused: there is no such service or release, or nothing to go back to; nothing was changed
  130  interrupted";

/// `rollback`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Rollback {
    /// The service; may be left out if there is only one
    pub(crate) service: Option<String>,
    /// The release to go back to; the last that served before the current one if not given
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
    /// Who is to be allowed something
    #[arg(long = "for", value_enum, value_name = "WHO", default_value_t = Who::Operator)]
    pub(crate) who: Who,
    /// The file that says what instances need
    #[arg(long, value_name = "FILE", default_value = "landfall.toml")]
    pub(crate) config: PathBuf,
    /// The environment: what the file says in [env.NAME] is laid over the rest
    #[arg(long, value_name = "NAME", env = "LANDFALL_ENV")]
    pub(crate) env: Option<String>,
    /// The AWS region that instances are in, in place of the file's and AWS_REGION
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The AWS account that instances are in, in place of the file's
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
}

/// The principal of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// Whoever runs Landfall
    Operator,
    /// The services' instances
    Instances,
}

/// The common arguments of commands that need the stack's lock.
#[derive(Debug, Clone, Args)]
pub(crate) struct Waiting {
    /// Wait for another run on the stack, an hour at the most or as long as is said: --wait=10m
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
    /// Say yes beforehand to what would be asked
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
    /// Keep it current until Ctrl-C or the stack's end: drawn again in its place on a terminal, written anew when
    /// something has changed elsewhere (with --json, a line for each change)
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
    /// Say yes beforehand to what would be asked
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `deploy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Let the address by which this machine is seen connect to the bastion, beside those that the file names; or the
    /// address or block that is given: --my-address=198.51.100.7
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) my_address: Option<MyAddress>,
    /// Leave what a failed first deploy made, to look at it
    #[arg(long)]
    pub(crate) keep_failed: bool,
    /// Carry out this plan, kept by `plan --out`, and refuse if anything has changed since
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Leave the `before` commands out: what they build is there already
    #[arg(long)]
    pub(crate) no_before: bool,
    /// Accept a network in which something cannot be reached that has to be, or can that must not
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
    /// The stack, in place of the one that the file names
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
