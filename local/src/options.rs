//! Where a client finds its cloud and its images.

use std::path::PathBuf;

use landfall_provider::Events;

/// How to use the local provider. The default is that of the `landfall` program.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The runtime directory of the cloud; there is one cloud for each. Otherwise `LANDFALL_RUNTIME_DIR`,
    /// or the user's own.
    pub dir: Option<PathBuf>,
    /// The program that becomes the cloud; this one, if not given.
    pub program: Option<PathBuf>,
    /// Where images are kept; otherwise `LANDFALL_IMAGE_STORE`, or the user's cache.
    pub image_store: Option<PathBuf>,
    /// The loopback port that leads to the balancer; a free one, if not given.
    pub published_port: Option<u16>,
    /// The file that holds the values of secrets; otherwise `LANDFALL_SECRETS`, or `secrets.toml` where the user's
    /// configuration of Landfall is.
    pub secrets: Option<PathBuf>,
    /// Who is told of the output of builds.
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
