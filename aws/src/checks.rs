//! Preflight checks of a plan on AWS: each crate of kinds contributes one, and all findings are
//! reported at once.

use async_trait::async_trait;
use futures::future::join_all;
use landfall_provider::{Error, Plan, Preflight, Result};

use crate::session::Aws;

/// The findings of all checks, and the reasons of failed checks, each reason once.
pub fn findings(looks: impl IntoIterator<Item = Result<Vec<Error>>>) -> Vec<Error> {
    let mut findings: Vec<Error> = Vec::new();
    for look in looks {
        let found = look.unwrap_or_else(|error| vec![error]);
        for one in found {
            let reported = one.to_string();
            if findings.iter().all(|other| other.to_string() != reported) {
                findings.push(one);
            }
        }
    }
    findings
}

#[async_trait]
impl Preflight for Aws {
    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>> {
        let checks = self.checks().iter().map(|check| check.check(self, plan));
        Ok(findings(join_all(checks).await))
    }
}

#[cfg(test)]
mod tests {
    use landfall_provider::ErrorKind;

    use super::*;

    #[test]
    fn a_look_that_failed_hides_no_finding_and_is_told_once() {
        let error = |why: &str| Error::new(ErrorKind::Denied, why);
        let reported: Vec<String> = findings([
            Ok(vec![error("no zone eu-central-1d")]),
            Err(error("ec2:DescribeVpcs was denied")),
            Err(error("ec2:DescribeVpcs was denied")),
            Ok(vec![error("no Elastic IP is free")]),
        ])
        .iter()
        .map(ToString::to_string)
        .collect();
        assert_eq!(
            reported,
            [
                "no zone eu-central-1d",
                "ec2:DescribeVpcs was denied",
                "no Elastic IP is free"
            ]
        );
    }
}
