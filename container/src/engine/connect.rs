//! Connects to an engine, and reads its features.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};

use super::address::{self, Address, Environment};
use super::{Engine, Kind, image, transport};
use crate::{EngineAttempt, Error, Platform, Result};

/// The time limit for an engine's identification in [`Engine::connect`]: Podman takes seconds for
/// it on a busy machine.
const ANSWER: Duration = Duration::from_secs(5);

/// The time limit for the start of any other answer, such as an image export.
const WAIT_TIMEOUT: Duration = Duration::from_secs(600);

impl Engine {
    /// Connects to the first engine that answers, at the addresses of `environment`, or at the
    /// usual ones if it has none. Waits at most five seconds for each.
    ///
    /// # Errors
    ///
    /// [`Error::EngineUnavailable`] with every address that was tried and its reason.
    pub async fn connect(environment: &Environment) -> Result<Self> {
        let mut tried = Vec::new();
        for address in environment.addresses()? {
            let name = address.to_string();
            match attempt(address, environment).await {
                Ok(engine) => return Ok(engine),
                Err(problem) => tried.push(EngineAttempt {
                    address: name,
                    problem,
                }),
            }
        }
        Err(Error::EngineUnavailable {
            tried,
            hint: address::OTHER_WAYS.to_owned(),
        })
    }

    /// Pings the engine, and waits at most five seconds for the answer.
    ///
    /// # Errors
    ///
    /// [`Error::EngineUnavailable`] if it does not answer any more.
    pub async fn ping(&self) -> Result<()> {
        let problem = match tokio::time::timeout(ANSWER, self.docker.ping()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => chain(&error),
            Err(_) => no_answer(),
        };
        Err(Error::EngineUnavailable {
            tried: vec![EngineAttempt {
                address: self.address.to_string(),
                problem,
            }],
            hint: address::OTHER_WAYS.to_owned(),
        })
    }
}

/// Tries to connect to an engine at `address`; returns the reason if it fails.
async fn attempt(address: Address, environment: &Environment) -> Result<Engine, String> {
    // The operating system's message about the socket is better than that of an HTTP client.
    match tokio::time::timeout(ANSWER, transport::knock(&address)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            return Err(match &address {
                Address::Unix(path) => address::socket_problem(path, &error),
                Address::Tcp(_) | Address::Pipe(_) => error.to_string(),
            });
        }
        Err(_) => return Err(no_answer()),
    }
    let docker = client(&address).map_err(|error| chain(&error))?;
    let version = match tokio::time::timeout(ANSWER, docker.version()).await {
        Ok(Ok(version)) => version,
        Ok(Err(error)) => {
            return Err(format!(
                "the server is not a container engine: {}",
                chain(&error)
            ));
        }
        Err(_) => return Err(no_answer()),
    };
    let Some(api) = version.api_version.as_deref().and_then(api_version) else {
        return Err("the server is not a container engine: it reports no API version".to_owned());
    };
    let podman = version
        .components
        .iter()
        .flatten()
        .any(|component| component.name.starts_with("Podman"));
    let kind = if podman { Kind::Podman } else { Kind::Docker };
    let os = version.os.unwrap_or_else(|| "linux".to_owned());
    let arch = version
        .arch
        .unwrap_or_else(|| Platform::host().arch.clone());
    // BuildKit is part of Docker since API version 1.39 (18.09), and only builds for Linux.
    let has_buildkit = kind == Kind::Docker && api >= (1, 39) && os == "linux";
    let wanted = has_buildkit && environment.docker_buildkit != Some(false);
    let number = version.version.unwrap_or_default();
    let buildkit = wanted && takes_archives(&docker, &number).await?;
    Ok(Engine {
        address,
        docker: docker.with_timeout(WAIT_TIMEOUT),
        kind,
        version: number,
        platform: format!("{os}/{arch}")
            .parse()
            .unwrap_or_else(|_| Platform::host()),
        buildkit,
        config_file: environment.config_file(),
    })
}

/// Whether the engine's BuildKit accepts a context in the request. With containerd's image store it
/// does so only since Docker 28 (moby/moby#47717); the classic builder always does.
async fn takes_archives(docker: &Docker, version: &str) -> Result<bool, String> {
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major >= 28) {
        return Ok(true);
    }
    let info = tokio::time::timeout(ANSWER, docker.info())
        .await
        .map_err(|_| no_answer())?
        .map_err(|error| chain(&error))?;
    let mut store = info.driver_status.into_iter().flatten().flatten();
    Ok(!store.any(|word| word.starts_with("io.containerd.snapshotter.")))
}

fn client(address: &Address) -> Result<Docker, bollard::errors::Error> {
    let timeout = WAIT_TIMEOUT.as_secs();
    match address {
        Address::Tcp(authority) => {
            Docker::connect_with_http(&format!("tcp://{authority}"), timeout, API_DEFAULT_VERSION)
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), timeout, API_DEFAULT_VERSION)
        }
        #[cfg(windows)]
        Address::Pipe(path) => Docker::connect_with_named_pipe(path, timeout, API_DEFAULT_VERSION),
        #[cfg(unix)]
        Address::Pipe(path) => {
            Err(bollard::errors::Error::UnsupportedURISchemeError { uri: path.clone() })
        }
        #[cfg(windows)]
        Address::Unix(path) => Err(bollard::errors::Error::UnsupportedURISchemeError {
            uri: path.display().to_string(),
        }),
    }
    // Credentials in headers must use the URL-safe alphabet, which the library does not use.
    .map(|docker| docker.with_request_modifier(image::url_safe_credentials))
}

/// Parses `1.41`.
fn api_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn no_answer() -> String {
    format!("it does not answer within {} seconds", ANSWER.as_secs())
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their source.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
