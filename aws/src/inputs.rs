//! Between the inputs of a spec and the ids that AWS's calls take and give.

use landfall_provider::{Error, ErrorKind, Input, ResourceId, Result};

/// The id behind an input: specs come to a provider with all of them known.
///
/// # Errors
/// `Invalid` when it is not.
pub fn known<T: ResourceId>(input: &Input<T>) -> Result<&str> {
    input
        .known()
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "a reference has no id yet"))
}

/// The ids behind a list of inputs.
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
