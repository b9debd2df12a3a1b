//! The build request: the common input of both builders.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use landfall_provider::read_text;
use serde::{Deserialize, Serialize};

use crate::context::{Context, ContextHash, Hasher};
use crate::{Error, Result};

/// Every input of a build, and the credentials for its base images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// The build context's directory.
    pub context: PathBuf,
    /// The Dockerfile, relative to `context` (an absolute path is taken as it is).
    pub dockerfile: PathBuf,
    /// Build arguments: values for the Dockerfile's `ARG`s.
    pub args: BTreeMap<String, String>,
    /// The target stage; the last one if not given.
    pub target: Option<String>,
    /// The platform of the image.
    pub platform: Platform,
    /// The deployment's configuration file (`landfall.toml`), at any path: excluded from the
    /// context, unless the ignore file includes it again.
    pub config_file: Option<PathBuf>,
    /// Credentials by registry host (`registry.example.com:5000`). They do not affect the result,
    /// so they are not part of [`BuildRequest::identity`].
    pub credentials: BTreeMap<String, RegistryCredentials>,
}

impl BuildRequest {
    /// A request for `context` with its `Dockerfile`, for this machine's platform.
    #[must_use]
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self {
            context: context.into(),
            dockerfile: PathBuf::from("Dockerfile"),
            args: BTreeMap::new(),
            target: None,
            platform: Platform::host(),
            config_file: None,
            credentials: BTreeMap::new(),
        }
    }

    /// The path of the Dockerfile.
    #[must_use]
    pub fn dockerfile_path(&self) -> PathBuf {
        self.context.join(&self.dockerfile)
    }

    /// The text of the Dockerfile.
    ///
    /// # Errors
    ///
    /// [`Error::DockerfileMissing`] with the path, or [`Error::Io`] if it cannot be read as UTF-8
    /// text.
    pub fn read_dockerfile(&self) -> Result<String> {
        read_dockerfile(&self.dockerfile_path())
    }

    /// The hash that decides whether an image must be rebuilt: over the context (without the
    /// exclusions of `.dockerignore` and [`crate::left_out`]), the Dockerfile (always), build
    /// arguments, target and platform.
    ///
    /// Modification times, owners, the mode bits that depend on a umask, and the order of the
    /// directory traversal do not affect it.
    ///
    /// # Errors
    ///
    /// The context or the Dockerfile cannot be read, or the ignore file has a malformed line.
    pub fn identity(&self) -> Result<ContextHash> {
        self.identity_of(&Context::open(self)?)
    }

    /// [`BuildRequest::identity`] for an opened context.
    ///
    /// # Errors
    ///
    /// As [`BuildRequest::identity`].
    pub fn identity_of(&self, context: &Context) -> Result<ContextHash> {
        let mut hasher = Hasher::new("landfall image 1");
        hasher.field("dockerfile", self.read_dockerfile()?.as_bytes());
        for (name, value) in &self.args {
            hasher.field("arg", name.as_bytes());
            hasher.field("value", value.as_bytes());
        }
        if let Some(target) = &self.target {
            hasher.field("target", target.as_bytes());
        }
        hasher.field("platform", self.platform.to_string().as_bytes());
        hasher.field("context", context.hash()?.as_str().as_bytes());
        Ok(hasher.finish())
    }
}

/// The maximum size of a Dockerfile, in bytes.
const MOST_BYTES: u64 = 4 << 20;

fn read_dockerfile(path: &Path) -> Result<String> {
    read_text(path, MOST_BYTES).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Error::DockerfileMissing {
                path: path.to_owned(),
            }
        }
        _ => Error::Io {
            doing: "read the Dockerfile",
            path: path.to_owned(),
            source,
        },
    })
}

/// An operating system and architecture, in the Go toolchain's terms like in OCI: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub arch: String,
    /// `v7` of `arm/v7`; `None` if the architecture is enough.
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of an image for this machine. Images run on Linux, so the operating system is
    /// `linux` even if the client's is not.
    #[must_use]
    pub fn host() -> Self {
        let (arch, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: "linux".into(),
            arch: arch.into(),
            variant: variant.map(Into::into),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.to_owned());
        let word = |part: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if part.is_empty() || !part.chars().all(good) {
                Err(error())
            } else {
                Ok(part.to_ascii_lowercase())
            }
        };
        let mut parts = text.split('/');
        let os = word(parts.next().unwrap_or_default())?;
        // The names of the two most common architectures in `uname -m` and Rust are accepted too,
        // as in Docker.
        let arch = match word(parts.next().unwrap_or_default())?.as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        let variant = parts.next().map(word).transpose()?;
        // `arm64/v8` and `arm64` are the same platform; one spelling gives one hash.
        let variant = variant.filter(|variant| !(arch == "arm64" && variant == "v8"));
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self { os, arch, variant })
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

/// The error for a text that is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a platform; write os/architecture, such as linux/amd64 or linux/arm64")]
pub struct PlatformError(String);

/// A user name and password, or token, for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryCredentials {
    /// The user name; registries with tokens define a fixed one (`AWS`, `oauth2accesstoken`).
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

/// A text that must not be displayed: `Debug` masks it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one call that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_read_and_written_the_same() {
        for text in ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for (other, name) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
        ] {
            assert_eq!(other.parse::<Platform>().unwrap().to_string(), name);
        }
        for bad in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/v2/x",
            "linux/a b",
        ] {
            let error = bad.parse::<Platform>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("\"{bad}\" is not a platform")),
                "{error}"
            );
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = RegistryCredentials {
            username: "digi".into(),
            password: Secret::new("hunter2"),
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("digi") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
