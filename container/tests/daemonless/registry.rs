//! Base images from a registry. Tests with the prefix `needs_registry_` use Debian's
//! `docker-registry`, an independent implementation of the protocol.

use std::fs;

use landfall_container::{Error, Platform, RegistryCredentials, Secret, Store};
use landfall_testkit::registry::{OnLoopback, USER};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use crate::support::{Lab, Picture};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry on its own port, with its own storage.
struct Registry {
    registry: OnLoopback,
    auth: RegistryAuth,
}

impl Registry {
    fn start(password: bool) -> Self {
        let auth = if password {
            RegistryAuth::Basic(USER.0.to_owned(), USER.1.to_owned())
        } else {
            RegistryAuth::Anonymous
        };
        Self {
            registry: OnLoopback::start(password).expect("docker-registry starts"),
            auth,
        }
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.address())
    }

    fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        })
    }

    async fn push(&self, name: &str, body: Vec<u8>, media_type: &str) {
        let client = self.client();
        let reference: Reference = self.name(name).parse().unwrap();
        client
            .auth(&reference, &self.auth, oci_client::RegistryOperation::Push)
            .await
            .unwrap();
        client
            .push_manifest_raw(&reference, body, media_type.parse().unwrap())
            .await
            .unwrap();
    }

    async fn push_blob(&self, name: &str, body: Vec<u8>, digest: &str) {
        let client = self.client();
        let reference: Reference = self.name(name).parse().unwrap();
        client
            .auth(&reference, &self.auth, oci_client::RegistryOperation::Push)
            .await
            .unwrap();
        client.push_blob(&reference, body, digest).await.unwrap();
    }

    /// Pushes an image of a store; returns the manifest's bytes.
    async fn push_image(&self, name: &str, store: &Store, image: &Picture) -> Vec<u8> {
        let manifest = store.manifest(&image.built.manifest_digest).unwrap();
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            let bytes = fs::read(store.blob_path(blob.digest())).unwrap();
            self.push_blob(name, bytes, blob.digest().as_ref()).await;
        }
        let bytes = fs::read(store.blob_path(&image.built.manifest_digest)).unwrap();
        self.push(name, bytes.clone(), MANIFEST).await;
        bytes
    }
}

/// A base image for `platform`.
async fn base(platform: &str) -> (Lab, Picture) {
    let mut lab = Lab::with("FROM scratch\nCOPY root /\nCOPY late /usr/late\nENV PATH=/usr/bin\n")
        .file("root/usr/bin/tool", platform)
        .link("root/bin", "usr/bin")
        .file("late", "late");
    lab.request.platform = platform.parse().unwrap();
    let image = lab.build().await;
    (lab, image)
}

fn upon(name: &str) -> Lab {
    let mut lab =
        Lab::with(&format!("FROM {name}\nCOPY app /bin/\nCMD [\"app\"]\n")).file("app", "app");
    lab.request.platform = "linux/amd64".parse().unwrap();
    lab
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[tokio::test]
async fn needs_registry_an_image_is_built_upon() {
    let registry = Registry::start(false);
    let (lab, image) = base("linux/amd64").await;
    registry.push_image("digi/base:1", &lab.store, &image).await;
    let names = [
        registry.name("digi/base:1"),
        registry.name(&format!("digi/base@{}", image.built.manifest_digest)),
        registry
            .name("digi/base:1")
            .replace("127.0.0.1", "localhost"),
    ];
    let mut digests = Vec::new();
    for name in &names {
        let upon = upon(name);
        let built = upon.build().await;
        assert_eq!(
            built.what("usr/bin/app"),
            "644 0:0 app",
            "the link /bin of the base was followed"
        );
        assert_eq!(built.what("usr/bin/tool"), "644 0:0 linux/amd64");
        assert_eq!(built.config.config.env, ["PATH=/usr/bin"]);
        assert_eq!(upon.lines.lock().unwrap()[0], format!("pulling {name}"));
        digests.push(built.built.config_digest);
    }
    digests.dedup();
    assert_eq!(
        digests.len(),
        1,
        "three names of one image, and history tells only what was done upon it"
    );
}

#[tokio::test]
async fn needs_registry_files_are_copied_from_an_image() {
    let registry = Registry::start(false);
    let (lab, image) = base("linux/amd64").await;
    registry.push_image("digi/base:1", &lab.store, &image).await;
    let mut lab = Lab::with(&format!(
        "FROM scratch\nCOPY --from={} /bin/t* /usr/late /x/\n",
        registry.name("digi/base:1")
    ));
    lab.request.platform = "linux/amd64".parse().unwrap();
    assert_eq!(lab.build().await.paths(), ["x/", "x/late", "x/tool"]);
}

#[tokio::test]
async fn needs_registry_an_index_gives_the_platforms_image() {
    let registry = Registry::start(false);
    let mut manifests = Vec::new();
    for platform in ["linux/arm64", "linux/amd64"] {
        let (lab, image) = base(platform).await;
        let bytes = registry
            .push_image("digi/base:part", &lab.store, &image)
            .await;
        let platform: Platform = platform.parse().unwrap();
        manifests.push(serde_json::json!({
            "mediaType": MANIFEST,
            "digest": image.built.manifest_digest.to_string(),
            "size": bytes.len(),
            "platform": { "os": platform.os, "architecture": platform.arch },
        }));
    }
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    registry
        .push("digi/base:multi", index.to_string().into_bytes(), INDEX)
        .await;

    for platform in ["linux/amd64", "linux/arm64"] {
        let mut lab = upon(&registry.name("digi/base:multi"));
        lab.request.platform = platform.parse().unwrap();
        let image = lab.build().await;
        assert_eq!(image.what("usr/bin/tool"), format!("644 0:0 {platform}"));
        assert_eq!(image.config.platform().to_string(), platform);
    }
    let mut lab = upon(&registry.name("digi/base:multi"));
    lab.request.platform = "linux/s390x".parse().unwrap();
    assert_eq!(
        lab.fail().await,
        format!(
            "{} is not a usable image: it has no image for linux/s390x; it has linux/arm64, linux/amd64",
            registry.name("digi/base:multi")
        )
    );
    let mut lab = upon(&registry.name("digi/base:part"));
    lab.request.platform = "linux/arm64".parse().unwrap();
    assert_eq!(
        lab.fail().await,
        format!(
            "{} is not a usable image: it is for linux/amd64, but the build needs linux/arm64",
            registry.name("digi/base:part")
        )
    );
}

#[tokio::test]
async fn needs_registry_docker_s_media_types_are_the_same_formats() {
    let registry = Registry::start(false);
    let (lab, image) = base("linux/amd64").await;
    let bytes = registry
        .push_image("digi/base:oci", &lab.store, &image)
        .await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let text = String::from_utf8(bytes)
        .unwrap()
        .replace(MANIFEST, docker)
        .replace(
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        )
        .replace(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        );
    registry
        .push("digi/base:docker", text.into_bytes(), docker)
        .await;
    let (oci, docker) = (
        upon(&registry.name("digi/base:oci")).build().await,
        upon(&registry.name("digi/base:docker")).build().await,
    );
    assert_eq!(oci.built.manifest_digest, docker.built.manifest_digest);
}

#[tokio::test]
async fn needs_registry_credentials_open_the_door_and_are_never_shown() {
    let registry = Registry::start(true);
    let (lab, image) = base("linux/amd64").await;
    registry.push_image("digi/base:1", &lab.store, &image).await;
    let with = |password: &str| {
        let mut lab = upon(&registry.name("digi/base:1"));
        let credentials = RegistryCredentials {
            username: "digi".to_owned(),
            password: Secret::new(password),
        };
        lab.request
            .credentials
            .insert(registry.registry.address().to_owned(), credentials);
        lab
    };
    assert_eq!(with("open sesame").build().await.layers.len(), 3);
    for lab in [with("open barley"), upon(&registry.name("digi/base:1"))] {
        let error = lab.try_build().await.unwrap_err();
        let text = format!("{} {error:?}", chain(&error));
        assert!(
            text.starts_with(&format!(
                "cannot read the manifest of {} from its registry: ",
                registry.name("digi/base:1")
            )),
            "{text}"
        );
        assert!(!text.contains("open barley"), "{text}");
    }
}

#[tokio::test]
async fn needs_registry_what_is_not_there_is_named() {
    let registry = Registry::start(false);
    let lab = upon(&registry.name("digi/none:1"));
    let error = lab.try_build().await.unwrap_err();
    let text = chain(&error);
    assert!(
        text.starts_with(&format!(
            "cannot read the manifest of {}",
            registry.name("digi/none:1")
        )),
        "{text}"
    );
    assert!(
        text.contains("manifest unknown") || text.contains("not known to registry"),
        "{text}"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    // A port that was free a moment ago, without a listener.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let lab = upon(&format!("127.0.0.1:{port}/digi/base:1"));
    let error = lab.try_build().await.unwrap_err();
    assert!(
        error.to_string()
            == format!(
                "cannot read the manifest of 127.0.0.1:{port}/digi/base:1 from its registry"
            ),
        "{error}"
    );
    assert!(
        chain(&error).to_lowercase().contains("connection refused"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_malformed_image_name_is_refused() {
    let lab = Lab::with("FROM digi/base@sha256:short\n");
    let error = lab.fail().await;
    assert_eq!(
        error,
        "digi/base@sha256:short is not a usable image: invalid reference format"
    );
}
