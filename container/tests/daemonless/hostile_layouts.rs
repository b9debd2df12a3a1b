//! Hostile layouts and stores: contents that do not match the digest, links, FIFOs, endless files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall_container::{Entry, Store};

use crate::layout::{Layout, config_of, layer};
use crate::support::Lab;

/// A lab whose base image is the layout in `lab/layout`.
fn lab() -> (Lab, PathBuf, Layout) {
    let layout = Layout {
        layer: layer(),
        config: None,
        manifest: None,
        index: None,
    };
    let lab = Lab::with("FROM oci-layout://../layout\n");
    let root = lab.dir().join("layout");
    for (name, bytes) in layout.files() {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (lab, root, layout)
}

/// The files of the layout: its index, and its blobs by the order manifest, configuration, layer.
fn path(root: &Path, layout: &Layout, number: usize) -> PathBuf {
    root.join(&layout.files()[number].0)
}

const INDEX: usize = 1;
const MANIFEST: usize = 2;
const CONFIG: usize = 3;
const LAYER: usize = 4;

fn fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn link(path: &Path, target: &str) {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

/// A sparse file of this size.
fn sparse(path: &Path, size: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(size)
        .unwrap();
}

/// Checks that the build fails with this text in the error, and leaves nothing in the store.
async fn refused(lab: &Lab, text: &str) {
    let error = lab.try_build().await.unwrap_err();
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    });
    let all = chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    assert!(all.contains(text), "`{text}` is missing in: {all}");
    assert_eq!(lab.store.list().unwrap(), []);
    assert_eq!(
        fs::read_dir(lab.store.root().join("incoming"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs::read_dir(lab.store.root().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn good_layout_builds() {
    let (lab, ..) = lab();
    let built = lab.try_build().await.unwrap();
    assert_eq!(
        lab.store
            .find_digest(&built.manifest_digest)
            .unwrap()
            .unwrap()
            .layers
            .len(),
        1
    );
}

#[tokio::test]
async fn changed_manifest_and_config_are_refused() {
    // One additional white space does not change the meaning of the JSON.
    for number in [MANIFEST, CONFIG] {
        let (lab, root, layout) = lab();
        let path = path(&root, &layout, number);
        let mut bytes = fs::read(&path).unwrap();
        bytes.push(b'\n');
        fs::write(&path, bytes).unwrap();
        refused(&lab, "its contents have another digest").await;
    }
}

#[tokio::test]
async fn config_of_another_size_is_refused() {
    let (lab, root, mut layout) = lab();
    let config = config_of(&layout.layer);
    let manifest = String::from_utf8(layout.files()[MANIFEST].1.clone()).unwrap();
    let size = format!("\"size\":{}}}", config.len());
    layout.manifest = Some(manifest.replacen(&size, "\"size\":7}", 1).into_bytes());
    for number in [INDEX, MANIFEST] {
        let (name, bytes) = &layout.files()[number];
        fs::write(root.join(name), bytes).unwrap();
    }
    refused(&lab, "its descriptor announces 7 bytes").await;
}

#[tokio::test]
async fn links_are_refused() {
    for number in [0, INDEX, MANIFEST, CONFIG, LAYER] {
        let (lab, root, layout) = lab();
        link(&path(&root, &layout, number), "/dev/zero");
        refused(&lab, "it is a symbolic link").await;
    }
}

#[tokio::test]
async fn fifos_are_refused() {
    for number in [0, INDEX, MANIFEST, CONFIG, LAYER] {
        let (lab, root, layout) = lab();
        fifo(&path(&root, &layout, number));
        refused(&lab, "it is a device, a FIFO or a socket").await;
    }
}

#[tokio::test]
async fn layer_beyond_its_size_is_refused() {
    let (lab, root, layout) = lab();
    // Copying this completely would take minutes.
    sparse(&path(&root, &layout, LAYER), 1 << 40);
    refused(
        &lab,
        "it is larger than the 2048 bytes that its descriptor announces",
    )
    .await;
}

#[tokio::test]
async fn json_without_an_end_is_refused() {
    for number in [0, INDEX, MANIFEST, CONFIG] {
        let (lab, root, layout) = lab();
        sparse(&path(&root, &layout, number), 1 << 40);
        refused(&lab, "it has more than 4 MiB").await;
    }
}

#[test]
fn archive_members_are_verified() {
    let (lab, _, layout) = lab();
    let platform = landfall_container::Platform::host();
    let import = |files: Vec<(String, Vec<u8>)>| {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive
                .append_data(&mut header, name, bytes.as_slice())
                .unwrap();
        }
        let archive = archive.into_inner().unwrap();
        lab.store
            .import(archive.as_slice(), &platform, Entry::default())
    };
    for number in [MANIFEST, CONFIG, LAYER] {
        let mut files = layout.files();
        files[number].1.push(b'\n');
        let error = import(files).unwrap_err().to_string();
        assert!(
            error.contains("another digest") || error.contains("larger than the"),
            "{number}: {error}"
        );
    }
    import(layout.files()).unwrap();
}

#[test]
fn damaged_index_says_what_to_do() {
    let (lab, ..) = lab();
    let index = lab.store.root().join("index.json");
    for bytes in [&b"{\"schemaVersion\":2,\"manif"[..], b"", b"\xff\xfe"] {
        fs::write(&index, bytes).unwrap();
        let error = lab.store.list().unwrap_err().to_string();
        let start = format!(
            "the image store {} is damaged: its index.json cannot be read",
            lab.store.root().display()
        );
        assert!(error.starts_with(&start), "{error}");
        assert!(
            error.ends_with(
                "remove this directory: images are built or pulled again when they are needed"
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn changed_config_in_the_store_is_passed_over() {
    let (lab, ..) = lab();
    let built = lab.try_build().await.unwrap();
    let image = lab
        .store
        .find_digest(&built.manifest_digest)
        .unwrap()
        .unwrap();
    let path = lab.store.blob_path(&image.config_digest);
    let changed = fs::read_to_string(&path).unwrap().replace("A=b", "A=c");
    fs::write(&path, changed).unwrap();
    assert_eq!(lab.store.list().unwrap(), []);
    // A new build repairs it.
    lab.try_build().await.unwrap();
    assert_eq!(lab.store.list().unwrap().len(), 1);
}

#[test]
fn leftovers_are_swept() {
    let (lab, ..) = lab();
    let left = lab.store.root().join("incoming/.tmpleft");
    fs::write(&left, "half a blob").unwrap();
    let folder = lab.store.root().join("incoming/folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "").unwrap();
    {
        // As long as an image is being added, its files stay.
        let _ingest = lab.store.ingest().unwrap();
        Store::open(lab.store.root()).unwrap();
        assert!(left.exists());
    }
    Store::open(lab.store.root()).unwrap();
    assert!(!left.exists());
    assert!(!folder.exists());
}

#[test]
fn directories_do_not_stop_a_collection() {
    let (lab, ..) = lab();
    for parent in ["incoming", "blobs/sha256"] {
        let folder = lab.store.root().join(parent).join("folder/inner");
        fs::create_dir_all(&folder).unwrap();
    }
    assert_eq!(lab.store.collect().unwrap().blobs, 2);
    for parent in ["incoming", "blobs/sha256"] {
        assert!(!lab.store.root().join(parent).join("folder").exists());
    }
}

#[tokio::test]
async fn damaged_blob_is_discarded_and_built_again() {
    let (lab, ..) = lab();
    let built = lab.try_build().await.unwrap();
    let find = || lab.store.find_digest(&built.manifest_digest).unwrap();
    let digest = find().unwrap().layers[0].digest.clone();
    assert!(!lab.store.discard_damaged(&digest).unwrap());
    let blob = lab.store.blob_path(&digest);
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    // Its size is right, so the store treats it as complete.
    assert!(find().is_some());
    {
        let _ingest = lab.store.ingest().unwrap();
        assert!(!lab.store.discard_damaged(&digest).unwrap());
    }
    assert!(lab.store.discard_damaged(&digest).unwrap());
    assert!(find().is_none());
    lab.try_build().await.unwrap();
    assert!(find().is_some());
    assert!(!lab.store.discard_damaged(&digest).unwrap());
}
