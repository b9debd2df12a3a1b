//! Credentials for registries: from the request, then from docker's client.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use base64::Engine as _;
use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};

use crate::RegistryCredentials;
use crate::builder::Output;

/// The name of Docker Hub in the credentials of docker's client, which engines use too.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Credentials by the engines' name of a registry.
pub(super) type Credentials = BTreeMap<String, DockerCredentials>;

/// The engines' name of a registry.
pub(super) fn key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// Looks up credentials for each of `registries`. Calls credential helpers, so it may block for
/// long.
///
/// A registry without credentials is used anonymously; a failing helper is a warning, because the
/// image may be public.
pub(super) fn find(
    registries: &BTreeSet<String>,
    given: &BTreeMap<String, RegistryCredentials>,
    config: Option<&Path>,
    output: &Output<'_>,
) -> Credentials {
    let mut found = Credentials::new();
    for (registry, credentials) in given {
        let password = credentials.password.reveal();
        found.insert(
            key(registry).to_owned(),
            password_for(registry, &credentials.username, password),
        );
    }
    for registry in registries {
        let server = key(registry);
        if found.contains_key(server) {
            continue;
        }
        // No file, no credentials.
        let Some(file) = config.and_then(|path| File::open(path).ok()) else {
            continue;
        };
        match docker_credential::get_credential_from_reader(file, server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                found.insert(server.to_owned(), password_for(registry, &user, &password));
            }
            Ok(DockerCredential::IdentityToken(token)) => {
                found.insert(
                    server.to_owned(),
                    DockerCredentials {
                        identitytoken: Some(token),
                        serveraddress: Some(server.to_owned()),
                        ..DockerCredentials::default()
                    },
                );
            }
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            // The answer of helpers without an entry for a server.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") => {}
            Err(error) => output(&format!(
                "warning: no credentials for {registry}: {}",
                error.to_string().trim_end()
            )),
        }
    }
    found
}

fn password_for(registry: &str, username: &str, password: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(key(registry).to_owned()),
        ..DockerCredentials::default()
    }
}

/// The value of an `X-Registry-Auth` or `X-Registry-Config` header. Engines decode the URL-safe alphabet only.
pub(super) fn header(value: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(base64::engine::general_purpose::URL_SAFE.encode(serde_json::to_vec(value)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Secret;

    fn look_up(
        registries: &[&str],
        given: &[(&str, &str, &str)],
        config: &str,
    ) -> (Credentials, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        let given = given
            .iter()
            .map(|(registry, username, password)| {
                let credentials = RegistryCredentials {
                    username: (*username).to_owned(),
                    password: Secret::new(*password),
                };
                ((*registry).to_owned(), credentials)
            })
            .collect();
        let registries = registries.iter().map(|name| (*name).to_owned()).collect();
        let lines = Mutex::new(Vec::new());
        let found = find(&registries, &given, Some(&path), &|line| {
            lines.lock().unwrap().push(line.to_owned());
        });
        (found, lines.into_inner().unwrap())
    }

    #[test]
    fn the_requests_credentials_win_over_dockers() {
        // "me:old" and "hub:pass".
        let config = r#"{"auths": {"registry.example.com:5000": {"auth": "bWU6b2xk"},
            "https://index.docker.io/v1/": {"auth": "aHViOnBhc3M="}}}"#;
        let (found, lines) = look_up(
            &["registry.example.com:5000", "docker.io", "quay.io"],
            &[("registry.example.com:5000", "me", "new")],
            config,
        );
        assert!(lines.is_empty(), "{lines:?}");
        let passwords: Vec<_> = found
            .iter()
            .map(|(key, found)| {
                (
                    key.as_str(),
                    found.username.as_deref(),
                    found.password.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            passwords,
            [
                (DOCKER_HUB, Some("hub"), Some("pass")),
                ("registry.example.com:5000", Some("me"), Some("new")),
            ]
        );
    }

    #[test]
    fn a_helper_that_is_missing_is_a_warning() {
        let config = r#"{"credHelpers": {"ghcr.io": "landfall-does-not-exist"}}"#;
        let (found, lines) = look_up(&["ghcr.io"], &[], config);
        assert!(found.is_empty());
        assert!(
            lines.len() == 1 && lines[0].contains("ghcr.io"),
            "{lines:?}"
        );
    }

    #[test]
    fn headers_use_the_alphabet_that_engines_decode() {
        let header = header(&password_for("r.example", "u", "~~~???>>>")).unwrap();
        assert!(!header.contains(['+', '/']), "{header}");
        let json = base64::engine::general_purpose::URL_SAFE
            .decode(header)
            .unwrap();
        assert!(String::from_utf8(json).unwrap().contains("~~~???>>>"));
    }
}
