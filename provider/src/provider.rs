//! The trait of a place that can hold resources.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{Key, ResourceName, StackName};
use crate::resource::Resource;

/// A place that can hold resources of kind `R`: AWS, this machine, a simulator.
///
/// Rules that every implementation follows, and the engine relies on:
///
/// - A resource carries its stack and its name from the moment it exists, so that the next run
///   finds it after an interruption.
/// - No operation waits longer than its call takes. The engine waits, with [`probe`](Self::probe).
/// - Every operation can be repeated without harm after a lost answer. For `create`: a resource
///   that the stack holds under this key with exactly this spec is the requested one, unless it has
///   failed or is being deleted. A resource with another spec is a predecessor, which may exist
///   until the new one has replaced it.
/// - A recently created resource may not be visible everywhere yet: an operation that does not find
///   a resource that its spec refers to returns [`NotFound`](crate::ErrorKind::NotFound), and the
///   engine retries for a while if this run created that resource.
#[async_trait]
pub trait Provider<R: Resource>: Send + Sync {
    /// Lists every resource of this kind that the stack holds now; all pages.
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<R>>>;

    /// Creates a resource and returns as soon as it has an id. All inputs of `desired` are known.
    async fn create(&self, stack: &StackName, key: &Key, desired: &R) -> Result<R::Id>;

    /// Updates a resource in place to the desired spec. All inputs of `desired` are known.
    async fn update(&self, live: &Live<R>, desired: &R) -> Result<()>;

    /// Returns its present state. Absence is a state, not an error.
    async fn probe(&self, id: &R::Id) -> Result<Probe<R::Output>>;

    /// Requests the deletion and returns when it is accepted; deleting an absent resource succeeds.
    async fn delete(&self, live: &Live<R>) -> Result<()>;
}

/// A resource in the provider's present state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Live<R: Resource> {
    /// The id that the provider assigned.
    pub id: R::Id,
    /// Its name in the stack.
    pub name: ResourceName,
    /// Its spec, comparable with a desired one; every input is a known id.
    pub spec: R,
    /// Its state.
    pub state: Probe<R::Output>,
}

/// The present state of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe<O> {
    /// It does not exist (any more).
    Absent,
    /// It exists and is in transition; the text names the transition in a few words: `attaching`.
    Pending(String),
    /// It exists and is usable.
    Usable(O),
    /// It exists and will not become usable by itself; the text is the reason.
    Failed(String),
    /// It exists and is being deleted; the text is the progress: `draining`.
    Ending(String),
}

impl<O> Probe<O> {
    /// The same state with a converted output.
    ///
    /// # Errors
    /// The error of the conversion.
    pub fn try_map<T, E>(
        self,
        convert: impl FnOnce(O) -> std::result::Result<T, E>,
    ) -> std::result::Result<Probe<T>, E> {
        Ok(match self {
            Self::Absent => Probe::Absent,
            Self::Pending(why) => Probe::Pending(why),
            Self::Usable(output) => Probe::Usable(convert(output)?),
            Self::Failed(why) => Probe::Failed(why),
            Self::Ending(why) => Probe::Ending(why),
        })
    }
}
