//! Inputs: a field that names another resource, by a known id or by a reference.

use std::marker::PhantomData;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::ResourceId;
use crate::name::{Key, Kind};

/// A known id, or a reference to another resource of the same stack.
///
/// In JSON a known id is plain text, `"subnet-0abc"`, and a reference is `"${subnet/private-a}"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input<T> {
    /// The id of an existing resource, from this stack or from outside.
    Known(T),
    /// The id that the resource under this key has, or will get.
    Of(Key, PhantomData<T>),
}

impl<T: ResourceId> Input<T> {
    /// The id, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(id) => Some(id),
            Self::Of(..) => None,
        }
    }

    /// The id. For specs that a provider receives, where every id must be known.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is still a reference.
    pub fn resolved(&self) -> Result<&T> {
        self.known()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a reference has no id yet"))
    }
}

impl<T> From<T> for Input<T> {
    fn from(id: T) -> Self {
        Self::Known(id)
    }
}

/// An [`Input`] of any type: the planner's view of the edges of the graph.
pub trait Reference {
    /// The kind of the referenced resource.
    fn kind(&self) -> Kind;
    /// The key of the referenced resource, if its id is not known yet.
    fn target(&self) -> Option<&Key>;
    /// The id, if it is known.
    fn id(&self) -> Option<&str>;
    /// Replaces the reference by the id.
    fn resolve(&mut self, id: &str);
}

impl<T: ResourceId> Reference for Input<T> {
    fn kind(&self) -> Kind {
        T::KIND
    }

    fn target(&self) -> Option<&Key> {
        match self {
            Self::Known(_) => None,
            Self::Of(key, _) => Some(key),
        }
    }

    fn id(&self) -> Option<&str> {
        self.known().map(AsRef::as_ref)
    }

    fn resolve(&mut self, id: &str) {
        *self = Self::Known(T::from(id.to_owned()));
    }
}

impl<T: ResourceId> Serialize for Input<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Known(id) => serializer.serialize_str(id.as_ref()),
            Self::Of(key, _) => serializer.collect_str(&format_args!("${{{key}}}")),
        }
    }
}

impl<'de, T: ResourceId> Deserialize<'de> for Input<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(key) => Ok(Self::Of(
                key.parse().map_err(D::Error::custom)?,
                PhantomData,
            )),
            None => Ok(Self::Known(T::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VpcId;

    #[test]
    fn a_reference_and_a_literal_read_back_as_themselves() {
        for text in [r#""${vpc/main}""#, r#""vpc-0abc""#] {
            let input: Input<VpcId> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&input).unwrap(), text);
        }
        assert!(serde_json::from_str::<Input<VpcId>>(r#""${nothing}""#).is_err());
    }

    #[test]
    fn resolving_replaces_the_promise() {
        let mut input: Input<VpcId> = serde_json::from_str(r#""${vpc/main}""#).unwrap();
        assert_eq!(input.target().unwrap().to_string(), "vpc/main");
        input.resolve("vpc-1");
        assert_eq!(input, Input::Known(VpcId::from("vpc-1")));
    }
}
