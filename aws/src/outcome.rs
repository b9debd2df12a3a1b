//! What becomes of a call beside an answer and a failure: not there, so already, not visible yet, made after all.

use landfall_provider::{Error, ErrorKind, Left, Result};

/// `None` for what is not there.
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

/// Fine when it failed for being so already: deleting what is gone, adding what is there.
///
/// # Errors
/// Every failure of another kind.
pub fn unless<T>(kind: ErrorKind, outcome: Result<T>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() != kind => Err(error),
        _ => Ok(()),
    }
}

/// AWS answered without what its own documentation promises.
#[must_use]
pub fn lacks(action: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Other,
        format_args!("{action} was answered without {what}"),
    )
}

/// What was just made may not be visible to another part of AWS yet: that passes, so the engine is to try again.
///
/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
#[must_use]
pub fn until_visible(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        Error::new(
            ErrorKind::Unavailable,
            format_args!("what it refers to is not visible to AWS yet: {error}"),
        )
    } else {
        error
    }
}

/// What was created: by this call; or by this call or an earlier one whose answer was lost, which `find` finds out
/// by what the resource carries from its creation on.
///
/// # Errors
/// The call's own, where nothing was found; what `find` reports.
pub async fn created_or_found<T>(
    created: Result<T>,
    find: impl Future<Output = Result<Option<T>>>,
) -> Result<T> {
    match created {
        Err(error) if may_exist(&error) => find.await?.ok_or(error),
        created => created,
    }
}

/// Its answer was lost, or its name or address is taken, perhaps by itself.
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
