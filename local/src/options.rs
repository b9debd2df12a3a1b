//! Options of a client: its cloud and its images.

use std::path::PathBuf;

use landfall_provider::Events;

/// Options of the local provider. The default is that of the `landfall` program.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The runtime directory: one cloud per directory. Default: `LANDFALL_RUNTIME_DIR`,
    /// or the user's runtime directory.
    pub dir: Option<PathBuf>,
    /// The program that is executed as the cloud. Default: this program.
    pub program: Option<PathBuf>,
    /// The image store. Default: `LANDFALL_IMAGE_STORE`, or a directory in the user's cache.
    pub image_store: Option<PathBuf>,
    /// The loopback port of the load balancer. Default: a free port.
    pub published_port: Option<u16>,
    /// The file with the values of secrets. Default: `LANDFALL_SECRETS`, or `secrets.toml` in the user's
    /// configuration directory of Landfall.
    pub secrets: Option<PathBuf>,
    /// The receiver of events: the output of builds.
    pub events: Events,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            dir: None,
            program: None,
            image_store: None,
            published_port: None,
            secrets: None,
            events: Events::nowhere(),
        }
    }
}
