//! The image builder of this machine: its store, and the events for builder output.

use std::path::PathBuf;

use landfall_provider::{Error, ErrorKind, Event, Events, Key, ResourceName, Result};

use crate::{Built, Image, Store, build};

/// Builds images on this machine, for any provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    store: Store,
    events: Events,
}

impl ImageBuilder {
    /// Opens the store at this path, or the [`default_store`](Self::default_store); creates it if
    /// it does not exist.
    ///
    /// # Errors
    /// When it cannot be created or is not a store.
    pub fn open(store: Option<PathBuf>, events: Events) -> Result<Self> {
        let path = store.unwrap_or_else(Self::default_store);
        let store = Store::open(&path).map_err(|error| {
            failed(
                format_args!("the image store {} cannot be opened", path.display()),
                error,
            )
            .hint("set LANDFALL_IMAGE_STORE to a directory that you may write to")
        })?;
        Ok(Self { store, events })
    }

    /// `LANDFALL_IMAGE_STORE`, or `landfall/images` in the user's cache directory (XDG Base Directory
    /// Specification).
    #[must_use]
    pub fn default_store() -> PathBuf {
        let set = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        set("LANDFALL_IMAGE_STORE").unwrap_or_else(|| {
            let cache =
                set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
            cache
                .unwrap_or_else(std::env::temp_dir)
                .join("landfall/images")
        })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Emits a line about the work for `key`.
    pub fn tell(&self, key: &Key, line: &str) {
        self.events.emit(Event::Output {
            key: key.clone(),
            line: line.to_owned(),
        });
    }

    /// Builds the image unless the store has it, with the builder's output as output of `key`, and
    /// checks that it has a command. Messages call it `name`.
    ///
    /// # Errors
    /// When no builder is available, the build fails, or the image has no command.
    pub async fn make(&self, key: &Key, desired: &Image, name: &str) -> Result<Built> {
        let output = |line: &str| self.tell(key, line);
        let builder = desired.build_spec.builder.choose().await;
        let builder = builder.map_err(|error| failed("no builder is at hand", error))?;
        let built = build(builder.as_ref(), &desired.request(), &self.store, &output)
            .await
            .map_err(|error| failed("the image was not built", error))?;
        self.store
            .config(&built.config_digest)
            .map_err(|error| failed("the image cannot be read", error))?
            .command(name)
            .map_err(|error| failed("the image cannot be run", error))?;
        Ok(built)
    }

    /// Checks that an image is available, before anything is created that would wait for it: the
    /// stored image has a command, or no fault is known that would prevent the build.
    ///
    /// # Errors
    /// The fault.
    pub async fn check(&self, name: &ResourceName, desired: &Image) -> Result<()> {
        let unreadable = |error| failed("the image store cannot be read", error);
        if let Some(image) = self.store.find(&desired.source).map_err(unreadable)? {
            let config = self
                .store
                .config(&image.config_digest)
                .map_err(unreadable)?;
            return match config.command(name.as_str()) {
                Ok(_) => Ok(()),
                Err(error) => Err(unusable("the image cannot be run", error)),
            };
        }
        let builder = desired.build_spec.builder.choose().await;
        let builder = builder.map_err(|error| unusable("no builder is at hand", error))?;
        let checked = builder.check(&desired.request()).await;
        checked.map_err(|error| unusable("the image cannot be built", error))
    }
}

/// The error for a fault in the project itself.
fn unusable(what: &str, error: crate::Error) -> Error {
    Error::new(ErrorKind::Invalid, what).caused_by(error)
}

fn failed(what: impl std::fmt::Display, error: crate::Error) -> Error {
    Error::new(ErrorKind::Other, what).caused_by(error)
}
