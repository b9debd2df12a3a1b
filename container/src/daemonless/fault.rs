//! Failures inside one instruction, before their line is known.

use super::dockerfile::Source;
use crate::Error;

/// A failure inside an instruction.
#[derive(Debug)]
pub(super) enum Fault {
    /// The Dockerfile is at fault; the error needs its line.
    Problem {
        problem: String,
        hint: Option<String>,
    },
    /// Another failure, with a complete error.
    Other(Error),
}

impl Fault {
    pub(super) fn problem(problem: impl Into<String>) -> Self {
        Self::Problem {
            problem: problem.into(),
            hint: None,
        }
    }

    pub(super) fn hint(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Problem {
            problem: problem.into(),
            hint: Some(hint.into()),
        }
    }

    /// The error at the instruction that starts at `line`.
    pub(super) fn at(self, source: &Source, line: usize) -> Error {
        match self {
            Self::Problem {
                problem,
                hint: None,
            } => source.error(line, problem).into(),
            Self::Problem {
                problem,
                hint: Some(hint),
            } => source.error_with_hint(line, problem, hint).into(),
            Self::Other(error) => error,
        }
    }
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self::problem(problem)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
