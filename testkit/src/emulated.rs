//! Emulated AWS: moto, a registry in the place of ECR's, and in front of both an endpoint that
//! counts calls, injects faults, and fills moto's gaps.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::moto::Moto;
use crate::registry::{OnLoopback, USER};
use crate::scripted::{Answer, Call, Endpoint, Faults, Upstream, gaps};

/// The emulators of one test, with the lifetime of this value.
pub struct Emulated {
    /// EC2, Elastic Load Balancing, Auto Scaling, IAM, SSM, STS, and ECR's repositories.
    pub moto: Moto,
    /// The endpoint for all clients.
    pub endpoint: Endpoint,
    registry: Arc<OnLoopback>,
}

impl Emulated {
    /// Starts all emulators.
    ///
    /// # Errors
    /// When moto or `docker-registry` does not start.
    pub async fn start(faults: Faults) -> io::Result<Self> {
        Self::with_script(faults, |_, _| None).await
    }

    /// Starts all emulators, with a script that is asked first: calls that it answers reach no
    /// emulator.
    ///
    /// # Errors
    /// When moto or `docker-registry` does not start.
    pub async fn with_script(
        faults: Faults,
        script: impl Fn(&Call, &Upstream) -> Option<Answer> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let moto = Moto::start().await?;
        let registry = Arc::new(OnLoopback::start(true)?);
        let images = Arc::clone(&registry);
        let endpoint = Endpoint::builder()
            .upstream(moto.address())
            .script(move |call, upstream| {
                script(call, upstream).or_else(|| ecr(call, upstream, &images))
            })
            .gaps(gaps::moto)
            .faults(faults)
            .start()?;
        Ok(Self {
            moto,
            endpoint,
            registry,
        })
    }

    /// The address of the registry in ECR's place: `127.0.0.1:4711`.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.registry.address()
    }

    /// The environment variables for a program that must use this endpoint and no other.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = self.moto.env();
        for (name, value) in &mut env {
            if *name == "AWS_ENDPOINT_URL" {
                *value = self.endpoint.url();
            }
        }
        env
    }
}

/// ECR's registry: moto supports its repositories, but no images.
fn ecr(call: &Call, upstream: &Upstream, registry: &OnLoopback) -> Option<Answer> {
    match (call.service.as_str(), call.action.as_str()) {
        ("ecr", "GetAuthorizationToken") => Some(gaps::unless_refused(call, upstream, || {
            Answer::json(&json!({ "authorizationData": [{
                "authorizationToken": STANDARD.encode(format!("{}:{}", USER.0, USER.1)),
                "expiresAt": 4_102_444_800_u64,
                "proxyEndpoint": format!("http://{}", registry.address()),
            }]}))
        })),
        ("ecr", "DescribeImages") => Some(described(call, upstream, registry)),
        _ => None,
    }
}

/// The images of a repository on the registry's disk, if moto has the repository.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>
fn described(call: &Call, upstream: &Upstream, registry: &OnLoopback) -> Answer {
    let asked = call.json();
    let name = asked["repositoryName"].as_str().unwrap_or_default();
    // Forwarded unchanged: moto decides whether the caller has permission, and whether the
    // repository exists.
    let found = upstream.ask(call);
    if found.status != 200 && !found.body.contains("ImageNotFoundException") {
        return found;
    }
    let wanted: Vec<&str> = asked["imageIds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id["imageDigest"].as_str().or(id["imageTag"].as_str()))
        .collect();
    let tags = std::fs::read_dir(registry.tags(name))
        .into_iter()
        .flatten()
        .flatten();
    let images: Vec<Value> = tags
        .filter_map(|tag| {
            let digest = std::fs::read_to_string(tag.path().join("current/link")).ok()?;
            let tag = tag.file_name().to_string_lossy().into_owned();
            let is_wanted = |id: &&str| *id == digest || *id == tag;
            (wanted.is_empty() || wanted.iter().any(is_wanted)).then(
                || json!({ "repositoryName": name, "imageDigest": digest, "imageTags": [tag] }),
            )
        })
        .collect();
    if images.is_empty() && !wanted.is_empty() {
        return call.error(400, "ImageNotFoundException", "there is no such image");
    }
    Answer::json(&json!({ "imageDetails": images }))
}
