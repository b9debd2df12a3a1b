//! A release: a version of a service's launch template, who made it from what, and what became of it.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::LaunchTemplate;

/// A version of a launch template, as far as its provider knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version of the template, from 1.
    pub version: u32,
    /// What its instances are like.
    pub spec: LaunchTemplate,
    /// When it was made, if that is known.
    pub made: Option<SystemTime>,
    /// Who made it: a user and machine, `ana@build-3`, or what the provider knows them by.
    pub who: Option<String>,
    /// What it was made from.
    pub note: ReleaseNote,
    /// What became of it.
    pub state: ReleaseState,
}

impl Release {
    /// The digest of its image, `sha256:…`, if that is known.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        let image = self.spec.workload.image.known()?;
        image.as_ref().split_once('@').map(|(_, digest)| digest)
    }
}

/// What became of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseState {
    /// Made, and not brought to any instance yet.
    Waiting,
    /// Instances of it are taking over.
    Rolling,
    /// It serves.
    Current,
    /// It was given up, and the one before it came back; the text says why.
    Failed(String),
    /// Another one serves.
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

/// What is noted of a version when it is made. It is no part of the template: a new commit alone changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseNote {
    /// Who makes it, for providers that do not know their callers.
    pub who: String,
    /// The commit that it was made from: `1a2b3c4d5e6f`, with `-dirty` behind it if files were changed since.
    pub commit: Option<String>,
    /// The release that it goes back to.
    pub back_to: Option<u32>,
}

const COMMIT: &str = "commit ";
const BACK_TO: &str = "rollback to ";

impl ReleaseNote {
    /// Reads what [`Display`](fmt::Display) has written. What somebody else wrote says nothing.
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

/// `rollback to 3, commit 1a2b3c4d5e6f`; empty if there is nothing to say. The provider keeps who made it.
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
