//! A certificate that a balancer cannot serve: found by its ARN before anything is made, or by what the service says.
//!
//! Whether it is issued and valid, ACM alone tells. This build has no client for ACM; the service refuses such a
//! certificate when the listener is made.

use async_trait::async_trait;
use landfall_aws::{Aws, Check};
use landfall_provider::{Action, Error, ErrorKind, Plan, Resource as _, Result};
use serde::Deserialize as _;

use crate::Listener;

/// The check of this crate's kinds: certificates in another region or account.
#[must_use]
pub fn check() -> Box<dyn Check> {
    Box::new(Certificates)
}

struct Certificates;

#[async_trait]
impl Check for Certificates {
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        let wanted = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Create { desired, .. } | Action::Update { desired, .. }
                if step.key.kind == Listener::KIND =>
            {
                let listener = Listener::deserialize(desired).ok()?;
                Some((&step.key, listener.certificate?))
            }
            _ => None,
        });
        let account = &aws.identity().account;
        let found = wanted.filter_map(|(key, arn)| {
            let (why, hint) = misplaced(&arn, aws.region(), account)?;
            let error = Error::new(ErrorKind::Invalid, format_args!("{key}: {why}"));
            Some(error.hint(hint))
        });
        Ok(found.collect())
    }
}

/// Why a balancer here cannot serve the certificate of this ARN, and what to do.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html>
fn misplaced(arn: &str, region: &str, account: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &[_, _, _, its_region, its_account, _] = parts.as_slice() else {
        return None;
    };
    // IAM has no regions.
    if !its_region.is_empty() && its_region != region {
        return Some((
            format!(
                "the certificate {arn} is in {its_region}, and the load balancer is in {region}"
            ),
            format!(
                "request or import it in {region}: a load balancer takes certificates of its own region"
            ),
        ));
    }
    (its_account != account).then(|| {
        (
            format!(
                "the certificate {arn} belongs to account {its_account}, and this is {account}"
            ),
            format!(
                "request or import it in account {account}, or deploy with credentials of the other"
            ),
        )
    })
}

/// What the service says of a certificate that it does not find, or does not take, is final: no other try changes it.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html#API_CreateListener_Errors>
pub(super) fn refused(error: Error) -> Error {
    let text = error.to_string();
    let codes = ["(CertificateNotFound)", "(UnsupportedCertificate)"];
    if codes.iter().any(|code| text.ends_with(code)) {
        Error::new(ErrorKind::Invalid, text).hint(
            "the certificate has to be in ACM or IAM of this account and region, issued and not expired: \
             `aws acm describe-certificate --certificate-arn …` shows its status",
        )
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(arn: &str) -> Option<String> {
        misplaced(arn, "eu-central-1", "123456789012").map(|(why, _)| why)
    }

    #[test]
    fn certificate_of_another_region_is_found() {
        let why = seen("arn:aws:acm:us-east-1:123456789012:certificate/1").unwrap();
        assert!(
            why.ends_with("is in us-east-1, and the load balancer is in eu-central-1"),
            "{why}"
        );
        let why = seen("arn:aws:acm:eu-central-1:210987654321:certificate/1").unwrap();
        assert!(why.contains("belongs to account 210987654321"), "{why}");
    }

    #[test]
    fn certificate_here_is_fine() {
        assert_eq!(
            seen("arn:aws:acm:eu-central-1:123456789012:certificate/1"),
            None
        );
        assert_eq!(
            seen("arn:aws:iam::123456789012:server-certificate/web"),
            None
        );
    }

    #[test]
    fn refused_certificate_is_final() {
        for code in ["CertificateNotFound", "UnsupportedCertificate"] {
            let why = format!("elasticloadbalancing:CreateListener: no ({code})");
            let error = refused(Error::new(ErrorKind::NotFound, why));
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.hint_text().unwrap().contains("issued"));
        }
        let other = refused(Error::new(ErrorKind::NotFound, "no (LoadBalancerNotFound)"));
        assert_eq!(other.kind(), ErrorKind::NotFound);
    }
}
