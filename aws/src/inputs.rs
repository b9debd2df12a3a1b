//! Conversions between the inputs of a spec and the ids in AWS calls.

use landfall_provider::{Error, ErrorKind, Input, ResourceId, Result};

/// The id of an input: a provider receives specs with known ids only.
///
/// # Errors
/// `Invalid` when it is not known.
pub fn known<T: ResourceId>(input: &Input<T>) -> Result<&str> {
    input
        .known()
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "a reference has no id yet"))
}

/// The ids of a list of inputs.
///
/// # Errors
/// `Invalid` when one is not known.
pub fn all_known<T: ResourceId>(inputs: &[Input<T>]) -> Result<Vec<String>> {
    inputs
        .iter()
        .map(|input| known(input).map(str::to_owned))
        .collect()
}

/// An id from a listing as an input of a spec.
pub fn input<T: ResourceId>(id: impl Into<String>) -> Input<T> {
    Input::Known(T::from(id.into()))
}
