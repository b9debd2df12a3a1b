//! Common parts of the engine builder's tests: a private engine, a context, and a view of the
//! result.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder};
use landfall_container::engine::{Engine, Environment};
use landfall_container::{BuildRequest, Builder as _, Built, Error, Store};
use landfall_testkit::engines::{PrivateEngine, Program};
use tempfile::TempDir;

/// An engine, a context with busybox in it, and an empty store.
pub(crate) struct Scene {
    pub(crate) private: PrivateEngine,
    pub(crate) engine: Engine,
    pub(crate) context: TempDir,
    pub(crate) store: Store,
    pub(crate) lines: Mutex<Vec<(Instant, String)>>,
    _store: TempDir,
}

impl Scene {
    pub(crate) async fn new(program: Program) -> Self {
        Self::with(
            program.start().unwrap_or_else(|reason| panic!("{reason}")),
            None,
        )
        .await
    }

    /// Docker without BuildKit.
    pub(crate) async fn classic() -> Self {
        let private = Program::Docker
            .start()
            .unwrap_or_else(|reason| panic!("{reason}"));
        Self::with(private, Some(false)).await
    }

    pub(crate) async fn with(private: PrivateEngine, buildkit: Option<bool>) -> Self {
        let environment = Environment {
            docker_host: Some(private.docker_host()),
            docker_buildkit: buildkit,
            ..Environment::default()
        };
        let engine = Engine::connect(&environment).await.unwrap();
        let context = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/busybox", context.path().join("busybox"))
            .expect("/bin/busybox is there (Debian: apt-get install busybox-static)");
        let dir = tempfile::tempdir().unwrap();
        Self {
            private,
            engine,
            context,
            store: Store::open(dir.path()).unwrap(),
            lines: Mutex::default(),
            _store: dir,
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.context.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn request(&self, dockerfile: &str) -> BuildRequest {
        self.write("Dockerfile", dockerfile);
        BuildRequest::new(self.context.path())
    }

    pub(crate) async fn build(&self, request: &BuildRequest) -> Result<Built, Error> {
        self.lines.lock().unwrap().clear();
        let output = |line: &str| {
            self.lines
                .lock()
                .unwrap()
                .push((Instant::now(), line.to_owned()));
        };
        self.engine.build(request, &self.store, &output).await
    }

    pub(crate) fn shown(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// The files of a built image, and their contents.
    pub(crate) fn files(&self, built: &Built) -> BTreeMap<String, String> {
        let image = self
            .store
            .find_digest(&built.manifest_digest)
            .unwrap()
            .unwrap();
        let mut files = BTreeMap::new();
        for layer in &image.layers {
            let mut bytes = std::fs::read(self.store.blob_path(&layer.digest)).unwrap();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(bytes.as_slice())
                    .read_to_end(&mut plain)
                    .unwrap();
                bytes = plain;
            }
            for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                if entry.header().entry_type().is_file() {
                    let path = entry.path().unwrap().display().to_string();
                    let mut text = Vec::new();
                    entry.read_to_end(&mut text).unwrap();
                    files.insert(path, String::from_utf8_lossy(&text).into_owned());
                }
            }
        }
        files
    }

    pub(crate) fn docker(&self) -> Docker {
        docker(&self.private.socket())
    }

    /// The tags of the images on the engine, `<none>` for untagged ones.
    pub(crate) async fn images(&self) -> Vec<String> {
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let images = self.docker().list_images(Some(options)).await.unwrap();
        images
            .into_iter()
            .flat_map(|image| match image.repo_tags.is_empty() {
                true => vec!["<none>".to_owned()],
                false => image.repo_tags,
            })
            .collect()
    }

    pub(crate) async fn containers(&self) -> usize {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = self.docker().list_containers(Some(options)).await.unwrap();
        containers.len()
    }
}

pub(crate) fn docker(socket: &Path) -> Docker {
    Docker::connect_with_unix(socket.to_str().unwrap(), 60, bollard::API_DEFAULT_VERSION).unwrap()
}
