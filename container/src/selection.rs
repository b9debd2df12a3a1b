//! The choice of a builder: above the builders, which do not know it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::builder::{Builder, Built, Output, Requirements};
use crate::daemonless::{self, Daemonless};
use crate::{BuildRequest, Error, Result, Store};

/// The choice of a builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuilderChoice {
    /// The daemonless builder if the Dockerfile allows it, otherwise an engine.
    #[default]
    Auto,
    /// A Docker or Podman engine; an error if none answers.
    Engine,
    /// The daemonless builder, even if the Dockerfile needs an engine.
    Daemonless,
}

impl BuilderChoice {
    /// The optional parts that a build of `request` needs, as far as the Dockerfile shows them.
    ///
    /// Reads only the Dockerfile. An unreadable one needs nothing: the build reports it.
    #[must_use]
    pub fn requirements(self, request: &BuildRequest) -> Requirements {
        if self == Self::Engine {
            return Requirements {
                engine: Some("the chosen builder is a container engine".to_owned()),
                registry: None,
            };
        }
        match daemonless::needs(request) {
            Ok(needs) if self == Self::Auto && needs.engine.is_some() => Requirements {
                registry: None,
                ..needs
            },
            Ok(needs) => Requirements {
                engine: None,
                ..needs
            },
            Err(_) => Requirements::default(),
        }
    }

    /// Returns the chosen builder, with the engine settings of this process's environment.
    ///
    /// # Errors
    ///
    /// An engine is required and none answers, this build has no client for one, or the environment
    /// has an invalid engine setting.
    pub async fn choose(self) -> Result<Box<dyn Builder>> {
        #[cfg(feature = "engine")]
        return self
            .choose_in(crate::engine::Environment::of_process())
            .await;
        #[cfg(not(feature = "engine"))]
        match self {
            Self::Daemonless => Ok(Box::new(Daemonless)),
            Self::Auto => Ok(Box::new(Automatic {})),
            Self::Engine => Err(Error::WithoutFeature {
                feature: "engine",
                reason: "the chosen builder is a container engine".to_owned(),
            }),
        }
    }

    /// [`BuilderChoice::choose`] with the engine settings of `environment`.
    ///
    /// # Errors
    ///
    /// As [`BuilderChoice::choose`].
    #[cfg(feature = "engine")]
    pub async fn choose_in(
        self,
        environment: crate::engine::Environment,
    ) -> Result<Box<dyn Builder>> {
        Ok(match self {
            Self::Daemonless => Box::new(Daemonless),
            Self::Auto => Box::new(Automatic { environment }),
            Self::Engine => Box::new(crate::engine::Engine::connect(&environment).await?),
        })
    }
}

/// [`Daemonless`] for every Dockerfile that it can build, and an engine for the others.
struct Automatic {
    #[cfg(feature = "engine")]
    environment: crate::engine::Environment,
}

impl Automatic {
    /// The engine for a Dockerfile that the daemonless builder refused with `refusal`.
    ///
    /// Without an engine, returns the refusal, and says in `output` where an engine was expected.
    #[cfg(feature = "engine")]
    async fn engine(
        &self,
        refusal: Error,
        _: &BuildRequest,
        output: &Output<'_>,
    ) -> Result<Box<dyn Builder>> {
        match crate::engine::Engine::connect(&self.environment).await {
            Ok(engine) => Ok(Box::new(engine)),
            Err(Error::EngineUnavailable { tried, .. }) => {
                let addresses: Vec<&str> = tried
                    .iter()
                    .map(|attempt| attempt.address.as_str())
                    .collect();
                let addresses = if addresses.is_empty() {
                    String::new()
                } else {
                    format!(" at {}", addresses.join(", "))
                };
                let unanswered = format!("no container engine answers{addresses}");
                output(&unanswered);
                Err(with_hint(refusal, &unanswered))
            }
            Err(error) => Err(error),
        }
    }

    /// Without a client for engines: the refusal, or the missing feature if an engine could build it.
    #[cfg(not(feature = "engine"))]
    #[expect(clippy::unused_async, reason = "with the feature it connects")]
    async fn engine(
        &self,
        refusal: Error,
        request: &BuildRequest,
        _: &Output<'_>,
    ) -> Result<Box<dyn Builder>> {
        match BuilderChoice::Auto.requirements(request).engine {
            Some(reason) => Err(Error::WithoutFeature {
                feature: "engine",
                reason,
            }),
            None => Err(refusal),
        }
    }
}

/// Puts a hint before that of an error about a Dockerfile.
#[cfg(feature = "engine")]
fn with_hint(error: Error, hint: &str) -> Error {
    let Error::Dockerfile(mut error) = error else {
        return error;
    };
    error.hint = Some(match error.hint.take() {
        Some(rest) => format!("{hint}; {rest}"),
        None => hint.to_owned(),
    });
    Error::Dockerfile(error)
}

/// Whether an engine may succeed where the daemonless builder failed with this error: at an instruction,
/// at a base image that only the engine has, or at a layer that only the engine reads.
fn may_suit_engine(error: &Error) -> bool {
    matches!(
        error,
        Error::Dockerfile(_)
            | Error::Registry { .. }
            | Error::InvalidImage { .. }
            | Error::WithoutFeature { .. }
    )
}

#[async_trait]
impl Builder for Automatic {
    async fn build(
        &self,
        request: &BuildRequest,
        store: &Store,
        output: &Output<'_>,
    ) -> Result<Built> {
        match Daemonless.build(request, store, output).await {
            Err(error) if may_suit_engine(&error) => {
                let engine = self.engine(error, request, output).await?;
                engine.build(request, store, output).await
            }
            result => result,
        }
    }

    async fn check(&self, request: &BuildRequest) -> Result<()> {
        match Daemonless.check(request).await {
            Err(error) if may_suit_engine(&error) => {
                let engine = self.engine(error, request, &|_| {}).await?;
                engine.check(request).await
            }
            result => result,
        }
    }

    fn name(&self) -> &'static str {
        "auto"
    }
}
