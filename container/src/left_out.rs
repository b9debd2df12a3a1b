//! The default exclusions of every build context: files of a deployment or a checkout that no image
//! needs.
//!
//! - `.git`, in every directory (in a submodule and a worktree it is a file);
//! - `landfall.toml` in every directory, and the configuration file in use if it has another name;
//! - plans saved by `landfall plan --out`, with any path and name: a plan is stored beside the
//!   sources, and a context with it would differ from the planned one.
//!
//! These rules precede the first line of the ignore file, so a line there can include a file again:
//! `!landfall.toml`.

use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::{BuildRequest, Context, Error};

/// The number of bytes that identify a saved plan.
const START: u64 = 256;

/// The rules for one build.
pub(crate) struct LeftOut {
    /// The present configuration file, with links in its path resolved.
    config_file: Option<PathBuf>,
}

impl LeftOut {
    pub(crate) fn of(request: &BuildRequest) -> Self {
        let config_file = request.config_file.as_ref();
        Self {
            config_file: config_file.and_then(|path| fs::canonicalize(path).ok()),
        }
    }

    /// Whether the file `name` at `path` is excluded by default.
    pub(crate) fn covers(&self, name: &OsStr, path: &Path, kind: FileType) -> bool {
        if name == ".git" || name == "landfall.toml" {
            return true;
        }
        let in_use = |file: &PathBuf| {
            file.file_name() == Some(name) && fs::canonicalize(path).is_ok_and(|real| real == *file)
        };
        self.config_file.as_ref().is_some_and(in_use) || (kind.is_file() && holds_plan(path))
    }
}

/// Whether the file at `path` begins like a saved plan. An unreadable file is not one.
fn holds_plan(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
    read.is_ok() && is_saved_plan(&start)
}

/// Whether `start` is the beginning of a plan saved by `landfall plan --out`. 256 bytes are enough.
#[must_use]
pub fn is_saved_plan(start: &[u8]) -> bool {
    if !start.starts_with(b"{") {
        return false;
    }
    let start = String::from_utf8_lossy(start);
    [
        "\"checksum\": \"sha256:",
        "\"content\": {",
        "\"fingerprint\": \"sha256:",
    ]
    .iter()
    .all(|mark| start.contains(mark))
}

/// Adds the default exclusion to an error about a missing file, if it is the reason.
pub(crate) fn explain(error: Error, request: &BuildRequest) -> Error {
    let reported = match &error {
        Error::Dockerfile(error) => format!("{} {}", error.problem, error.text),
        Error::BuildFailed { step, message, .. } => {
            let step = step.as_ref().map_or("", |step| &step.text);
            format!("{message} {step}")
        }
        _ => return error,
    };
    let Ok(context) = Context::open(request) else {
        return error;
    };
    let Some(name) = mentioned(&reported, context.left_out()) else {
        return error;
    };
    let hint = format!(
        "{name} is left out of the build context by default, since no image needs it; the line `!{name}` in \
         .dockerignore takes it back"
    );
    match error {
        Error::Dockerfile(mut error) => {
            error.hint = Some(hint);
            Error::Dockerfile(error)
        }
        Error::BuildFailed {
            step,
            message,
            output,
        } => Error::BuildFailed {
            step,
            message: format!("{message}\n  hint: {hint}"),
            output,
        },
        other => other,
    }
}

/// The first path of `left_out` that a word of `text` names, or a parent of such a path.
fn mentioned<'n>(text: &str, left_out: &'n [String]) -> Option<&'n String> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '[' | ']' | ',' | ':');
    let words: Vec<String> = text
        .split(ends)
        .map(|word| {
            crate::ignore::clean(word)
                .trim_start_matches('/')
                .to_owned()
        })
        .collect();
    left_out.iter().find(|name| {
        words.iter().any(|word| {
            word.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}
