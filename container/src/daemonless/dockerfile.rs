//! A parsed Dockerfile with line numbers, so that every error can point at a line.

use std::path::PathBuf;

use super::form::{self, Argument, Instruction, Kind};
use super::parser;
use crate::DockerfileError;

/// The text of a Dockerfile, and its path.
#[derive(Clone, Debug)]
pub(super) struct Source {
    file: PathBuf,
    text: String,
}

/// The stages of a Dockerfile.
#[derive(Debug)]
pub(super) struct Dockerfile<'a> {
    pub(super) source: &'a Source,
    /// The escape character: `\`, or that of the `escape` directive.
    pub(super) escape: char,
    /// The `ARG`s before the first `FROM`, not expanded, with their lines.
    pub(super) global_args: Vec<(Vec<Argument>, usize)>,
    pub(super) stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug)]
pub(super) struct Stage {
    /// The name after `AS`, in lower case, for comparison.
    pub(super) name: Option<String>,
    /// The image after `FROM`, not expanded.
    pub(super) image: String,
    /// `--platform`, not expanded.
    pub(super) platform: Option<String>,
    /// The line of the `FROM`.
    pub(super) from: usize,
    pub(super) instructions: Vec<Instruction>,
}

impl Source {
    pub(super) fn new(file: PathBuf, text: String) -> Self {
        let text = text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text);
        Self { file, text }
    }

    /// A line, counted from 1, without its indentation.
    pub(super) fn line_text(&self, line: usize) -> &str {
        self.text.lines().nth(line - 1).unwrap_or_default().trim()
    }

    /// An error at a line.
    pub(super) fn error(&self, line: usize, problem: impl Into<String>) -> DockerfileError {
        self.error_on_line(line, problem.into(), None)
    }

    /// An error with a hint.
    pub(super) fn error_with_hint(
        &self,
        line: usize,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> DockerfileError {
        self.error_on_line(line, problem.into(), Some(hint.into()))
    }

    /// The error for an image without a command; its last stage starts at the line `from`.
    pub(super) fn no_command(&self, from: usize) -> DockerfileError {
        DockerfileError::no_command(self.file.clone(), from, &self.text)
    }

    fn error_on_line(&self, line: usize, problem: String, hint: Option<String>) -> DockerfileError {
        let text = self
            .text
            .lines()
            .nth(line - 1)
            .unwrap_or_default()
            .trim_end()
            .to_owned();
        DockerfileError {
            file: self.file.clone(),
            line,
            text,
            problem,
            hint,
        }
    }
}

impl<'a> Dockerfile<'a> {
    /// Parses `source`.
    pub(super) fn parse(source: &'a Source) -> Result<Self, DockerfileError> {
        if let Some(at) = lone_carriage_return(&source.text) {
            let line = source.text[..at].matches('\n').count() + 1;
            return Err(source.error_with_hint(
                line,
                "a carriage return that ends no line",
                "save the file with Unix or Windows line ends",
            ));
        }
        let (escape, instructions) =
            parser::parse(&source.text).map_err(|error| source.error(error.line, error.problem))?;
        let mut dockerfile = Self {
            source,
            escape,
            global_args: Vec::new(),
            stages: Vec::new(),
        };
        for raw in instructions {
            let line = raw.line;
            let instruction =
                form::instruction(raw, escape).map_err(|problem| source.error(line, problem))?;
            match instruction.kind {
                Kind::From { image, name } => {
                    let platform = instruction.flags.into_iter().find_map(|flag| flag.value);
                    dockerfile.stages.push(Stage {
                        name,
                        image,
                        platform,
                        from: line,
                        instructions: Vec::new(),
                    });
                }
                Kind::Arg(arguments) if dockerfile.stages.is_empty() => {
                    dockerfile.global_args.push((arguments, line));
                }
                _ => match dockerfile.stages.last_mut() {
                    Some(stage) => stage.instructions.push(instruction),
                    None => {
                        return Err(source.error(line, "an instruction before the first FROM"));
                    }
                },
            }
        }
        if dockerfile.stages.is_empty() {
            return Err(source.error(1, "expected at least one FROM instruction"));
        }
        Ok(dockerfile)
    }

    /// The stage with this name, from the point of view of stage number `before`: the last earlier
    /// one.
    pub(super) fn named(&self, name: &str, before: usize) -> Option<usize> {
        let name = name.to_lowercase();
        self.stages[..before]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(&name))
    }
}

/// A `\r` that is not followed by `\n`, nor the end of the file.
fn lone_carriage_return(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .position(|(at, b)| *b == b'\r' && bytes.get(at + 1).is_some_and(|next| *next != b'\n'))
}
