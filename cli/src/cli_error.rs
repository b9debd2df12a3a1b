//! Errors of commands: displayed, written as JSON, and mapped to an exit code.

use landfall_pipeline::{
    ConfigErrors, Failure, LocatedDiagnostic, PostFailureState, Stage, UnhealthyTarget, Violation,
};
use landfall_provider::{Error, ErrorKind, IrreversibleChange, Key, StackName};
use serde::Serialize;

use crate::render::error as render;
use crate::{exit, output};

/// The error of a command.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The request is invalid: this build, this machine or the arguments do not allow it.
    Usage {
        /// The reason.
        message: String,
        /// The alternative.
        hint: Option<String>,
    },
    /// The file is invalid.
    Config(ConfigErrors),
    /// A flow failed.
    Failure(Box<Failure>),
    /// The stack does not exist.
    Missing {
        /// The requested stack.
        stack: StackName,
    },
    /// The provider failed outside of a flow.
    Error(Error),
}

impl CliError {
    /// Creates the error for an invalid request.
    pub(crate) fn usage(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.map(str::to_owned),
        }
    }

    /// The program's exit code for this error.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Config(_) => exit::USAGE,
            Self::Failure(failure) if failure.stage == Stage::Interrupted => exit::INTERRUPTED,
            Self::Failure(failure) if is_refused(failure) => exit::USAGE,
            Self::Error(error) if error.kind() == ErrorKind::Invalid => exit::USAGE,
            Self::Failure(_) | Self::Missing { .. } | Self::Error(_) => exit::FAILED,
        }
    }

    /// Prints the error: as text on standard error, or as the last line of JSON on standard output.
    pub(crate) fn tell(&self, command: &str, json: bool, exit_code: u8) {
        if json {
            output::json_line(&self.line(command, exit_code));
        } else {
            output::message(&self.text());
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Usage { message, hint } => render::message(message, hint.as_deref()),
            Self::Config(errors) => render::config(errors),
            Self::Failure(failure) => render::failure(failure),
            Self::Missing { stack } => render::message(&missing(stack), Some(MAKE_IT)),
            Self::Error(error) => render::error(error),
        }
    }

    fn line<'a>(&'a self, command: &'a str, exit_code: u8) -> Line<'a> {
        let line = Line {
            result: "error",
            command,
            exit_code,
            message: String::new(),
            stage: None,
            file: None,
            faults: &[],
            errors: Vec::new(),
            targets: &[],
            output: &[],
            broken: &[],
            losses: &[],
            details: &[],
            on_its_way: &[],
            not_started: &[],
            hint: None,
            remains: None,
        };
        match self {
            Self::Usage { message, hint } => Line {
                message: message.clone(),
                hint: hint.as_deref(),
                ..line
            },
            Self::Config(errors) => Line {
                message: match errors.faults.as_slice() {
                    [fault] => fault.message.clone(),
                    _ => format!("{} errors in {}", errors.count(), errors.file),
                },
                file: Some(&errors.file),
                faults: &errors.faults,
                ..line
            },
            Self::Failure(failure) => Line {
                message: failure.message.clone(),
                stage: Some(failure.stage),
                errors: failure.errors.iter().map(Cause::of).collect(),
                targets: &failure.targets,
                output: &failure.output,
                broken: &failure.broken,
                losses: &failure.losses,
                details: &failure.details,
                on_its_way: &failure.on_its_way,
                not_started: &failure.not_started,
                hint: failure.hint.as_deref(),
                remains: Some(&failure.remains),
                ..line
            },
            Self::Missing { stack } => Line {
                message: missing(stack),
                hint: Some(MAKE_IT),
                ..line
            },
            Self::Error(error) => Line {
                message: error.to_string(),
                errors: vec![Cause::of(error)],
                hint: error.hint_text(),
                ..line
            },
        }
    }
}

/// Whether nothing was changed and a repetition is useless, because the request must be changed
/// first. The errors' kinds decide, independent of their source.
fn is_refused(failure: &Failure) -> bool {
    if failure.remains != PostFailureState::Unchanged {
        return false;
    }
    let mut errors = failure.errors.iter();
    match failure.stage {
        Stage::Lock | Stage::Before | Stage::Health | Stage::Interrupted | Stage::Lost => false,
        _ if !failure.errors.is_empty() => errors.all(|it| it.kind() == ErrorKind::Invalid),
        Stage::Plan
        | Stage::Preflight
        | Stage::Reachability
        | Stage::Protected
        | Stage::Confirmation
        | Stage::Scale
        | Stage::Stale => true,
        Stage::Sources | Stage::Look | Stage::Build | Stage::Apply => false,
    }
}

const MAKE_IT: &str = "`deploy` creates it";

fn missing(stack: &StackName) -> String {
    format!("there is no stack {stack}")
}

/// The last line of JSON of a failed command.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    command: &'a str,
    exit_code: u8,
    message: String,
    stage: Option<Stage>,
    file: Option<&'a str>,
    faults: &'a [LocatedDiagnostic],
    errors: Vec<Cause<'a>>,
    targets: &'a [UnhealthyTarget],
    output: &'a [String],
    broken: &'a [Violation],
    losses: &'a [IrreversibleChange],
    details: &'a [String],
    on_its_way: &'a [Key],
    not_started: &'a [Key],
    hint: Option<&'a str>,
    remains: Option<&'a PostFailureState>,
}

/// A provider's error, in the same words as the text output.
#[derive(Serialize)]
struct Cause<'a> {
    message: String,
    kind: landfall_provider::ErrorKind,
    causes: Vec<String>,
    details: &'a [String],
    left: &'a landfall_provider::Left,
    hint: Option<&'a str>,
}

impl<'a> Cause<'a> {
    fn of(error: &'a Error) -> Self {
        Self {
            message: error.to_string(),
            kind: error.kind(),
            causes: render::causes(error),
            details: error.detail_lines(),
            left: error.left_behind(),
            hint: error.hint_text(),
        }
    }
}

impl From<ConfigErrors> for CliError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<Box<Failure>> for CliError {
    fn from(failure: Box<Failure>) -> Self {
        Self::Failure(failure)
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

#[cfg(test)]
mod tests {
    use landfall_pipeline::Config;

    use super::*;

    #[test]
    fn every_problem_is_a_line_of_json_with_the_same_fields() {
        let problems = [
            CliError::usage("this build has no AWS support", None),
            Config::parse("stack = 1", "landfall.toml")
                .unwrap_err()
                .into(),
            Error::new(ErrorKind::Unavailable, "no answer").into(),
        ];
        let codes: Vec<u8> = problems.iter().map(CliError::exit_code).collect();
        assert_eq!(codes, [2, 2, 1]);
        for problem in &problems {
            let line = serde_json::to_value(problem.line("deploy", problem.exit_code())).unwrap();
            assert_eq!(line["result"], "error");
            assert_eq!(line["command"], "deploy");
            assert_eq!(line["exit_code"], problem.exit_code());
            assert!(!line["message"].as_str().unwrap().is_empty(), "{line}");
        }
    }
}
