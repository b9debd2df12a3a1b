//! The address of an engine: `DOCKER_HOST`, docker contexts, and the usual sockets of Docker and
//! Podman.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::context::hex;
use crate::{EngineAttempt, Error, Result};

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
    /// A Windows named pipe, such as `//./pipe/docker_engine`.
    Pipe(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Pipe(path) => write!(f, "npipe://{path}"),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fault = |problem| AddressError {
            text: text.to_owned(),
            problem,
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| fault("write it as unix:///path/of/docker.sock or tcp://host:port"))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(fault(
                "the path of the socket has to be absolute: unix:///path",
            )),
            "tcp" | "http" => {
                let authority = rest.trim_end_matches('/');
                let (host, port) = authority
                    .rsplit_once(':')
                    .filter(|(_, port)| !port.ends_with(']'))
                    .unwrap_or((authority, "2375"));
                if host.is_empty() || authority.contains('/') {
                    return Err(fault("write it as tcp://host:port"));
                }
                match port.parse::<u16>() {
                    Ok(port) if port > 0 => Ok(Self::Tcp(format!("{host}:{port}"))),
                    _ => Err(fault("the port has to be a number from 1 to 65535")),
                }
            }
            "npipe" if !rest.is_empty() => Ok(Self::Pipe(rest.to_owned())),
            "ssh" => Err(fault(
                "engines are not reached through ssh from here; forward the socket with \
                 `ssh -NL /tmp/engine.sock:/var/run/docker.sock user@host` and use unix:///tmp/engine.sock",
            )),
            "https" => Err(fault(
                "engines are not reached through TLS from here; use a Unix socket, or forward it with ssh",
            )),
            _ => Err(fault("only unix://, tcp:// and npipe:// are known")),
        }
    }
}

/// The error for a text that is not an address of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" cannot be used: {problem}")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

/// The settings that select an engine, as in docker's own client.
///
/// [`Environment::of_process`] has the real ones; a literal with [`Environment::docker_host`]
/// selects exactly one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `DOCKER_HOST`: the address. Overrides all other settings.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`: the name of a docker context.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`, by default `~/.docker`: contexts and registry credentials.
    pub docker_config: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` is set: TCP must be encrypted.
    pub docker_tls: bool,
    /// `DOCKER_BUILDKIT`: `false` disables an engine's BuildKit.
    pub docker_buildkit: Option<bool>,
    /// `XDG_RUNTIME_DIR`: the directory of the sockets of rootless engines.
    pub runtime_dir: Option<PathBuf>,
    /// The home directory, which contains Docker Desktop's sockets.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// The settings of this process's environment.
    #[must_use]
    pub fn of_process() -> Self {
        // docker's client treats an empty variable as unset.
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name| text(name).map(PathBuf::from);
        let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: path("DOCKER_CONFIG")
                .or_else(|| home.as_ref().map(|home| home.join(".docker"))),
            docker_tls: text("DOCKER_TLS_VERIFY").is_some(),
            docker_buildkit: text("DOCKER_BUILDKIT").map(|value| {
                !matches!(
                    value.as_str(),
                    "0" | "f" | "F" | "false" | "False" | "FALSE"
                )
            }),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            home,
        }
    }

    /// The addresses to try, in this order. A setting that names an address is the only one: a
    /// build on any other engine would be a surprise.
    ///
    /// # Errors
    ///
    /// [`Error::EngineUnavailable`] if a setting has an unusable address; the error names the
    /// setting.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        if let Some(host) = &self.docker_host {
            return Ok(vec![self.named("DOCKER_HOST", host, self.docker_tls)?]);
        }
        let config = self.config()?;
        let (setting, context) = match (&self.docker_context, config.current_context) {
            (Some(name), _) => ("DOCKER_CONTEXT", name.clone()),
            (None, Some(name)) => ("currentContext", name),
            (None, None) => return Ok(self.usual()),
        };
        if context.is_empty() || context == "default" {
            return Ok(self.usual());
        }
        let setting = format!("{setting} {context}");
        let endpoint = self.context(&setting, &context)?;
        let tls = self
            .context_dir("tls", &context)
            .is_some_and(|dir| dir.is_dir());
        Ok(vec![self.named(&setting, &endpoint, tls)?])
    }

    /// The relevant contents of docker's `config.json`; empty if the file does not exist.
    fn config(&self) -> Result<ClientConfig> {
        let Some(path) = self.config_file() else {
            return Ok(ClientConfig::default());
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(ClientConfig::default());
            }
            Err(source) => {
                return Err(Error::Io {
                    doing: "read",
                    path,
                    source,
                });
            }
        };
        serde_json::from_str(&text).map_err(|error| {
            unusable(
                &path.display().to_string(),
                format!("it is not docker's configuration: {error}"),
                "repair or remove that file, or set DOCKER_HOST",
            )
        })
    }

    /// The configuration file of docker's client.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.docker_config
            .as_ref()
            .map(|dir| dir.join("config.json"))
    }

    /// A directory of the context store, whose names are hashes of the contexts' names.
    fn context_dir(&self, part: &str, context: &str) -> Option<PathBuf> {
        let id = hex(&Sha256::digest(context.as_bytes()));
        let dir = self.docker_config.as_ref()?;
        Some(dir.join("contexts").join(part).join(id))
    }

    /// The endpoint of a docker context.
    fn context(&self, setting: &str, name: &str) -> Result<String> {
        let hint = "list the contexts with `docker context ls`, or set DOCKER_HOST";
        let path = self
            .context_dir("meta", name)
            .map(|dir| dir.join("meta.json"))
            .ok_or_else(|| {
                unusable(
                    setting,
                    "there is no home directory to find it in".into(),
                    hint,
                )
            })?;
        let text = std::fs::read(&path)
            .map_err(|error| unusable(setting, format!("{}: {error}", path.display()), hint))?;
        let context: ContextMeta = serde_json::from_slice(&text)
            .map_err(|error| unusable(setting, format!("{}: {error}", path.display()), hint))?;
        context
            .endpoints
            .get("docker")
            .and_then(|endpoint| endpoint.host.clone())
            .filter(|host| !host.is_empty())
            .ok_or_else(|| unusable(setting, "that context has no docker endpoint".into(), hint))
    }

    /// The address in a setting.
    fn named(&self, setting: &str, text: &str, tls: bool) -> Result<Address> {
        let address: Address = text
            .parse()
            .map_err(|error: AddressError| unusable(setting, error.to_string(), OTHER_WAYS))?;
        if tls && matches!(address, Address::Tcp(_)) {
            return Err(unusable(
                setting,
                format!("{address} requires TLS, which Landfall does not support for engines"),
                "use a Unix socket, or forward it with ssh",
            ));
        }
        Ok(address)
    }

    /// The default addresses: Docker first, with its rootless and desktop sockets, then Podman's,
    /// rootless before the system's.
    fn usual(&self) -> Vec<Address> {
        if cfg!(windows) {
            return vec![
                Address::Pipe("//./pipe/docker_engine".into()),
                Address::Pipe("//./pipe/podman-machine-default".into()),
            ];
        }
        let runtime = |path: &str| self.runtime_dir.as_ref().map(|dir| dir.join(path));
        let home = |path: &str| self.home.as_ref().map(|dir| dir.join(path));
        [
            Some(PathBuf::from("/var/run/docker.sock")),
            runtime("docker.sock"),
            home(".docker/run/docker.sock"),
            home(".docker/desktop/docker.sock"),
            runtime("podman/podman.sock"),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ]
        .into_iter()
        .flatten()
        .map(Address::Unix)
        .collect()
    }
}

/// The hint for an unusable address.
pub(super) const OTHER_WAYS: &str =
    "start Docker or Podman, or use the daemonless builder if the Dockerfile has no RUN";

fn unusable(setting: &str, problem: String, hint: &str) -> Error {
    Error::EngineUnavailable {
        tried: vec![EngineAttempt {
            address: setting.to_owned(),
            problem,
        }],
        hint: hint.to_owned(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    current_context: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextMeta {
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: Option<String>,
}

/// The reason why no engine answers at a Unix socket's path, with a hint.
pub(super) fn socket_problem(path: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such socket".to_owned(),
        ErrorKind::PermissionDenied => {
            let owner = if path.to_string_lossy().contains("podman") {
                "start your own with `systemctl --user start podman.socket`"
            } else {
                "add yourself to the docker group (`sudo usermod -aG docker \"$USER\"`) and log in again"
            };
            format!("this user may not use it; {owner}")
        }
        ErrorKind::ConnectionRefused => {
            "the socket is there, but no engine is running behind it".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
