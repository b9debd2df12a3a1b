//! The desired state: resources under their keys, and the edges between them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::Input;
use crate::name::{Key, ResourceName, StackName};
use crate::resource::Resource;

/// One desired resource, its type erased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredResource {
    /// The spec as JSON; references are written `${kind/name}`.
    pub spec: Value,
    /// The keys that the spec refers to.
    pub needs: Vec<Key>,
}

impl DesiredResource {
    fn of<R: Resource>(spec: &mut R) -> Self {
        let needs = spec
            .references()
            .into_iter()
            .filter_map(|reference| reference.target().cloned())
            .collect();
        let spec = serde_json::to_value(&spec).expect("a spec is a struct of JSON values");
        Self { spec, needs }
    }
}

/// All resources of one deployment.
///
/// ```
/// # use landfall_provider::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)] struct Vpc { cidr: String }
/// # impl Resource for Vpc {
/// #     const KIND: Kind = kind::VPC; type Id = VpcId; type Output = ();
/// #     fn references(&mut self) -> Vec<&mut dyn Reference> { vec![] }
/// # }
/// # #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)] struct Subnet { vpc: Input<VpcId> }
/// # impl Resource for Subnet {
/// #     const KIND: Kind = kind::SUBNET; type Id = SubnetId; type Output = ();
/// #     fn references(&mut self) -> Vec<&mut dyn Reference> { vec![&mut self.vpc] }
/// # }
/// let mut stack = Stack::new(StackName::new("digipay")?);
/// let vpc = stack.add("main", Vpc { cidr: "10.0.0.0/16".into() });
/// stack.add("private-a", Subnet { vpc: vpc.id() });
/// assert_eq!(stack.resources().len(), 2);
/// # Ok::<(), InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    name: StackName,
    resources: BTreeMap<Key, DesiredResource>,
}

impl Stack {
    /// An empty stack.
    pub fn new(name: StackName) -> Self {
        Self {
            name,
            resources: BTreeMap::new(),
        }
    }

    /// Adds a resource and returns the handle by which others refer to it.
    ///
    /// # Panics
    /// When the name is not a [`ResourceName`] or is taken by another resource of its kind. For
    /// names from the program, not from its input; [`try_add`](Self::try_add) returns an error
    /// instead.
    pub fn add<R: Resource>(&mut self, name: &str, spec: R) -> Handle<R> {
        let name = ResourceName::new(name).expect("a literal resource name follows the rule");
        match self.try_add(name, spec) {
            Ok(handle) => handle,
            Err(taken) => panic!("{taken}"),
        }
    }

    /// Adds a resource under a name from outside the program.
    ///
    /// # Errors
    /// [`NameTaken`] when the stack already holds a resource of that kind and name.
    pub fn try_add<R: Resource>(
        &mut self,
        name: ResourceName,
        mut spec: R,
    ) -> Result<Handle<R>, NameTaken> {
        let key = Key::new(R::KIND, name);
        if self.resources.contains_key(&key) {
            return Err(NameTaken(key));
        }
        self.resources
            .insert(key.clone(), DesiredResource::of(&mut spec));
        Ok(Handle {
            key,
            resource: PhantomData,
        })
    }

    /// Changes a resource in the stack: this is how custom rules are added to the rules of a
    /// blueprint. Returns false, and changes nothing, when there is no resource of that kind and
    /// name.
    ///
    /// # Errors
    /// [`SpecMismatch`] when the resource does not have the form of its kind.
    pub fn amend<R: Resource>(
        &mut self,
        name: &ResourceName,
        change: impl FnOnce(&mut R),
    ) -> Result<bool, SpecMismatch> {
        let Some(mut spec) = self.get::<R>(name)? else {
            return Ok(false);
        };
        change(&mut spec);
        let key = Key::new(R::KIND, name.clone());
        self.resources.insert(key, DesiredResource::of(&mut spec));
        Ok(true)
    }

    /// The stack's name.
    pub fn name(&self) -> &StackName {
        &self.name
    }

    /// All desired resources, by key.
    pub fn resources(&self) -> &BTreeMap<Key, DesiredResource> {
        &self.resources
    }

    /// The desired resource of a name, as its own type; `None` when there is none of that kind and
    /// name.
    ///
    /// # Errors
    /// [`SpecMismatch`] when it does not have the form of its kind.
    pub fn get<R: Resource>(&self, name: &ResourceName) -> Result<Option<R>, SpecMismatch> {
        let key = Key::new(R::KIND, name.clone());
        let Some(desired) = self.resources.get(&key) else {
            return Ok(None);
        };
        let spec = R::deserialize(&desired.spec);
        spec.map(Some)
            .map_err(|error| SpecMismatch::new(key, &error))
    }
}

/// A resource does not have the form of its kind: another version has written it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} does not have the form of its kind: {reason}")]
pub struct SpecMismatch {
    /// The resource.
    pub key: Key,
    /// The first field that does not fit.
    pub reason: String,
}

impl SpecMismatch {
    /// The mismatch that an error of `serde` describes.
    pub fn new(key: Key, error: &serde_json::Error) -> Self {
        let reason = error.to_string();
        Self { key, reason }
    }
}

/// Two resources of one kind have the same name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stack already contains {0}")]
pub struct NameTaken(pub Key);

/// A resource of a stack under construction: others refer to it by [`id`](Self::id).
pub struct Handle<R> {
    key: Key,
    resource: PhantomData<fn() -> R>,
}

impl<R: Resource> Handle<R> {
    /// The id that it has or will get, for a field of another resource.
    pub fn id(&self) -> Input<R::Id> {
        Input::Of(self.key.clone(), PhantomData)
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            resource: PhantomData,
        }
    }
}

impl<R> fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.key)
    }
}
