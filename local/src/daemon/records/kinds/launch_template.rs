//! A launch template in the local cloud: every change creates a version, and all versions are kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use landfall_compute::{LaunchTemplate, LaunchTemplateOutput, ReleaseNote};
use landfall_provider::{Probe, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};
use crate::secrets::Secrets;

/// The assigned values of a launch template.
#[derive(Debug, Clone)]
pub(crate) struct LaunchTemplateStatus {
    /// The number of the current version, from 1.
    pub(crate) version: u32,
    /// All versions so far.
    pub(crate) versions: BTreeMap<u32, Version>,
}

/// A version of a launch template.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) spec: LaunchTemplate,
    /// The image store that contains the image.
    pub(crate) image_store: PathBuf,
    /// The values of the workload's secrets.
    pub(crate) secrets: Secrets,
    pub(crate) note: ReleaseNote,
    pub(crate) made: SystemTime,
}

impl Version {
    fn of(new: &Draft<'_, LaunchTemplate>) -> Self {
        Self {
            spec: new.spec.clone(),
            image_store: new.extras.image_store.clone(),
            secrets: new.extras.secrets.clone(),
            note: new.extras.note.clone(),
            made: SystemTime::now(),
        }
    }
}

impl LocalResource for LaunchTemplate {
    const PREFIX: &'static str = "lt";
    type Status = LaunchTemplateStatus;

    fn validate_create(_: &State, new: &Draft<'_, Self>) -> Result<LaunchTemplateStatus> {
        Ok(LaunchTemplateStatus {
            version: 1,
            versions: BTreeMap::from([(1, Version::of(new))]),
        })
    }

    fn amend(_: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<LaunchTemplateStatus> {
        let mut facts = old.facts.clone();
        facts.version += 1;
        facts.versions.insert(facts.version, Version::of(new));
        Ok(facts)
    }

    fn probe(_: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<LaunchTemplateOutput> {
        Probe::Usable(LaunchTemplateOutput {
            version: entry.facts.version,
        })
    }
}
