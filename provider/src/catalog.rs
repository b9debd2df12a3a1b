//! The catalog: all kinds that one provider supports, behind one type.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{Key, Kind, StackName};
use crate::poll_interval::PollInterval;
use crate::provider::{Live, Probe, Provider};
use crate::resource::Resource;
use crate::schema::Schema;
use crate::snapshot::{Found, Snapshot};

/// The timeout of a listing, with all its pages and retries.
const LISTING: Duration = Duration::from_secs(120);

/// The kinds that a provider `P` supports: lets the engine call [`Provider<R>`] without knowing
/// `R`.
///
/// Each crate adds its kinds with a function: `landfall_network::kinds(catalog)`.
pub struct Catalog<P: ?Sized> {
    kinds: BTreeMap<Kind, Box<dyn AnyKind<P>>>,
    schema: Schema,
}

impl<P: ?Sized> Default for Catalog<P> {
    fn default() -> Self {
        Self {
            kinds: BTreeMap::new(),
            schema: Schema::new(),
        }
    }
}

impl<P: ?Sized + Send + Sync> Catalog<P> {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind.
    #[must_use]
    pub fn with<R: Resource>(mut self) -> Self
    where
        P: Provider<R>,
    {
        self.kinds
            .insert(R::KIND, Box::new(Typed::<R>(PhantomData)));
        self.schema = self.schema.with::<R>();
        self
    }

    /// The planner's metadata of these kinds.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Every resource that the stack holds now: one listing per kind, all concurrent. Throttled
    /// listings are retried.
    ///
    /// # Errors
    /// The first listing that failed, or that took longer than two minutes.
    pub async fn snapshot(&self, provider: &P, stack: &StackName) -> Result<Snapshot> {
        let listings = self.kinds.iter().map(|(kind, typed)| async move {
            let listing = list(typed.as_ref(), provider, stack);
            let listed = tokio::time::timeout(LISTING, listing)
                .await
                .unwrap_or_else(|_| {
                    let why = format!("no answer for {} s", LISTING.as_secs());
                    Err(Error::new(ErrorKind::Timeout, why))
                });
            listed.map_err(|error| error.listing(kind))
        });
        let listings = try_join_all(listings).await?;
        Ok(Snapshot::new(listings.into_iter().flatten().collect()))
    }

    pub(crate) fn kind(&self, kind: &Kind) -> Result<&dyn AnyKind<P>> {
        self.kinds.get(kind).map(AsRef::as_ref).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format_args!("this provider does not support resources of kind {kind}"),
            )
        })
    }
}

/// Lists, and retries while throttled.
async fn list<P: ?Sized>(
    kind: &dyn AnyKind<P>,
    provider: &P,
    stack: &StackName,
) -> Result<Vec<Found>> {
    let poll_interval = PollInterval::default();
    let began = Instant::now();
    let mut pause = poll_interval.first;
    let mut tried = 0;
    loop {
        tried += 1;
        match kind.list(provider, stack).await {
            Err(error) if error.kind() == ErrorKind::Throttled => {
                if began.elapsed() >= poll_interval.time_limit() {
                    return Err(error.tried(tried, began.elapsed()));
                }
                tokio::time::sleep(pause).await;
                pause = poll_interval.next(pause);
            }
            outcome => return outcome,
        }
    }
}

/// [`Provider<R>`] with `R` erased: specs and outputs are JSON, ids are text.
#[async_trait]
pub(crate) trait AnyKind<P: ?Sized>: Send + Sync {
    async fn list(&self, provider: &P, stack: &StackName) -> Result<Vec<Found>>;
    async fn create(
        &self,
        provider: &P,
        stack: &StackName,
        key: &Key,
        desired: &Value,
    ) -> Result<String>;
    async fn update(&self, provider: &P, found: &Found, desired: &Value) -> Result<()>;
    async fn probe(&self, provider: &P, id: &str) -> Result<Probe<Value>>;
    async fn delete(&self, provider: &P, found: &Found) -> Result<()>;
}

struct Typed<R>(PhantomData<fn() -> R>);

#[async_trait]
impl<P, R> AnyKind<P> for Typed<R>
where
    P: Provider<R> + ?Sized,
    R: Resource,
{
    async fn list(&self, provider: &P, stack: &StackName) -> Result<Vec<Found>> {
        provider
            .list(stack)
            .await?
            .into_iter()
            .map(|live| {
                Ok(Found {
                    key: Key::new(R::KIND, live.name),
                    id: live.id.to_string(),
                    spec: to_json(&live.spec)?,
                    state: live.state.try_map(|output| to_json(&output))?,
                })
            })
            .collect()
    }

    async fn create(
        &self,
        provider: &P,
        stack: &StackName,
        key: &Key,
        desired: &Value,
    ) -> Result<String> {
        let desired: R = from_json(desired)?;
        Ok(provider.create(stack, key, &desired).await?.to_string())
    }

    async fn update(&self, provider: &P, found: &Found, desired: &Value) -> Result<()> {
        let desired: R = from_json(desired)?;
        provider.update(&live::<R>(found)?, &desired).await
    }

    async fn probe(&self, provider: &P, id: &str) -> Result<Probe<Value>> {
        provider
            .probe(&R::Id::from(id.to_owned()))
            .await?
            .try_map(|output| to_json(&output))
    }

    async fn delete(&self, provider: &P, found: &Found) -> Result<()> {
        provider.delete(&live::<R>(found)?).await
    }
}

fn live<R: Resource>(found: &Found) -> Result<Live<R>> {
    Ok(Live {
        id: R::Id::from(found.id.clone()),
        name: found.key.name.clone(),
        spec: from_json(&found.spec)?,
        state: found.state.clone().try_map(|output| from_json(&output))?,
    })
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(spec_mismatch)
}

fn from_json<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(spec_mismatch)
}

fn spec_mismatch(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, "the spec does not match its kind").caused_by(error)
}
