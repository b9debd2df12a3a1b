//! Landfall's development tasks, and the landfall commands in a checkout: `cargo xtask deploy`.
//!
//! Every task of CI is defined here, so that it can run anywhere.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the tasks print their results"
)]

mod bench;
mod ci;
mod diff;
mod fuzz;
mod needs;
mod repo;
mod test;
mod tidy;

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};

/// Development tasks, and the landfall commands in this checkout.
#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Deploy the stack of landfall.toml; without --config, the example of this checkout
    #[command(disable_help_flag = true)]
    Deploy(Landfall),
    /// Show what deploy would change
    #[command(disable_help_flag = true)]
    Plan(Landfall),
    /// Show the stack's listeners, rules, target groups and targets
    #[command(disable_help_flag = true)]
    Status(Landfall),
    /// List the releases of every service
    #[command(disable_help_flag = true)]
    Releases(Landfall),
    /// Return a service to an earlier release
    #[command(disable_help_flag = true)]
    Rollback(Landfall),
    /// Set the number of instances of a service
    #[command(disable_help_flag = true)]
    Scale(Landfall),
    /// Explain whether a connection is allowed, and which rule blocks it
    #[command(disable_help_flag = true)]
    Explain(Landfall),
    /// Log in to an instance, or run a command there, through the bastion
    #[command(disable_help_flag = true)]
    Ssh(Landfall),
    /// Print the SSH configuration for ssh, scp and rsync through the bastion
    #[command(disable_help_flag = true)]
    SshConfig(Landfall),
    /// Run a command in an instance's container
    #[command(disable_help_flag = true)]
    Exec(Landfall),
    /// Show the output of a service's instances
    #[command(disable_help_flag = true)]
    Logs(Landfall),
    /// Carry a connection into the local provider's network
    #[command(disable_help_flag = true, hide = true)]
    Dial(Landfall),
    /// Delete every resource of the stack
    #[command(disable_help_flag = true)]
    Destroy(Landfall),
    /// Stop the instance of a stack with mode = "single"
    #[command(disable_help_flag = true)]
    Stop(Landfall),
    /// Start the instance of a stack with mode = "single" again
    #[command(disable_help_flag = true)]
    Start(Landfall),
    /// Break the lock of a run that died
    #[command(disable_help_flag = true)]
    Unlock(Landfall),
    /// Print a completion script for a shell
    #[command(disable_help_flag = true)]
    Completions(Landfall),
    /// Print the JSON schema of landfall.toml
    #[command(disable_help_flag = true)]
    Schema(Landfall),
    /// Run all tests; skip those that this machine cannot run, and list them
    Test(test::Options),
    /// Check the project's rules: words, files, modules, crate directions, licences
    Tidy(tidy::Options),
    /// Run every check of CI: format, lints, docs, each crate alone, all tests
    Ci,
    /// Compare the reachability of random networks with real packets
    Diff(diff::Options),
    /// Test the parsers with mutated files, Dockerfiles, images, plans, frames and HTTP
    Fuzz(fuzz::Options),
    /// Release and scale a service under load, next to slow clients and a hostile stack
    Soak(fuzz::SoakOptions),
    /// Run a benchmark
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// The arguments of a landfall command, unchanged; `--help` explains them.
#[derive(Debug, Args)]
struct Landfall {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    // The local provider's background process is this program, executed again.
    landfall_cli::hook();
    let outcome = match Xtask::parse().task {
        Task::Deploy(landfall) => return landfall.run("deploy", true),
        Task::Plan(landfall) => return landfall.run("plan", true),
        Task::Status(landfall) => return landfall.run("status", true),
        Task::Releases(landfall) => return landfall.run("releases", true),
        Task::Rollback(landfall) => return landfall.run("rollback", true),
        Task::Scale(landfall) => return landfall.run("scale", true),
        Task::Explain(landfall) => return landfall.run("explain", true),
        Task::Ssh(landfall) => return landfall.run("ssh", true),
        Task::SshConfig(landfall) => return landfall.run("ssh-config", true),
        Task::Exec(landfall) => return landfall.run("exec", true),
        Task::Logs(landfall) => return landfall.run("logs", true),
        Task::Dial(landfall) => return landfall.run("dial", false),
        Task::Destroy(landfall) => return landfall.run("destroy", true),
        Task::Stop(landfall) => return landfall.run("stop", true),
        Task::Start(landfall) => return landfall.run("start", true),
        Task::Unlock(landfall) => return landfall.run("unlock", true),
        Task::Completions(landfall) => return landfall.run("completions", false),
        Task::Schema(landfall) => return landfall.run("schema", false),
        Task::Test(options) => test::run(&options),
        Task::Tidy(options) => tidy::run(&options),
        Task::Ci => ci::run(),
        Task::Diff(options) => diff::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Soak(options) => fuzz::soak(&options),
        Task::Bench(bench) => bench.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

impl Landfall {
    /// Whether it is for AWS, by the command line or else LANDFALL_PROVIDER.
    fn is_on_aws(&self, variable: Option<&OsStr>) -> bool {
        let mut args = self.args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = args.next() {
            if arg == "--provider" {
                return args.next().is_some_and(|name| name == "aws");
            }
            if let Some(name) = arg.strip_prefix("--provider=") {
                return name == "aws";
            }
        }
        variable.is_some_and(|name| name == "aws")
    }

    /// The same command by this program with these features, in the user's directory.
    fn with_features(&self, command: &str, features: &[&str]) -> Command {
        let here = std::env::current_dir().unwrap_or_else(|_| repo::root());
        let manifest = repo::root().join("Cargo.toml");
        let mut xtask = repo::cargo([
            "run".as_ref(),
            "--package=xtask".as_ref(),
            OsStr::new(&format!("--features={}", features.join(","))),
            "--manifest-path".as_ref(),
            manifest.as_os_str(),
            "--".as_ref(),
            command.as_ref(),
        ]);
        xtask.args(&self.args).current_dir(here);
        xtask
    }

    /// The command line for the program, on the checkout's own file unless another one is named.
    fn command_line(&self, command: &str, on_file: bool) -> Vec<OsString> {
        let names_it = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            ["--config", "--stack"]
                .iter()
                .any(|option| arg == *option || arg.starts_with(&format!("{option}=")))
        };
        let mut args: Vec<OsString> = vec!["cargo xtask".into(), command.into()];
        if on_file && !self.args.iter().any(names_it) {
            args.push("--config".into());
            args.push(repo::root().join("landfall.toml").into());
        }
        args.extend(self.args.iter().cloned());
        args
    }

    /// Runs a landfall command, by a build with the features that it needs.
    fn run(self, command: &str, on_file: bool) -> ExitCode {
        let args = self.command_line(command, on_file);
        let mut missing = landfall_cli::missing_features(&args);
        let variable = std::env::var_os("LANDFALL_PROVIDER");
        if cfg!(not(feature = "aws")) && self.is_on_aws(variable.as_deref()) {
            missing.push("aws");
        }
        if missing.is_empty() {
            return landfall_cli::run(args);
        }
        missing.extend(FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name));
        let error = repo::become_it(&mut self.with_features(command, &missing));
        eprintln!("xtask: cannot run cargo: {error}");
        ExitCode::FAILURE
    }
}

/// The features of this package, each with whether this build has it.
const FEATURES: [(&str, bool); 4] = [
    ("aws", cfg!(feature = "aws")),
    ("engine", cfg!(feature = "engine")),
    ("registry", cfg!(feature = "registry")),
    ("ssh", cfg!(feature = "ssh")),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn landfall(args: &[&str]) -> Landfall {
        Landfall {
            args: args.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn aws_is_asked_for_by_the_flag_or_else_by_the_variable() {
        for (args, variable, on_aws) in [
            (&["--yes"][..], None, false),
            (&["--provider", "aws"], None, true),
            (&["--yes", "--provider=aws", "--json"], None, true),
            (&[], Some("aws"), true),
            (&[], Some("local"), false),
            // The flag overrides the variable.
            (&["--provider", "local"], Some("aws"), false),
            (&["--provider=local"], Some("aws"), false),
            (&["--stack", "aws"], None, false),
            (&["--provider"], Some("aws"), false),
        ] {
            let is = landfall(args).is_on_aws(variable.map(OsStr::new));
            assert_eq!(is, on_aws, "{args:?} {variable:?}");
        }
    }

    #[test]
    fn features_and_arguments_are_passed_on() {
        let command = landfall(&["--provider", "aws", "--region=eu-central-1"])
            .with_features("deploy", &["aws", "engine"]);
        let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        assert_eq!(
            args[..3],
            ["run", "--package=xtask", "--features=aws,engine"]
        );
        let end = args.iter().position(|arg| arg == "--").unwrap();
        assert_eq!(
            args[end..],
            ["--", "deploy", "--provider", "aws", "--region=eu-central-1"]
        );
        assert!(args[..end].iter().any(|arg| arg.ends_with("Cargo.toml")));
        let here = std::env::current_dir().unwrap();
        assert_eq!(command.get_current_dir(), Some(here.as_path()));
    }
}
