//! The commands: each opens the provider, runs a flow of the pipeline and prints the result.

mod confirmation;
mod deploy;
mod destroy;
mod dial;
mod exec;
mod explain;
mod iam_policy;
mod inside;
mod logs;
mod operator;
pub(crate) mod plan;
mod power;
pub(crate) mod releases;
mod rollback;
mod scale;
mod ssh;
mod status;
mod unlock;

use landfall_pipeline::{Config, Failure, InvalidRegion, Options, Region};
use landfall_provider::{ApplyOptions, StackName};

use crate::args::{Changing, Cli, Command, Common, OnStack};
use crate::cli_error::CliError;
use crate::progress::Progress;
use crate::selected_provider::{Said, SelectedProvider};
use crate::{exit, output};

pub(crate) use deploy::deploy;
pub(crate) use destroy::destroy;
pub(crate) use explain::explain;
pub(crate) use plan::plan;
pub(crate) use power::{start, stop};
pub(crate) use releases::releases;
pub(crate) use rollback::rollback;
pub(crate) use scale::scale;
pub(crate) use status::status;
pub(crate) use unlock::unlock;

/// The provider, events and signals of a command.
pub(crate) struct Session {
    place: SelectedProvider,
    options: Options,
    progress: Progress,
    json: bool,
}

impl Session {
    /// Opens the provider, and listens for events and signals.
    async fn open(common: &Common, said: Said) -> Result<Self, CliError> {
        let coming = "stopping after the current operations; interrupt again to stop at once";
        Self::saying(common, said, Some(coming)).await
    }

    /// The same without a message about a signal, for commands that it ends.
    async fn quietly(common: &Common, said: Said) -> Result<Self, CliError> {
        Self::saying(common, said, None).await
    }

    async fn saying(
        common: &Common,
        said: Said,
        coming: Option<&'static str>,
    ) -> Result<Self, CliError> {
        let progress = Progress::for_streams(common.json);
        let events = progress.events();
        let place = SelectedProvider::open(common, said, &events).await?;
        let stop = crate::stop::on_signal({
            let progress = progress.clone();
            move || {
                if let Some(coming) = coming {
                    progress.say(coming);
                }
            }
        })
        .map_err(|error| CliError::usage(format!("cannot wait for signals: {error}"), None))?;
        Ok(Self {
            options: Options {
                apply: ApplyOptions {
                    poll_interval: place.poll_interval(),
                    events,
                    stop: stop.gently,
                    ..ApplyOptions::default()
                },
                at_once: stop.at_once,
                request_timeout: place.request_timeout(),
                who: crate::who::am_i(),
                ..Options::default()
            },
            place,
            progress,
            json: common.json,
        })
    }
}

impl Session {
    /// Awaits a read-only operation. The first signal ends it: nothing needs to be finished.
    async fn look<T>(
        &self,
        looking: impl Future<Output = landfall_provider::Result<T>>,
    ) -> Result<T, CliError> {
        tokio::select! {
            biased;
            looked = looking => Ok(looked?),
            () = self.options.apply.stop.cancelled() => Err(Failure::interrupted().into()),
        }
    }

    /// Applies the common arguments of commands that change a stack.
    fn changing(&mut self, args: &Changing) {
        self.options.wait = args.waiting.wait;
        self.options.confirmation = confirmation::confirmation(args.yes, self.json);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.progress.finish();
    }
}

impl Session {
    /// Opens the provider for the file; a missing region comes from the provider.
    async fn for_config(common: &Common, config: &mut Config) -> Result<Self, CliError> {
        let session = Self::open(common, Said::from(&*config)).await?;
        if let Some(region) = session.place.region() {
            let invalid = |error: InvalidRegion| CliError::usage(format!("{error}"), None);
            config.region = Region::new(region).map_err(invalid)?;
        }
        let zones = session.look(session.place.zones(config)).await?;
        let found = config.choose_zones(&zones);
        if !found.is_empty() {
            Config::locate(&common.config, common.env.as_deref(), &found)?;
        }
        Ok(session)
    }
}

/// Reads the file.
fn config(common: &Common) -> Result<Config, CliError> {
    Ok(Config::load_for(&common.config, common.env.as_deref())?)
}

/// The stack of a command. The file with its name may be invalid elsewhere: existing resources can
/// still be listed and deleted.
fn stack_of(args: &OnStack) -> Result<(StackName, Said), CliError> {
    let environment = args.common.env.as_deref();
    match &args.stack {
        Some(stack) if environment.is_some() => Err(CliError::usage(
            format!(
                "`{stack}` is the full name of a stack, so it cannot be combined with an environment"
            ),
            Some("remove --env (LANDFALL_ENV) or --stack"),
        )),
        Some(stack) => Ok((stack.clone(), Said::default())),
        None => {
            let there = Config::whereabouts(&args.common.config, environment)?;
            Ok((there.stack.clone(), there.into()))
        }
    }
}

/// Runs a command and returns the exit code. `refused` is the error of a build that lacks a part for it.
pub(crate) fn run(cli: Cli, refused: Option<CliError>) -> u8 {
    let (name, common) = match &cli.command {
        Command::Deploy(args) => ("deploy", Some(&args.common)),
        Command::Plan(args) => ("plan", Some(&args.common)),
        Command::Status(args) => ("status", Some(&args.on.common)),
        Command::Releases(args) => ("releases", Some(&args.on.common)),
        Command::Rollback(args) => ("rollback", Some(&args.common)),
        Command::Scale(args) => ("scale", Some(&args.on.common)),
        Command::Explain(args) => ("explain", Some(&args.common)),
        Command::Ssh(args) => ("ssh", Some(&args.on.common)),
        Command::SshConfig(args) => ("ssh-config", Some(&args.on.common)),
        Command::Exec(args) => ("exec", Some(&args.on.common)),
        Command::Logs(args) => ("logs", Some(&args.on.common)),
        Command::Dial(_) => ("dial", None),
        Command::Destroy(args) => ("destroy", Some(&args.on.common)),
        Command::Unlock(args) => ("unlock", Some(&args.on.common)),
        Command::Stop(args) => ("stop", Some(&args.on.common)),
        Command::Start(args) => ("start", Some(&args.on.common)),
        Command::Completions { .. } => ("completions", None),
        Command::Schema => ("schema", None),
        Command::IamPolicy(_) => ("iam-policy", None),
    };
    let json = common.is_some_and(|common| common.json);
    // Exit code 2 already means that there are changes.
    let detailed = matches!(&cli.command, Command::Plan(args) if args.detailed_exitcode);
    let code = |problem: &CliError| match problem.exit_code() {
        exit::USAGE if detailed => exit::FAILED,
        code => code,
    };
    // An unavailable provider is reported before faults of the file.
    if let Some(Err(problem)) = common.map(|common| SelectedProvider::check(common.provider)) {
        problem.tell(name, json, code(&problem));
        return code(&problem);
    }
    if let Some(problem) = refused {
        problem.tell(name, json, code(&problem));
        return code(&problem);
    }
    match carry_out(cli.command) {
        Ok(code) => code,
        Err(problem) => {
            problem.tell(name, json, code(&problem));
            code(&problem)
        }
    }
}

fn carry_out(command: Command) -> Result<u8, CliError> {
    match &command {
        Command::Completions { shell } => {
            crate::args::complete(*shell);
            return Ok(exit::DONE);
        }
        Command::Schema => {
            output::result(&format!("{:#}\n", landfall_pipeline::json_schema()));
            return Ok(exit::DONE);
        }
        Command::IamPolicy(args) => {
            iam_policy::iam_policy(args)?;
            return Ok(exit::DONE);
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::usage(format!("cannot start the runtime: {error}"), None))?;
    let outcome = runtime.block_on(async {
        match &command {
            Command::Deploy(args) => deploy(args).await?,
            Command::Plan(args) => return plan(args).await,
            Command::Status(args) => status(args).await?,
            Command::Releases(args) => releases(args).await?,
            Command::Rollback(args) => rollback(args).await?,
            Command::Scale(args) => scale(args).await?,
            Command::Explain(args) => return explain(args).await,
            Command::Ssh(args) => return ssh::ssh(args).await,
            Command::SshConfig(args) => ssh::config(args).await?,
            Command::Exec(args) => return exec::exec(args).await,
            Command::Logs(args) => return logs::logs(args).await,
            Command::Dial(args) => return dial::dial(args).await,
            Command::Destroy(args) => destroy(args).await?,
            Command::Unlock(args) => unlock(args).await?,
            Command::Stop(args) => stop(args).await?,
            Command::Start(args) => start(args).await?,
            Command::Completions { .. } | Command::Schema | Command::IamPolicy(_) => {}
        }
        Ok(exit::DONE)
    });
    // After an immediate stop, the program does not wait for its threads.
    runtime.shutdown_background();
    outcome
}
