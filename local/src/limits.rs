//! What the local provider does not have, and refuses instead of pretending: before anything is made, and again
//! when it is to be made.

use landfall_compute::Workload;
use landfall_provider::{Error, ErrorKind};

/// What of a workload cannot be had here.
pub(crate) fn workload(workload: &Workload) -> Vec<Error> {
    let mut refused = Vec::new();
    if let Some((name, reference)) = workload.secrets.first_key_value() {
        refused.push(
            Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "the local provider does not resolve secrets yet: {name} = \"{reference}\""
                ),
            )
            .hint(
                "for this machine, leave `secrets` out and give a value that is no secret in `env`",
            ),
        );
    }
    if let Some(group) = &workload.logs {
        refused.push(
            Error::new(
                ErrorKind::Invalid,
                format_args!("the local provider has no CloudWatch Logs to write to: {group}"),
            )
            .hint("leave `log-group` out; what instances write is kept here without it"),
        );
    }
    refused
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use landfall_provider::{ImageId, Input, Port};

    use super::*;

    #[test]
    fn secrets_and_log_groups_are_refused_by_name() {
        let mut plain = Workload {
            image: Input::Known(ImageId::from("digipay/web@sha256:00")),
            port: Port::new(8000).unwrap(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            logs: None,
        };
        assert!(workload(&plain).is_empty());
        let reference = "ssm:/digipay/url".parse().unwrap();
        plain.secrets.insert("DATABASE_URL".to_owned(), reference);
        plain.logs = Some("/digipay/web".parse().unwrap());
        let refused: Vec<_> = workload(&plain).iter().map(ToString::to_string).collect();
        assert!(
            refused[0].contains("DATABASE_URL = \"ssm:/digipay/url\""),
            "{refused:?}"
        );
        assert!(refused[1].contains("/digipay/web"), "{refused:?}");
    }
}
