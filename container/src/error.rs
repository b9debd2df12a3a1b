//! The errors between a Dockerfile and a stored image.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with the operation, the file or image, and a hint.
///
/// `Display` never repeats the text of `source`; print the chain to see both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The build context is not a readable directory.
    #[error("the build context {} is not a directory", path.display())]
    ContextMissing {
        /// The directory.
        path: PathBuf,
    },

    /// The Dockerfile does not exist.
    #[error("there is no Dockerfile at {}; name it with `dockerfile`, relative to the context", path.display())]
    DockerfileMissing {
        /// The expected path.
        path: PathBuf,
    },

    /// A line of a Dockerfile cannot be executed.
    #[error(transparent)]
    Dockerfile(Box<DockerfileError>),

    /// A line of an ignore file is not a pattern.
    #[error("{}:{line}: {problem}", file.display())]
    Ignore {
        /// The ignore file.
        file: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// The fault of the line.
        problem: String,
    },

    /// Reading or writing a file failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb: "read", "create", "lock".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// A name in the build context is not UTF-8, and images need UTF-8 names.
    #[error(
        "{what} {} is not UTF-8, so the file cannot be part of an image; \
         rename it, or leave it out with a line in .dockerignore (`*` and `?` match the bytes that are not UTF-8)",
        path.display()
    )]
    NotUtf8 {
        /// The text that is not UTF-8: the file's name, or the target of a link.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },

    /// A build argument has an invalid value.
    #[error("the build argument {name} cannot be used: {problem}")]
    Argument {
        /// The argument.
        name: String,
        /// The fault of its value.
        problem: String,
    },

    /// A file of the image store, or of an imported image, is invalid.
    #[error("{what} is not a usable image: {problem}")]
    InvalidImage {
        /// The image, archive, layout or blob.
        what: String,
        /// The fault.
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
        /// The damaged part.
        problem: String,
    },

    /// The image has neither `ENTRYPOINT` nor `CMD`, so it has no command to run.
    #[error(
        "the image {image} has neither ENTRYPOINT nor CMD, so there is nothing to start; \
         add `ENTRYPOINT [\"/path/of/the/program\"]` to its Dockerfile"
    )]
    NoCommand {
        /// The image, by the caller's name.
        image: String,
    },

    /// A registry did not deliver an image.
    #[error("cannot {doing} {reference} from its registry")]
    Registry {
        /// The verb: "read the manifest of", "pull a layer of".
        doing: &'static str,
        /// The image, written out in full.
        reference: String,
        /// The registry client's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// No engine answered at the expected addresses.
    #[error("no container engine answers{}\n  hint: {hint}", attempts(tried))]
    EngineUnavailable {
        /// Every address that was tried, in that order. Empty if the address itself is invalid.
        tried: Vec<EngineAttempt>,
        /// How to get an engine, or how to do without.
        hint: String,
    },

    /// This program was built without an optional part that the build needs.
    #[error(
        "{reason}, and this program was built without the feature `{feature}`\n  hint: install it with its default \
         features (`cargo install --path cli`), or build it with `--features {feature}`; `cargo xtask` does this itself"
    )]
    WithoutFeature {
        /// The feature.
        feature: &'static str,
        /// The need for it.
        reason: String,
    },

    /// The engine refused a request, or returned an invalid answer.
    #[error("the container engine cannot {doing}")]
    Engine {
        /// The request.
        doing: String,
        /// The client's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The engine disconnected before it was done.
    #[error(
        "the connection to the container engine at {address} was lost while it was asked to {doing}; \
         see whether it still runs, then try again"
    )]
    EngineLost {
        /// The socket or URL.
        address: String,
        /// The request.
        doing: String,
        /// The connection's error, unless it just ended.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// A build step failed inside the engine, or the engine refused the Dockerfile.
    #[error("{}: {message}{}", failed_at(step.as_ref()), quoted(output))]
    BuildFailed {
        /// The step, if the engine reports it.
        step: Option<FailedStep>,
        /// The engine's message.
        message: String,
        /// The last lines of the failed step's output.
        output: Vec<String>,
    },
}

/// One address that was tried for an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAttempt {
    /// The socket or URL, or the setting that should contain one.
    pub address: String,
    /// The reason of the failure.
    pub problem: String,
}

/// A step of a Dockerfile that failed in an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// The instruction as shown by the engine: `RUN cargo build`.
    pub text: String,
    /// The Dockerfile, and the first line of the instruction, counted from 1; `None` if the
    /// engine's message does not identify one line.
    pub at: Option<(PathBuf, usize)>,
}

impl Error {
    /// Creates an [`Error::Io`] for use in `map_err`.
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

    /// Creates an [`Error::InvalidImage`].
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

/// A line of a Dockerfile that cannot be executed, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileError {
    /// The Dockerfile.
    pub file: PathBuf,
    /// The first line of the instruction, counted from 1.
    pub line: usize,
    /// That line of the file.
    pub text: String,
    /// The fault.
    pub problem: String,
    /// A hint, if there is one.
    pub hint: Option<String>,
}

impl DockerfileError {
    /// The error for a Dockerfile with this text whose image would have no command; the final stage
    /// starts on `line`.
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

/// One indented line for each address.
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

/// The failed step's own lines, indented under the message.
fn quoted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  | {line}")).collect()
}
