//! What an instance runs: a container image and how to start it.

use std::collections::BTreeMap;

use landfall_provider::{ImageId, Input, Port};
use serde::{Deserialize, Serialize};

use crate::{Limits, LogGroup, SecretReference};

/// A container that an instance starts when it boots, and its port.
///
/// Every provider adds these variables to `env`: `PORT`, and where the container runs,
/// `LANDFALL_INSTANCE_ID` and `LANDFALL_ZONE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The image, by digest.
    pub image: Input<ImageId>,
    /// The port that the container listens on, and the instance answers on.
    pub port: Port,
    /// The container's environment. No secrets: it can be read by whoever may read the template.
    pub env: BTreeMap<String, String>,
    /// Further variables of the environment, whose values the instance reads when it boots.
    pub secrets: BTreeMap<String, SecretReference>,
    /// Where the container's output goes besides the instance itself.
    pub logs: Option<LogGroup>,
    /// How much of the instance the container may use.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// Whether process 1 of the container is a reaper, and what the image runs its child.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
}
