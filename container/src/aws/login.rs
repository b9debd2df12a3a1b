//! The login to ECR, like `docker login`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_aws::{Aws, during, lacks};
use landfall_provider::Result;

use super::client;
use crate::RegistryCredentials;
use crate::request::Secret;

const ACTION: &str = "ecr:GetAuthorizationToken";

/// The registry and the credentials.
pub(super) struct Login {
    /// The registry's host.
    pub(super) host: String,
    pub(super) credentials: RegistryCredentials,
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>: valid for twelve hours.
pub(super) async fn login(aws: &Aws) -> Result<Login> {
    let answer = client(aws)
        .get_authorization_token()
        .send()
        .await
        .map_err(during(ACTION))?;
    let given = answer.authorization_data.unwrap_or_default();
    let given = given.into_iter().next();
    let given = given.ok_or_else(|| lacks(ACTION, "a token"))?;
    let token = given.authorization_token.unwrap_or_default();
    let token = STANDARD
        .decode(token)
        .ok()
        .and_then(|token| String::from_utf8(token).ok());
    let (user, password) = token
        .as_deref()
        .and_then(|token| token.split_once(':'))
        .ok_or_else(|| lacks(ACTION, "a user and a password"))?;
    let endpoint = given.proxy_endpoint.unwrap_or_default();
    let host = endpoint
        .split_once("://")
        .map_or(endpoint.as_str(), |(_, host)| host);
    Ok(Login {
        host: host.trim_end_matches('/').to_owned(),
        credentials: RegistryCredentials {
            username: user.to_owned(),
            password: Secret::new(password),
        },
    })
}
