//! A parsed Dockerfile that still knows its lines, so that every complaint can point at one.

use std::path::PathBuf;

use parse_dockerfile::{Flag, Instruction, Span};

use crate::DockerfileError;

/// The text of a Dockerfile, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Source {
    file: PathBuf,
    text: String,
}

/// The stages of a Dockerfile.
#[derive(Debug)]
pub(super) struct Dockerfile<'a> {
    pub(super) source: &'a Source,
    /// What escapes: `\`, or what the `escape` directive says.
    pub(super) escape: char,
    /// The `ARG`s before the first `FROM`, unparsed, with their place.
    pub(super) global_args: Vec<(String, Span)>,
    pub(super) stages: Vec<Stage<'a>>,
}

/// One stage.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// The name given with `AS`, in lower case: names are compared that way.
    pub(super) name: Option<String>,
    /// What stands after `FROM`, not expanded.
    pub(super) image: String,
    /// `--platform`, not expanded.
    pub(super) platform: Option<String>,
    /// Where the `FROM` is.
    pub(super) from: Span,
    pub(super) instructions: Vec<Instruction<'a>>,
}

impl Source {
    pub(super) fn new(file: PathBuf, text: String) -> Self {
        // The parser counts from behind a byte order mark.
        let text = text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text);
        Self { file, text }
    }

    /// The line where `span` starts, without its indentation.
    pub(super) fn line_text(&self, span: &Span) -> &str {
        self.text
            .lines()
            .nth(self.line(span) - 1)
            .unwrap_or_default()
            .trim()
    }

    /// What a here-document is called when it is copied into a directory: its delimiter. `span` is that of
    /// its contents, and the delimiter follows them.
    pub(super) fn here_document_name(&self, span: &Span) -> String {
        self.text
            .get(span.end..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// An error at the line where `span` starts.
    pub(super) fn error(&self, span: &Span, problem: impl Into<String>) -> DockerfileError {
        self.error_on_line(self.line(span), problem.into(), None)
    }

    /// An error with something to do about it.
    pub(super) fn error_with_hint(
        &self,
        span: &Span,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> DockerfileError {
        self.error_on_line(self.line(span), problem.into(), Some(hint.into()))
    }

    /// The error for an image that nothing can be started from; its last stage starts at `from`.
    pub(super) fn no_command(&self, from: &Span) -> DockerfileError {
        let line = self.line(from);
        DockerfileError::no_command(self.file.clone(), line, &self.text)
    }

    /// The line where `span` starts, counted from 1.
    fn line(&self, span: &Span) -> usize {
        self.text
            .bytes()
            .take(span.start)
            .filter(|b| *b == b'\n')
            .count()
            + 1
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
            // The parser takes one for the end of a word but not of a line.
            return Err(source.error_with_hint(
                &(at..at),
                "a carriage return that ends no line",
                "save the file with Unix or Windows line ends",
            ));
        }
        let parsed = parse_dockerfile::parse(&source.text).map_err(|error| {
            let message = error.to_string();
            // The parser adds its own "at line 1 column 2".
            let problem = message.split(" at line ").next().unwrap_or(&message);
            source.error_on_line(error.line().max(1), problem.to_owned(), None)
        })?;
        let escape = parsed
            .parser_directives
            .escape
            .as_ref()
            .map_or('\\', |directive| directive.value.value);
        let mut dockerfile = Self {
            source,
            escape,
            global_args: Vec::new(),
            stages: Vec::new(),
        };
        for instruction in parsed.instructions {
            match instruction {
                Instruction::From(from) => {
                    let mut platform = None;
                    for flag in &from.options {
                        match (&*flag.name.value, &flag.value) {
                            ("platform", Some(value)) => {
                                platform = Some(value.value.clone().into_owned())
                            }
                            _ => {
                                return Err(unknown_flag(
                                    source,
                                    flag,
                                    &from.from.span,
                                    &["platform"],
                                ));
                            }
                        }
                    }
                    dockerfile.stages.push(Stage {
                        name: from.as_.map(|(_, name)| name.value.to_lowercase()),
                        image: from.image.value.into_owned(),
                        platform,
                        from: from.from.span,
                        instructions: Vec::new(),
                    });
                }
                Instruction::Arg(arg) if dockerfile.stages.is_empty() => {
                    dockerfile
                        .global_args
                        .push((arg.arguments.value.into_owned(), arg.arg.span));
                }
                instruction => match dockerfile.stages.last_mut() {
                    Some(stage) => stage.instructions.push(instruction),
                    None => {
                        return Err(source
                            .error(&span(&instruction), "an instruction before the first FROM"));
                    }
                },
            }
        }
        Ok(dockerfile)
    }

    /// The stage that `name` means to a stage with the number `before`: an earlier stage's name.
    pub(super) fn named(&self, name: &str, before: usize) -> Option<usize> {
        let name = name.to_lowercase();
        self.stages[..before]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(&name))
    }
}

/// A `\r` that is not followed by `\n`.
fn lone_carriage_return(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .position(|(at, b)| *b == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
}

/// The error for a flag that an instruction does not have.
pub(super) fn unknown_flag(
    source: &Source,
    flag: &Flag<'_>,
    span: &Span,
    known: &[&str],
) -> DockerfileError {
    let list: Vec<String> = known.iter().map(|name| format!("--{name}")).collect();
    let problem = match &flag.value {
        None if known.contains(&&*flag.name.value) => {
            format!("--{} needs a value", flag.name.value)
        }
        _ => format!("there is no flag --{} here", flag.name.value),
    };
    source.error_with_hint(span, problem, format!("known: {}", list.join(", ")))
}

/// Where an instruction's keyword is.
pub(super) fn span(instruction: &Instruction<'_>) -> Span {
    match instruction {
        Instruction::Add(i) => i.add.span.clone(),
        Instruction::Arg(i) => i.arg.span.clone(),
        Instruction::Cmd(i) => i.cmd.span.clone(),
        Instruction::Copy(i) => i.copy.span.clone(),
        Instruction::Entrypoint(i) => i.entrypoint.span.clone(),
        Instruction::Env(i) => i.env.span.clone(),
        Instruction::Expose(i) => i.expose.span.clone(),
        Instruction::From(i) => i.from.span.clone(),
        Instruction::Healthcheck(i) => i.healthcheck.span.clone(),
        Instruction::Label(i) => i.label.span.clone(),
        Instruction::Maintainer(i) => i.maintainer.span.clone(),
        Instruction::Onbuild(i) => i.onbuild.span.clone(),
        Instruction::Run(i) => i.run.span.clone(),
        Instruction::Shell(i) => i.shell.span.clone(),
        Instruction::Stopsignal(i) => i.stopsignal.span.clone(),
        Instruction::User(i) => i.user.span.clone(),
        Instruction::Volume(i) => i.volume.span.clone(),
        Instruction::Workdir(i) => i.workdir.span.clone(),
        // The enum may grow in the parser; without a place the first line is named.
        _ => 0..0,
    }
}
