//! The configuration of an image: its command, its user and its environment.
//!
//! Own types instead of oci-spec's, because these keep their maps ordered, so that equal
//! configurations have equal bytes, and because Docker's additions to the OCI format
//! (`Healthcheck`, `Shell`, `OnBuild`) must be preserved in derived images.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::request::Platform;
use crate::{Digest, Error, Result};

/// The media type of an image configuration.
pub const MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// An image configuration, `application/vnd.oci.image.config.v1+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The time of its creation, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Its maintainer.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub author: String,
    /// The architecture of its programs, in Go's terms: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// A variant of the architecture, such as `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The start parameters of its containers.
    #[serde(default, deserialize_with = "nullable")]
    pub config: ProcessConfig,
    /// Its layers.
    pub rootfs: RootFs,
    /// The steps of its creation, oldest first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub history: Vec<History>,
}

/// The start parameters of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProcessConfig {
    /// `user[:group]`, names or numbers; empty is root.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub user: String,
    /// `8000/tcp`.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "nullable"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`, in the order they were set.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// The program, before `cmd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments of `entrypoint`, or the program if there is no entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The health check of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Directories whose contents outlive the container.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "nullable"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory; empty is `/`.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub working_dir: String,
    /// Instructions for images based on this one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub on_build: Vec<String>,
    /// Labels, in any form.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "nullable"
    )]
    pub labels: BTreeMap<String, String>,
    /// The stop signal; `SIGTERM` if not given.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub stop_signal: String,
    /// The shell of shell-form instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// Docker's `HEALTHCHECK`. Durations are nanoseconds; zero is the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub test: Vec<String>,
    /// The time between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// The time limit of one check.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// The time after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// The time between two checks while starting.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// The number of failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

/// The layers of an image, uncompressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the layers' tar archives, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

/// One step in the creation of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub created_by: String,
    /// The author.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub author: String,
    /// A comment, in any form.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub comment: String,
    /// Whether the step created no layer.
    #[serde(skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

/// `{}`, the value of a set's members in Go's JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

impl ImageConfig {
    /// The configuration of an image without layers.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            created: None,
            author: String::new(),
            architecture: platform.arch.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            config: ProcessConfig::default(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            history: Vec::new(),
        }
    }

    /// The platform that it runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            arch: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }

    /// The program and its arguments: `ENTRYPOINT` followed by `CMD`. `image` is the name in the
    /// error.
    ///
    /// # Errors
    ///
    /// [`Error::NoCommand`] if the image has neither, or both are empty.
    pub fn command(&self, image: &str) -> Result<Vec<String>> {
        let parts = [&self.config.entrypoint, &self.config.cmd];
        let command: Vec<String> = parts.into_iter().flatten().flatten().cloned().collect();
        if command.iter().all(String::is_empty) {
            return Err(Error::NoCommand {
                image: image.to_owned(),
            });
        }
        Ok(command)
    }
}

/// Go writes an empty list or map as `null`; it is read as empty.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde calls"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde calls"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entrypoint: Option<&[&str]>, cmd: Option<&[&str]>) -> ImageConfig {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut config = ImageConfig::scratch(&Platform::host());
        config.config.entrypoint = entrypoint.map(list);
        config.config.cmd = cmd.map(list);
        config
    }

    #[test]
    fn the_command_is_entrypoint_then_cmd() {
        assert_eq!(
            with(Some(&["/app"]), Some(&["-v"])).command("x").unwrap(),
            ["/app", "-v"]
        );
        assert_eq!(with(Some(&["/app"]), None).command("x").unwrap(), ["/app"]);
        assert_eq!(
            with(None, Some(&["/app", "-v"])).command("x").unwrap(),
            ["/app", "-v"]
        );
    }

    #[test]
    fn an_image_with_nothing_to_start_says_so() {
        for config in [
            with(None, None),
            with(Some(&[]), Some(&[])),
            with(Some(&[""]), None),
        ] {
            assert_eq!(
                config.command("shop/web").unwrap_err().to_string(),
                "the image shop/web has neither ENTRYPOINT nor CMD, so there is nothing to start; \
                 add `ENTRYPOINT [\"/path/of/the/program\"]` to its Dockerfile"
            );
        }
    }

    #[test]
    fn an_engines_configuration_is_read_with_its_nulls_and_kept() {
        let text = r#"{
            "architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00Z", "docker_version": "20.10",
            "config": {
                "User": "", "Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": null, "Volumes": null, "Labels": null,
                "OnBuild": null, "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]}, "Shell": ["/bin/sh", "-c"]
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"]},
            "history": [{"created_by": "ADD file", "empty_layer": false}]
        }"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.command("x").unwrap(), ["sh"]);
        assert!(config.config.exposed_ports.contains_key("80/tcp"));
        let again: ImageConfig =
            serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.config.healthcheck.unwrap().test, ["NONE"]);
    }
}
