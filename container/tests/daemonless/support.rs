//! A context and a store in their own directory, and a view of the result.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use landfall_container::daemonless::Daemonless;
use landfall_container::{BuildRequest, Builder as _, Built, Error, ImageConfig, Store};
use tempfile::TempDir;

/// The default variable of every image.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directory of a build.
pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) request: BuildRequest,
    pub(crate) store: Store,
    pub(crate) lines: Mutex<Vec<String>>,
}

/// An image, read without the builder's own code.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) built: Built,
    pub(crate) config: ImageConfig,
    /// One map per layer: path → description.
    pub(crate) layers: Vec<BTreeMap<String, String>>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        fs::create_dir(&context).unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        Self {
            request: BuildRequest::new(context),
            store,
            lines: Mutex::default(),
            dir,
        }
    }

    /// A lab with this Dockerfile.
    pub(crate) fn with(dockerfile: &str) -> Self {
        Self::new().file("Dockerfile", dockerfile)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.request.context.join(name)
    }

    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    pub(crate) fn program(self, name: &str) -> Self {
        let lab = self.file(name, "program");
        fs::set_permissions(lab.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        lab
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        symlink(target, self.path(name)).unwrap();
        self
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.request.args.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn target(mut self, name: &str) -> Self {
        self.request.target = Some(name.to_owned());
        self
    }

    pub(crate) async fn try_build(&self) -> Result<Built, Error> {
        let output = |line: &str| self.lines.lock().unwrap().push(line.to_owned());
        Daemonless.build(&self.request, &self.store, &output).await
    }

    /// Builds, and checks that the check passes, except for a missing command.
    pub(crate) async fn build(&self) -> Picture {
        if let Err(error) = Daemonless.check(&self.request).await {
            let error = error.to_string();
            assert!(error.contains("neither ENTRYPOINT nor CMD"), "{error}");
        }
        match self.try_build().await {
            Ok(built) => Picture::of(&self.store, built),
            Err(error) => panic!("the build failed: {error}\n{error:?}"),
        }
    }

    /// The error of the check before a build, if any, without the context's own path.
    pub(crate) async fn check(&self) -> Option<String> {
        let error = Daemonless.check(&self.request).await.err()?;
        assert_eq!(self.store.list().unwrap(), []);
        Some(self.relative(&error))
    }

    fn relative(&self, error: &Error) -> String {
        error
            .to_string()
            .replace(&format!("{}/", self.request.context.display()), "")
    }

    /// The error of a build that must fail, without the context's own path.
    pub(crate) async fn fail(&self) -> String {
        let error = self.try_build().await.expect_err("the build has to fail");
        assert_eq!(
            self.store.list().unwrap(),
            [],
            "a failed build leaves no entry"
        );
        self.relative(&error)
    }
}

impl Picture {
    pub(crate) fn of(store: &Store, built: Built) -> Self {
        let config = store.config(&built.config_digest).unwrap();
        let manifest = store.manifest(&built.manifest_digest).unwrap();
        let layers = manifest
            .layers()
            .iter()
            .map(|layer| {
                let file = File::open(store.blob_path(layer.digest())).unwrap();
                assert_eq!(
                    layer.media_type().as_ref(),
                    "application/vnd.oci.image.layer.v1.tar+gzip"
                );
                look(flate2::read::MultiGzDecoder::new(file))
            })
            .collect();
        Self {
            built,
            config,
            layers,
        }
    }

    /// The merged layers.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        self.layers
            .iter()
            .flatten()
            .map(|(path, what)| (path.clone(), what.clone()))
            .collect()
    }

    /// The paths of all layers, directories with a trailing `/`.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    pub(crate) fn what(&self, path: &str) -> String {
        self.files()
            .remove(path)
            .unwrap_or_else(|| panic!("{path} is not in the image: {:#?}", self.files()))
    }
}

/// An archive as path → `mode uid:gid contents`.
pub(crate) fn look(archive: impl Read) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let header = entry.header().clone();
        let contents = match entry.link_name().unwrap() {
            Some(target) => format!("-> {}", target.display()),
            None => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                match String::from_utf8(bytes) {
                    Ok(text) if !text.contains('\0') => text,
                    Ok(text) => format!("{} bytes", text.len()),
                    Err(error) => format!("{} bytes", error.as_bytes().len()),
                }
            }
        };
        let (mode, uid, gid) = (
            header.mode().unwrap() & 0o7777,
            header.uid().unwrap(),
            header.gid().unwrap(),
        );
        let what = format!("{mode:o} {uid}:{gid} {contents}")
            .trim_end()
            .to_owned();
        assert_eq!(
            files.insert(path.clone(), what),
            None,
            "{path} is twice in one layer"
        );
    }
    files
}

/// An archive of `files`, each with its mode and owner.
pub(crate) fn archive(files: &[(&str, &str, u32, u64)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, contents, mode, owner) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_mtime(1_700_000_000);
        header.set_size(0);
        if let Some(target) = contents.strip_prefix("-> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, name, target).unwrap();
        } else if *contents == "|" {
            header.set_entry_type(tar::EntryType::Fifo);
            tar.append_data(&mut header, name, std::io::empty())
                .unwrap();
        } else if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, name, std::io::empty())
                .unwrap();
        } else {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, name, contents.as_bytes())
                .unwrap();
        }
    }
    tar.into_inner().unwrap()
}

/// `bytes` in gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast())
        .read_to_end(&mut packed)
        .unwrap();
    packed
}

/// Copies a context in reverse order, with other times and the modes of a umask of 077.
pub(crate) fn shuffled(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut items: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.file_name()));
    for item in items {
        let target = to.join(item.file_name());
        let kind = item.file_type().unwrap();
        if kind.is_dir() {
            shuffled(&item.path(), &target);
            fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(item.path()).unwrap(), &target).unwrap();
        } else {
            fs::copy(item.path(), &target).unwrap();
            let executable = item.metadata().unwrap().permissions().mode() & 0o111 != 0;
            fs::set_permissions(
                &target,
                fs::Permissions::from_mode(if executable { 0o700 } else { 0o600 }),
            )
            .unwrap();
            File::open(&target)
                .unwrap()
                .set_modified(SystemTime::now() - Duration::from_secs(86_400 * 365))
                .unwrap();
        }
    }
}

/// Gives every entry in `to` its mode in `from`.
pub(crate) fn copy_modes(from: &Path, to: &Path) {
    for item in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(item.file_name());
        let metadata = item.metadata().unwrap();
        if metadata.is_dir() {
            copy_modes(&item.path(), &target);
        }
        if !metadata.is_symlink() {
            fs::set_permissions(&target, metadata.permissions()).unwrap();
        }
    }
}
