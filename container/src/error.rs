//! What can go wrong between a Dockerfile and a stored image.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, saying what was being done, to which file or image, and what to do about it.
///
/// `Display` never repeats the text of `source`; print the chain to see both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The build context is not a directory that can be read.
    #[error("the build context {} is not a directory", path.display())]
    ContextMissing {
        /// The directory that was looked for.
        path: PathBuf,
    },

    /// There is no Dockerfile where the request says.
    #[error("there is no Dockerfile at {}; name it with `dockerfile`, relative to the context", path.display())]
    DockerfileMissing {
        /// The file that was looked for.
        path: PathBuf,
    },

    /// A line of a Dockerfile cannot be honoured.
    #[error(transparent)]
    Dockerfile(Box<DockerfileError>),

    /// A line of an ignore file is not a pattern.
    #[error("{}:{line}: {problem}", file.display())]
    Ignore {
        /// The ignore file.
        file: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// What is wrong with the line.
        problem: String,
    },

    /// Reading or writing a file failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb: "read", "create", "lock".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A name in the build context is not UTF-8, and images are written with names that are.
    #[error(
        "{what} {} is not UTF-8, so the file cannot be part of an image; \
         rename it, or leave it out with a line in .dockerignore (`*` and `?` match the bytes that are not UTF-8)",
        path.display()
    )]
    NotUtf8 {
        /// What is not UTF-8: the file's name, or the target of a link.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },

    /// A build argument has a value that cannot be used.
    #[error("the build argument {name} cannot be used: {problem}")]
    Argument {
        /// The argument.
        name: String,
        /// What is wrong with its value.
        problem: String,
    },

    /// A file of the image store, or of an image given to it, is not what it has to be.
    #[error("{what} is not a usable image: {problem}")]
    InvalidImage {
        /// The image, archive, layout or blob.
        what: String,
        /// What is wrong with it.
        problem: String,
    },

    /// The image store itself is damaged, not an image in it.
    #[error(
        "the image store {} is damaged: {problem}; remove this directory: images are built or pulled again when they are needed",
        root.display()
    )]
    DamagedStore {
        /// The store's directory.
        root: PathBuf,
        /// What is damaged.
        problem: String,
    },

    /// The image says neither `ENTRYPOINT` nor `CMD`, so nothing can be started from it.
    #[error(
        "the image {image} has neither ENTRYPOINT nor CMD, so there is nothing to start; \
         add `ENTRYPOINT [\"/path/of/the/program\"]` to its Dockerfile"
    )]
    NoCommand {
        /// The image, as the caller names it.
        image: String,
    },

    /// A registry did not give an image.
    #[error("cannot {doing} {reference} from its registry")]
    Registry {
        /// The verb: "read the manifest of", "pull a layer of".
        doing: &'static str,
        /// The image, written out in full.
        reference: String,
        /// What the registry client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// No engine answered where one was looked for.
    #[error("no container engine answers{}\n  hint: {hint}", attempts(tried))]
    EngineUnavailable {
        /// Every place that was tried, in that order. Empty if the place itself makes no sense.
        tried: Vec<EngineAttempt>,
        /// How to get one, or how to do without.
        hint: String,
    },

    /// The engine refused something, or answered with something unusable.
    #[error("the container engine cannot {doing}")]
    Engine {
        /// What was asked of it.
        doing: String,
        /// What its client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The engine went away before it was done.
    #[error(
        "the connection to the container engine at {address} was lost while it was asked to {doing}; \
         see whether it still runs, then try again"
    )]
    EngineLost {
        /// The socket or URL.
        address: String,
        /// What was asked of it.
        doing: String,
        /// What the connection said, if it did not just end.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// A build step failed inside the engine, or the engine does not accept the Dockerfile.
    #[error("{}: {message}{}", failed_at(step.as_ref()), quoted(output))]
    BuildFailed {
        /// The step, if the engine says which one it was.
        step: Option<FailedStep>,
        /// What the engine says about the failure.
        message: String,
        /// The last lines that the failing step itself wrote.
        output: Vec<String>,
    },
}

/// One place where an engine was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAttempt {
    /// The socket or URL, or the setting that should have named one.
    pub address: String,
    /// Why there is no engine.
    pub problem: String,
}

/// A step of a Dockerfile that an engine could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// The instruction as the engine shows it: `RUN cargo build`.
    pub text: String,
    /// The Dockerfile, and the line where the instruction starts, counted from 1; `None` if the engine's
    /// words do not lead to one line.
    pub at: Option<(PathBuf, usize)>,
}

impl Error {
    /// An [`Error::Io`] for use in `map_err`.
    pub(crate) fn io(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// An [`Error::InvalidImage`].
    pub(crate) fn invalid(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::InvalidImage {
            what: what.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl From<DockerfileError> for Error {
    fn from(error: DockerfileError) -> Self {
        Self::Dockerfile(Box::new(error))
    }
}

/// A line of a Dockerfile that cannot be honoured, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileError {
    /// The Dockerfile.
    pub file: PathBuf,
    /// The line where the instruction starts, counted from 1.
    pub line: usize,
    /// That line as it stands in the file.
    pub text: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it, when there is something to do.
    pub hint: Option<String>,
}

impl DockerfileError {
    /// The error for a Dockerfile with this text whose image would have nothing to start; the stage that is
    /// the image starts on `line`.
    pub(crate) fn no_command(file: PathBuf, line: usize, text: &str) -> Self {
        let text = text.lines().nth(line - 1).unwrap_or_default().trim_end();
        Self {
            file,
            line,
            text: text.to_owned(),
            problem:
                "the image would have neither ENTRYPOINT nor CMD, so there is nothing to start"
                    .to_owned(),
            hint: Some("add `ENTRYPOINT [\"/path/of/the/program\"]` to this stage".to_owned()),
        }
    }
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}\n  {} | {}",
            self.file.display(),
            self.line,
            self.problem,
            self.line,
            self.text
        )?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DockerfileError {}

/// One line for each place, indented.
fn attempts(tried: &[EngineAttempt]) -> String {
    tried
        .iter()
        .map(|attempt| format!("\n  {}: {}", attempt.address, attempt.problem))
        .collect()
}

/// The start of a message about a failed build.
fn failed_at(step: Option<&FailedStep>) -> String {
    match step {
        Some(FailedStep {
            text,
            at: Some((file, line)),
        }) => format!("{}:{line}: the step `{text}` failed", file.display()),
        Some(FailedStep { text, at: None }) => format!("the step `{text}` failed"),
        None => "the image build failed".to_owned(),
    }
}

/// The failing step's own lines, indented under the message.
fn quoted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  | {line}")).collect()
}
