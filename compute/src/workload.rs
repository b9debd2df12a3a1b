//! A workload: a container image and its start parameters.

use std::collections::BTreeMap;

use landfall_provider::{ImageId, Input, Port};
use serde::{Deserialize, Serialize};

use crate::{Limits, LogGroup, SecretReference};

/// A container that an instance starts when it boots, and its port.
///
/// Every provider adds these variables to `env`: `PORT`, and, where the container runs,
/// `LANDFALL_INSTANCE_ID` and `LANDFALL_ZONE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The image, by digest.
    pub image: Input<ImageId>,
    /// The port of the container and of the instance.
    pub port: Port,
    /// The container's environment. No secrets: everyone who may read the template can read it.
    pub env: BTreeMap<String, String>,
    /// Further environment variables, whose values the instance reads when it boots.
    pub secrets: BTreeMap<String, SecretReference>,
    /// The log group of the container's output, in addition to the instance's own log.
    pub logs: Option<LogGroup>,
    /// The container's share of the instance.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// Whether process 1 of the container is a reaper, with the image's command as its child.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
}
