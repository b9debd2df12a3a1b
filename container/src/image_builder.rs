//! Where images are made on this machine: the store that keeps them, and who is told what the builders print.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use landfall_provider::{Error, ErrorKind, Event, Events, Key, ResourceName, Result};

use crate::{Built, Image, Store, build};

/// A place to make images in, whichever provider they are for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    store: Store,
    events: Events,
}

impl ImageBuilder {
    /// Opens the store at this path, or else at [`default_store`](Self::default_store); makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or is no store.
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

    /// Tells a line of what is done for `key`.
    pub fn tell(&self, key: &Key, line: &str) {
        self.events.emit(Event::Output {
            key: key.clone(),
            line: line.to_owned(),
        });
    }

    /// Makes the image unless the store has it, telling what the builder prints as output of `key`, and sees that
    /// it has something to start. Messages call it `name`.
    ///
    /// # Errors
    /// When no builder is at hand, the build fails, or the image cannot be run.
    pub async fn make(&self, key: &Key, desired: &Image, name: &str) -> Result<Built> {
        let output = |line: &str| self.tell(key, line);
        let builder = desired.build_spec.builder.choose(&output).await;
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

    /// Looks whether an image can be had, before anything is made that would wait for it: the one in the store
    /// has something to start, or nothing is known that keeps it from being built.
    ///
    /// # Errors
    /// What stands against it.
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
        // Which builder it is and why, the build itself will say; an error says it now.
        let said: Mutex<Vec<String>> = Mutex::default();
        let note = |line: &str| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(line.to_owned());
        };
        let builder = desired.build_spec.builder.choose(&note).await;
        let builder = builder.map_err(|error| unusable("no builder is at hand", error))?;
        let checked = builder.check(&desired.request()).await;
        checked.map_err(|error| {
            let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
            unusable("the image cannot be built", error).details(said)
        })
    }
}

/// What the project itself has to mend.
fn unusable(what: &str, error: crate::Error) -> Error {
    Error::new(ErrorKind::Invalid, what).caused_by(error)
}

fn failed(what: impl std::fmt::Display, error: crate::Error) -> Error {
    Error::new(ErrorKind::Other, what).caused_by(error)
}
