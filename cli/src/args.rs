//! The command line: what can be asked for, and how it is explained.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use landfall_provider::StackName;

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
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  landfall deploy                       make what ./landfall.toml says, print its address
  landfall plan                         show what deploy would change, change nothing
  landfall status                       show listener, rules, target groups and targets
  landfall destroy                      end everything that the stack holds
  landfall destroy --stack digipay      the same without the file
  curl \"$(landfall deploy)\"             standard output is the address and nothing else
  landfall deploy --json | tail -n 1    the result as one line of JSON

Exit codes:
  0    done
  1    it failed; the message says what is left and how to go on
  2    the command line or landfall.toml is wrong; nothing was changed
  130  interrupted; running the same command again goes on where it ended

Interrupting:
  Ctrl-C (or SIGTERM) once starts nothing new and finishes what is under way; twice ends at once.

Environment:
  NO_COLOR               no colours
  LANDFALL_RUNTIME_DIR   where the local provider keeps its socket (default: the user's runtime directory)
  DOCKER_HOST            the container engine that builds images, if there is to be one";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make what landfall.toml says, and print the address once it answers
    ///
    /// Progress goes to standard error. The last line of standard output is the address, or with --json the
    /// result: url, dns_name, targets, image, duration_ms.
    ///
    /// A first deploy that fails removes again what it made, unless --keep-failed; later ones leave what
    /// runs as it is.
    Deploy(Deploy),
    /// Show what deploy would change, and change nothing
    Plan(Common),
    /// Show the stack's listeners, rules, target groups and targets
    ///
    /// Exits with 0 whether or not the targets are healthy; with 1 if there is no such stack.
    Status(OnStack),
    /// End everything that the stack holds
    ///
    /// Needs only the stack's name, from --stack or from the file. Carries on past what fails, and says
    /// what is left. Built images stay in the image store.
    Destroy(OnStack),
    /// Print a completion script for a shell
    ///
    /// For bash: landfall completions bash > ~/.local/share/bash-completion/completions/landfall
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of landfall.toml, for editors
    Schema,
}

/// What every command about a stack takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The file that says what there is to be
    #[arg(long, value_name = "FILE", default_value = "landfall.toml")]
    pub(crate) config: PathBuf,
    /// Where it is to be
    #[arg(long, value_enum, default_value_t = ProviderName::Local, env = "LANDFALL_PROVIDER")]
    pub(crate) provider: ProviderName,
    /// Print JSON lines to standard output: events as they happen, the result (or error) last
    #[arg(long)]
    pub(crate) json: bool,
}

/// `deploy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Leave what a failed first deploy made, to look at it
    #[arg(long)]
    pub(crate) keep_failed: bool,
}

/// A command that needs no more than the stack's name.
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
    fn a_stack_comes_from_the_name_or_from_the_file_and_not_from_both() {
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
