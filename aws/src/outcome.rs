//! Outcomes of a call between success and failure: absent, already done, not visible yet, created
//! after all.

use landfall_provider::{Error, ErrorKind, Left, Result};

/// `None` for an absent resource.
///
/// # Errors
/// Every other failure.
pub fn if_there<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Succeeds when the call failed because its effect already holds: deleting an absent resource,
/// adding an existing one.
///
/// # Errors
/// Every failure of another kind.
pub fn unless<T>(kind: ErrorKind, outcome: Result<T>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() != kind => Err(error),
        _ => Ok(()),
    }
}

/// The error for an answer that lacks a documented field.
#[must_use]
pub fn lacks(action: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Other,
        format_args!("the response to {action} contains no {what}"),
    )
}

/// A recently created resource may not be visible to another part of AWS yet: this is transient, so
/// the engine retries.
///
/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
#[must_use]
pub fn until_visible(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        Error::new(
            ErrorKind::Unavailable,
            format_args!("a referenced resource is not visible to AWS yet: {error}"),
        )
        .passes_within(error.time_limit())
    } else {
        error
    }
}

/// The created resource: from this call; or from this call or an earlier one whose answer was lost,
/// which `find` looks up by the marks that a resource carries from its creation on.
///
/// # Errors
/// The call's own error, if nothing was found; the error of `find`.
pub async fn created_or_found<T>(
    created: Result<T>,
    find: impl Future<Output = Result<Option<T>>>,
) -> Result<T> {
    match created {
        Err(error) if may_exist(&error) => find.await?.ok_or(error),
        created => created,
    }
}

/// Its answer was lost, or its name or address is taken, perhaps by the resource itself.
fn may_exist(error: &Error) -> bool {
    *error.left_behind() == Left::Unknown
        || matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::InUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed<T>(kind: ErrorKind, left: Left) -> Result<T> {
        Err(Error::new(kind, "no").left(left))
    }

    #[test]
    fn what_is_not_there_is_no_failure() {
        assert_eq!(if_there(Ok(1)).unwrap(), Some(1));
        let gone = failed::<i32>(ErrorKind::NotFound, Left::Nothing);
        assert_eq!(if_there(gone).unwrap(), None);
        assert!(if_there(failed::<i32>(ErrorKind::Denied, Left::Nothing)).is_err());
    }

    #[tokio::test]
    async fn a_creation_whose_answer_was_lost_is_looked_for() {
        let lost = || failed(ErrorKind::Unavailable, Left::Unknown);
        let there = async || Ok(Some("vpc-1"));
        let absent = async || Ok(None);
        assert_eq!(created_or_found(lost(), there()).await.unwrap(), "vpc-1");
        let error = created_or_found(lost(), absent()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let taken = failed(ErrorKind::AlreadyExists, Left::Nothing);
        assert_eq!(created_or_found(taken, there()).await.unwrap(), "vpc-1");
        let denied = failed(ErrorKind::Denied, Left::Nothing);
        assert!(created_or_found(denied, there()).await.is_err());
    }
}
