//! A place that can hold resources.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{Key, ResourceName, StackName};
use crate::resource::Resource;

/// A place that can hold resources of kind `R`: AWS, this machine, a simulator.
///
/// Rules that every implementation keeps, and the engine relies on:
///
/// - A resource carries its stack and its name from the moment it exists, so that a run that was
///   interrupted finds it again.
/// - No verb waits longer than its call takes. Waiting is the engine's, by [`probe`](Self::probe).
/// - Every verb can be called again after a lost answer without harm. For `create` that means: one that
///   the stack holds under this key with this very spec is the one that was wanted, unless it has failed or
///   is ending. One with another spec is a predecessor, which may be there until the new one has
///   taken its place.
/// - What was made a moment ago may not be found everywhere yet: a verb that misses what its spec refers to says
///   [`NotFound`](crate::ErrorKind::NotFound), and the engine calls again for a while when this run has made it.
#[async_trait]
pub trait Provider<R: Resource>: Send + Sync {
    /// Everything of this kind that the stack holds, as it is now; all pages.
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<R>>>;

    /// Makes one and returns as soon as it has an id. All inputs of `want` are known.
    async fn create(&self, stack: &StackName, key: &Key, desired: &R) -> Result<R::Id>;

    /// Changes one in place to what is wanted. All inputs of `want` are known.
    async fn update(&self, live: &Live<R>, desired: &R) -> Result<()>;

    /// How it is now. Not being there is a state, not an error.
    async fn probe(&self, id: &R::Id) -> Result<Probe<R::Output>>;

    /// Asks for its end and returns when that is accepted; deleting what is gone succeeds.
    async fn delete(&self, live: &Live<R>) -> Result<()>;
}

/// A resource as the provider holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Live<R: Resource> {
    /// The id that the provider gave it.
    pub id: R::Id,
    /// The name that it carries in its stack.
    pub name: ResourceName,
    /// What it is, in the terms of a wish; every input is a known id.
    pub spec: R,
    /// How it is.
    pub state: Probe<R::Output>,
}

/// How a resource is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe<O> {
    /// There is none (or no longer).
    Absent,
    /// There, and on its way; the text says to what, in a few words: `attaching`.
    Pending(String),
    /// There and usable.
    Usable(O),
    /// There, and will not become usable by itself; the text says why.
    Failed(String),
    /// There, and on its way out; the text says how far it is: `draining`.
    Ending(String),
}

impl<O> Probe<O> {
    /// The same state with another form of output.
    ///
    /// # Errors
    /// What the conversion reports.
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
