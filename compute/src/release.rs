//! A release: a version of a service's launch template, its author, its source and its state.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::LaunchTemplate;

/// A version of a launch template, as reported by its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version of the template, from 1.
    pub version: u32,
    /// The settings of its instances.
    pub spec: LaunchTemplate,
    /// The time of its creation, if known.
    pub made: Option<SystemTime>,
    /// Its author: a user and machine, `ana@build-3`, or the provider's name for the caller.
    pub who: Option<String>,
    /// Its source.
    pub note: ReleaseNote,
    /// Its state.
    pub state: ReleaseState,
}

impl Release {
    /// The digest of its image, `sha256:…`, if known.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        let image = self.spec.workload.image.known()?;
        image.as_ref().split_once('@').map(|(_, digest)| digest)
    }
}

/// The state of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseState {
    /// Created, and not rolled out to any instance yet.
    Waiting,
    /// Its instances are being rolled out.
    Rolling,
    /// Serves requests.
    Current,
    /// Abandoned, and the previous release restored; the text is the reason.
    Failed(String),
    /// Replaced by another release.
    Superseded,
}

impl ReleaseState {
    /// The state in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Rolling => "rolling",
            Self::Current => "current",
            Self::Failed(_) => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// The note of a version, recorded at its creation. It is not part of the template: a new commit
/// alone changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseNote {
    /// The author, for providers that do not know their callers.
    pub who: String,
    /// The source commit: `1a2b3c4d5e6f`, followed by `-dirty` if files were changed since.
    pub commit: Option<String>,
    /// The release that a rollback restores.
    pub back_to: Option<u32>,
}

const COMMIT: &str = "commit ";
const BACK_TO: &str = "rollback to ";

impl ReleaseNote {
    /// Parses the output of [`Display`](fmt::Display). Any other text gives an empty note.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut note = Self::default();
        for part in text.split(", ") {
            if let Some(commit) = part.strip_prefix(COMMIT) {
                note.commit = Some(commit.to_owned());
            } else if let Some(version) = part.strip_prefix(BACK_TO) {
                note.back_to = version.parse().ok();
            }
        }
        note
    }
}

/// `rollback to 3, commit 1a2b3c4d5e6f`; empty if nothing is known. The provider records the
/// author.
impl fmt::Display for ReleaseNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back_to = self.back_to.map(|version| format!("{BACK_TO}{version}"));
        let commit = self.commit.as_ref().map(|id| format!("{COMMIT}{id}"));
        let parts: Vec<String> = back_to.into_iter().chain(commit).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_it_was_written_but_for_who() {
        for (commit, back_to, text) in [
            (None, None, ""),
            (Some("1a2b3c4d5e6f"), None, "commit 1a2b3c4d5e6f"),
            (
                Some("1a2b3c4d5e6f-dirty"),
                Some(3),
                "rollback to 3, commit 1a2b3c4d5e6f-dirty",
            ),
            (None, Some(3), "rollback to 3"),
        ] {
            let note = ReleaseNote {
                who: String::new(),
                commit: commit.map(str::to_owned),
                back_to,
            };
            assert_eq!(note.to_string(), text);
            assert_eq!(ReleaseNote::parse(text), note);
        }
    }

    #[test]
    fn what_somebody_else_wrote_says_nothing() {
        let note = ReleaseNote::parse("hotfix, by hand, rollback to the old days");
        assert_eq!(note, ReleaseNote::default());
    }
}
