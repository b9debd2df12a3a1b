//! A launch template in the local cloud: every change is a version, and new instances follow the latest.

use std::path::PathBuf;

use landfall_compute::{LaunchTemplate, LaunchTemplateOutput};
use landfall_provider::{Probe, Result};

use super::can_run;
use crate::cloud::state::State;
use crate::cloud::table::{Draft, Entry, Hosted};

/// What the cloud decides about a launch template.
#[derive(Debug, Clone)]
pub(crate) struct LaunchTemplateFacts {
    /// The version of the spec as it is, from 1.
    pub(crate) version: u32,
    /// Where the image is.
    pub(crate) image_store: PathBuf,
}

impl Hosted for LaunchTemplate {
    const PREFIX: &'static str = "lt";
    type Facts = LaunchTemplateFacts;

    fn admit(_: &State, new: &Draft<'_, Self>) -> Result<LaunchTemplateFacts> {
        can_run(&new.spec.workload)?;
        Ok(LaunchTemplateFacts {
            version: 1,
            image_store: new.extras.image_store.clone(),
        })
    }

    fn amend(_: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<LaunchTemplateFacts> {
        can_run(&new.spec.workload)?;
        Ok(LaunchTemplateFacts {
            version: old.facts.version + 1,
            image_store: new.extras.image_store.clone(),
        })
    }

    fn probe(_: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<LaunchTemplateOutput> {
        Probe::Usable(LaunchTemplateOutput {
            version: entry.facts.version,
        })
    }
}
