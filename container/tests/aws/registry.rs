//! The builders' images, pushed to a real registry in ECR's place: every blob arrives, under its
//! digest.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_container::aws::make_in;
use landfall_container::{BuildRequest, BuildSpec, BuilderChoice, Digest, Image, ImageBuilder};
use landfall_provider::{Events, ImageId, Input, Probe, Provider, RepositoryId, Result};
use landfall_testkit::registry::{OnLoopback, USER};
use landfall_testkit::scripted::Answer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::bed::{key, scripted, stack};

const REPOSITORY: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/digipay/web";

/// Marks a process started by [`again`].
const AGAIN: &str = "LANDFALL_TEST_AGAIN";

/// Runs a test of this file again, in a process with an engine: the builders look for one in their
/// environment, which a test cannot change for itself alone.
fn again(test: &str, docker_host: &str, buildkit: &str) {
    let home = tempfile::tempdir().unwrap();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("registry::{test}"), "--nocapture"])
        .env(AGAIN, "yes")
        .env("HOME", home.path())
        .env("DOCKER_HOST", docker_host)
        .env("DOCKER_BUILDKIT", buildkit)
        .env_remove("DOCKER_CONFIG")
        .env_remove("DOCKER_CONTEXT")
        .output()
        .unwrap();
    let reported = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(
        ran.status.success() && reported.contains("1 passed"),
        "{reported}"
    );
}

fn is_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// Queries a registry; returns the status, the type of the body, and the body.
fn ask(registry: &str, path: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(registry).unwrap();
    let login = STANDARD.encode(format!("{}:{}", USER.0, USER.1));
    write!(
        stream,
        "GET /v2/digipay/web/{path} HTTP/1.0\r\nHost: {registry}\r\nAuthorization: Basic {login}\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json\r\n\
         Accept: application/vnd.docker.distribution.manifest.v2+json\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let body = answer.split_off(end.unwrap() + 4);
    let head = String::from_utf8(answer).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let media_type = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type")
            .then(|| value.to_owned())
    });
    (status, media_type.unwrap_or_default(), body)
}

/// A registry, and a scripted ECR in front of it: it returns the password, and finds images there.
struct Scene {
    registry: OnLoopback,
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            registry: OnLoopback::start(true).expect("docker-registry starts"),
            dir: tempfile::tempdir().unwrap(),
        };
        let context = scene.dir.path().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("service"), "echo made").unwrap();
        scene
    }

    fn image(&self, dockerfile: &str, builder: BuilderChoice) -> Image {
        let context = self.dir.path().join("context");
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let request = BuildRequest::new(&context);
        Image {
            repository: Input::Known(RepositoryId::from(REPOSITORY)),
            source: request.identity().unwrap(),
            platform: request.platform,
            build_spec: BuildSpec {
                context,
                dockerfile: PathBuf::from("Dockerfile"),
                args: BTreeMap::new(),
                target: None,
                config_file: None,
                builder,
            },
        }
    }

    /// Creates the image with the provider, and returns its id and state.
    async fn create(&self, image: &Image) -> Result<(ImageId, Option<Digest>)> {
        let registry = self.registry.address().to_owned();
        let (aws, _endpoint) = scripted(move |call| match call.action.as_str() {
            "GetAuthorizationToken" => Some(Answer::json(&json!({ "authorizationData": [{
                "authorizationToken": STANDARD.encode(format!("{}:{}", USER.0, USER.1)),
                "proxyEndpoint": format!("http://{registry}"),
            }]}))),
            "DescribeImages" => {
                let digest = call.json()["imageIds"][0]["imageDigest"].clone();
                let path = format!("manifests/{}", digest.as_str().unwrap());
                Some(match ask(&registry, &path).0 {
                    200 => Answer::json(&json!({ "imageDetails": [{ "imageDigest": digest }] })),
                    _ => call.error(400, "ImageNotFoundException", "The image does not exist"),
                })
            }
            _ => None,
        })
        .await;
        let store = self.dir.path().join("store");
        make_in(&aws, ImageBuilder::open(Some(store), Events::nowhere())?);
        let id = aws.create(&stack(), &key::<Image>("web"), image).await?;
        let known = match Provider::<Image>::probe(&aws, &id).await? {
            Probe::Usable(output) => Some(output.digest),
            _ => None,
        };
        Ok((id, known))
    }

    /// Creates the image and queries the registry for every part of it; returns the names of its
    /// files.
    async fn arrives(&self, image: &Image) -> Vec<String> {
        let (id, known) = self.create(image).await.unwrap();
        let digest = id.as_ref().strip_prefix(REPOSITORY).unwrap();
        let digest = digest.strip_prefix('@').unwrap();
        assert_eq!(known.unwrap().to_string(), digest);

        let address = self.registry.address();
        let (status, media_type, manifest) = ask(address, &format!("manifests/{digest}"));
        assert_eq!(status, 200);
        assert_eq!(hashed(&manifest), digest);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["mediaType"], json!(media_type), "{manifest:#}");
        let blob = |described: &Value| {
            let digest = described["digest"].as_str().unwrap();
            let (status, _, bytes) = ask(address, &format!("blobs/{digest}"));
            assert_eq!(status, 200, "{digest}");
            assert_eq!(hashed(&bytes), digest);
            assert_eq!(json!(bytes.len()), described["size"]);
            bytes
        };
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(
            config["config"]["Entrypoint"],
            json!(["/bin/sh", "/service"])
        );
        let mut files = Vec::new();
        for layer in manifest["layers"].as_array().unwrap() {
            let mut bytes = blob(layer);
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(bytes.as_slice())
                    .read_to_end(&mut plain)
                    .unwrap();
                bytes = plain;
            }
            for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
                let entry = entry.unwrap();
                if entry.header().entry_type().is_file() {
                    files.push(entry.path().unwrap().display().to_string());
                }
            }
        }
        files.sort();

        // The tag refers to the same image.
        let tags: Value = serde_json::from_slice(&ask(address, "tags/list").2).unwrap();
        let tags = tags["tags"].as_array().unwrap();
        assert!(tags.iter().any(|tag| {
            let tag = tag.as_str().unwrap();
            tag.starts_with(&image.source.to_string())
                && hashed(&ask(address, &format!("manifests/{tag}")).2) == digest
        }));
        // A missing image is not found, so the query is meaningful.
        let nothing = format!("sha256:{}", "00".repeat(32));
        assert_eq!(ask(address, &format!("blobs/{nothing}")).0, 404);
        files
    }
}

fn hashed(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(feature = "engine")]
mod by_an_engine {
    use landfall_provider::Error;
    use landfall_testkit::engines::Program;

    use super::*;

    /// With a step that only an engine can run.
    const DOCKERFILE: &str = "\
FROM scratch AS build
COPY busybox /bin/sh
COPY service /service
RUN echo \"$(/bin/sh /service) by a step\" > /greeting

FROM scratch
COPY --from=build /bin/sh /bin/sh
COPY --from=build /service /greeting /
ENTRYPOINT [\"/bin/sh\", \"/service\"]
";

    async fn arrives(test: &str, buildkit: &str) {
        if !is_again() {
            let engine = Program::Docker
                .start()
                .unwrap_or_else(|reason| panic!("{reason}"));
            return again(
                &format!("by_an_engine::{test}"),
                &engine.docker_host(),
                buildkit,
            );
        }
        let scene = Scene::new();
        std::fs::copy("/bin/busybox", scene.dir.path().join("context/busybox"))
            .expect("/bin/busybox is there (Debian: apt-get install busybox-static)");
        let refused = scene.image(DOCKERFILE, BuilderChoice::Daemonless);
        let refused = reported(&scene.create(&refused).await.unwrap_err());
        assert!(refused.contains("RUN"), "{refused}");

        let image = scene.image(DOCKERFILE, BuilderChoice::Engine);
        let files = scene.arrives(&image).await;
        assert_eq!(files, ["bin/sh", "greeting", "service"]);
    }

    fn reported(error: &Error) -> String {
        let source = std::error::Error::source(error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    }

    #[tokio::test]
    async fn needs_docker_what_buildkit_made_is_in_the_registry() {
        arrives("needs_docker_what_buildkit_made_is_in_the_registry", "1").await;
    }

    #[tokio::test]
    async fn needs_docker_classic_build_is_in_the_registry() {
        arrives("needs_docker_classic_build_is_in_the_registry", "0").await;
    }
}

#[tokio::test]
async fn needs_registry_daemonless_build_is_in_the_registry() {
    if !is_again() {
        let test = "needs_registry_daemonless_build_is_in_the_registry";
        return again(test, "unix:///nowhere/docker.sock", "1");
    }
    let scene = Scene::new();
    let dockerfile =
        "FROM scratch\nCOPY service /service\nENTRYPOINT [\"/bin/sh\", \"/service\"]\n";
    let image = scene.image(dockerfile, BuilderChoice::Engine);
    assert!(scene.create(&image).await.is_err());
    for builder in [BuilderChoice::Daemonless, BuilderChoice::Auto] {
        // Each in its own store.
        let scene = Scene::new();
        let image = scene.image(dockerfile, builder);
        assert_eq!(scene.arrives(&image).await, ["service"]);
    }
}
