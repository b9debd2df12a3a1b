//! The sources of images: their build contexts, after the `before` commands.

use landfall_container::ContextHash;
use landfall_provider::{ApplyOptions, Error, ErrorKind, Key, ResourceName, kind};

use super::before;
use crate::cloud::Cloud;
use crate::config::{Config, Service};
use crate::outcome::{Failure, Stage};
use crate::run::Run;
use crate::stack::Sources;

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// The sources of all images, after the `before` commands.
    pub(crate) async fn sources(&self, config: &Config) -> Result<Sources, Box<Failure>> {
        let mut sources = Sources::new();
        for (name, service) in &config.service {
            let source = self.source(config, name, service).await?;
            sources.insert(name.clone(), source);
        }
        Ok(sources)
    }

    async fn source(
        &self,
        config: &Config,
        name: &ResourceName,
        service: &Service,
    ) -> Result<ContextHash, Box<Failure>> {
        let key = Key::new(kind::IMAGE, name.clone());
        let ApplyOptions { events, stop, .. } = &self.options.apply;
        if !self.options.no_before {
            before::run(&service.image.before, &config.directory, &key, events, stop).await?;
        }
        let request = config.build_request(&service.image);
        let failed = |error: Error| {
            let message = format!("cannot read the source of {key}");
            Failure::of(Stage::Sources, &message, error)
        };
        match tokio::task::spawn_blocking(move || request.identity()).await {
            Ok(Ok(source)) => Ok(source),
            Ok(Err(error)) => Err(failed(with_source(error))),
            Err(error) => Err(failed(Error::new(ErrorKind::Other, error))),
        }
    }
}

/// An error of the image builders as an error of the provider interface.
fn with_source(error: landfall_container::Error) -> Error {
    let reported = Error::new(ErrorKind::Invalid, &error);
    match std::error::Error::source(&error) {
        // The chain is kept as text, without the error itself.
        Some(source) => reported.caused_by(source.to_string()),
        None => reported,
    }
}
