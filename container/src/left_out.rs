//! What is left out of every build context by default: files that describe a deployment or a checkout and that no
//! image needs.
//!
//! - `.git`, in every directory (a submodule and a worktree have it as a file);
//! - `landfall.toml` in every directory, and the configuration file in use if it has another name;
//! - plans that `landfall plan --out` saved, wherever they are and whatever their names: a plan lies beside the
//!   sources, and a context that holds it would be another context than the planned one.
//!
//! These rules stand before the first line of the ignore file, so a line there takes a file back: `!landfall.toml`.

use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::{BuildRequest, Context, Error};

/// How many bytes of a file say whether it is a saved plan.
const START: u64 = 256;

/// The rules for one build.
pub(crate) struct LeftOut {
    /// The configuration file in use, with links in its path resolved.
    config_file: Option<PathBuf>,
}

impl LeftOut {
    pub(crate) fn of(request: &BuildRequest) -> Self {
        let config_file = request.config_file.as_ref();
        Self {
            config_file: config_file.and_then(|path| fs::canonicalize(path).ok()),
        }
    }

    /// Whether the file `name` at `path` is left out by default.
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

/// Whether the file at `path` begins as a saved plan does. One that cannot be read is none.
fn holds_plan(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
    read.is_ok() && is_saved_plan(&start)
}

/// Whether a file that begins with `start` is a plan that `landfall plan --out` saved. 256 bytes are enough.
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

/// Adds to an error about a file that is not there that the file is left out by default, where that is the reason.
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

/// The first path of `left_out` that a word of `text` names, or leads below.
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
