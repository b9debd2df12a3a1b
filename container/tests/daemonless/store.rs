//! The store: imports from engines, concurrent processes, and collection.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::Command;

use landfall_container::store::Collected;
use landfall_container::{ContextHash, Digest, Entry, ImageConfig, Platform, Store, StoredImage};
use oci_spec::image::MediaType;
use sha2::{Digest as _, Sha256};

use crate::support::{Lab, archive, gzip};

fn digest(bytes: &[u8]) -> Digest {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("sha256:{hex}").parse().unwrap()
}

fn named(name: &str) -> Entry {
    Entry {
        name: Some(name.to_owned()),
        ..Entry::default()
    }
}

fn source(seed: u8) -> ContextHash {
    format!("{seed:064x}").parse().unwrap()
}

/// Adds an image with these layers, plain or in gzip, to the store.
pub(crate) fn commit_layers(store: &Store, layers: &[Vec<u8>], name: &str) -> StoredImage {
    let ingest = store.ingest().unwrap();
    let mut config = ImageConfig::scratch(&Platform::host());
    let mut descriptors = Vec::new();
    for layer in layers {
        config.rootfs.diff_ids.push(digest(layer));
        let media_type = match layer.as_slice() {
            [0x1f, 0x8b, ..] => MediaType::ImageLayerGzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => MediaType::ImageLayerZstd,
            _ => MediaType::ImageLayer,
        };
        descriptors.push(ingest.add(media_type, layer).unwrap());
    }
    ingest.commit(&config, descriptors, &named(name)).unwrap()
}

fn config_of(layers: &[&[u8]], arch: &str) -> Vec<u8> {
    let mut config = ImageConfig::scratch(&format!("linux/{arch}").parse().unwrap());
    config.config.cmd = Some(vec!["/app".to_owned()]);
    config.rootfs.diff_ids = layers.iter().map(|layer| digest(layer)).collect();
    serde_json::to_vec(&config).unwrap()
}

/// An archive of files by name; `-> x` creates a link.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        match contents.strip_prefix(b"-> ") {
            Some(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, std::str::from_utf8(target).unwrap())
                    .unwrap();
            }
            None => {
                header.set_size(contents.len() as u64);
                tar.append_data(&mut header, name, *contents).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(bytes).digest())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len() })
}

#[test]
fn docker_s_own_archive_is_read() {
    let lab = Lab::new();
    let (lower, upper) = (
        archive(&[("a", "1", 0o644, 0)]),
        archive(&[("b", "2", 0o644, 0)]),
    );
    // Older Docker writes a repeated layer as a link to the first one.
    let config = config_of(&[&lower, &upper, &lower], "amd64");
    let manifest = br#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["one/layer.tar","two/layer.tar","three/layer.tar"]}]"#;
    let tar = tar_of(&[
        ("one/layer.tar", &lower),
        ("one/VERSION", b"1.0"),
        ("two/layer.tar", &upper),
        ("three/layer.tar", b"-> ../one/layer.tar"),
        ("c.json", &config),
        ("manifest.json", manifest),
        ("repositories", b"{}"),
    ]);
    let platform: Platform = "linux/amd64".parse().unwrap();
    let entry = Entry {
        source: Some(source(1)),
        ..named("x")
    };
    let image = lab
        .store
        .import(tar.as_slice(), &platform, entry.clone())
        .unwrap();
    assert_eq!(
        image.config_digest,
        digest(&config),
        "the image keeps its id"
    );
    assert_eq!(
        image
            .layers
            .iter()
            .map(|layer| layer.digest.clone())
            .collect::<Vec<_>>(),
        [digest(&lower), digest(&upper), digest(&lower)]
    );
    assert_eq!(
        image.layers[0].media_type,
        "application/vnd.oci.image.layer.v1.tar"
    );
    assert_eq!(image.entry, entry);
    assert_eq!(lab.store.find(&source(1)).unwrap(), Some(image.clone()));
    assert_eq!(
        lab.store
            .config(&image.config_digest)
            .unwrap()
            .command("x")
            .unwrap(),
        ["/app"]
    );
    assert_eq!(
        fs::read_dir(lab.store.root().join("incoming"))
            .unwrap()
            .count(),
        0,
        "nothing is left behind"
    );
    let other = lab
        .store
        .import(tar.as_slice(), &"linux/arm64".parse().unwrap(), named("y"))
        .unwrap_err();
    assert_eq!(
        other.to_string(),
        "the archive is not a usable image: it contains no image for linux/arm64"
    );
}

#[test]
fn an_oci_archive_is_read_through_its_indexes() {
    let lab = Lab::new();
    let layer = archive(&[("a", "1", 0o644, 0)]);
    let packed = gzip(&layer);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut manifests = Vec::new();
    for arch in ["arm64", "amd64"] {
        let config = config_of(&[&layer], arch);
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
        })
        .to_string()
        .into_bytes();
        manifests.push(descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            &manifest,
        ));
        files.insert(blob(&config), config);
        files.insert(blob(&manifest), manifest);
    }
    files.insert(blob(&packed), packed.clone());
    let nested = serde_json::json!({ "schemaVersion": 2, "manifests": manifests })
        .to_string()
        .into_bytes();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [descriptor("application/vnd.oci.image.index.v1+json", &nested)],
    })
    .to_string();
    files.insert(blob(&nested), nested);
    files.insert("index.json".to_owned(), index.into_bytes());
    files.insert(
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    );
    let list: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();

    let image = lab
        .store
        .import(
            tar_of(&list).as_slice(),
            &"linux/amd64".parse().unwrap(),
            named("x"),
        )
        .unwrap();
    assert_eq!(image.platform.to_string(), "linux/amd64");
    assert_eq!(image.layers[0].digest, digest(&packed));

    // The same with one bit of the layer flipped.
    let mut broken = packed.clone();
    broken[4] ^= 1;
    let name = blob(&packed);
    let list: Vec<(&str, &[u8])> = list
        .into_iter()
        .map(|(path, bytes)| {
            (
                path,
                if path == name {
                    broken.as_slice()
                } else {
                    bytes
                },
            )
        })
        .collect();
    let error = Lab::new()
        .store
        .import(
            tar_of(&list).as_slice(),
            &"linux/amd64".parse().unwrap(),
            named("x"),
        )
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its contents have another digest"),
        "{error}"
    );
}

#[test]
fn what_is_no_archive_is_refused() {
    let platform = Platform::host();
    let refuse = |bytes: &[u8]| {
        Lab::new()
            .store
            .import(bytes, &platform, named("x"))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refuse(&tar_of(&[("readme", b"x")])),
        "the archive is not a usable image: it has neither the index.json of an OCI layout nor the manifest.json of `docker save`"
    );
    let config = config_of(&[b"layer"], "amd64");
    let manifest = br#"[{"Config":"c.json","Layers":["gone.tar"]}]"#;
    let lacking = tar_of(&[("c.json", &config), ("manifest.json", manifest)]);
    let refused = Lab::new()
        .store
        .import(
            lacking.as_slice(),
            &"linux/amd64".parse().unwrap(),
            named("x"),
        )
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the archive is not a usable image: it mentions gone.tar but lacks it"
    );
    let other = tar_of(&[
        ("c.json", &config),
        ("manifest.json", manifest),
        ("gone.tar", b"another layer"),
    ]);
    let refused = Lab::new()
        .store
        .import(
            other.as_slice(),
            &"linux/amd64".parse().unwrap(),
            named("x"),
        )
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("its contents have another digest"),
        "{refused}"
    );
}

#[test]
fn unreferenced_blobs_are_collected() {
    let lab = Lab::new();
    let shared = archive(&[("shared", "x", 0o644, 0)]);
    let one = commit_layers(
        &lab.store,
        &[shared.clone(), archive(&[("one", "x", 0o644, 0)])],
        "one",
    );
    let two = commit_layers(&lab.store, &[shared], "two");
    let stack = |name: &str| Entry {
        stack: Some(name.to_owned()),
        ..named("web")
    };
    lab.store.tag(&one.manifest_digest, &stack("a")).unwrap();
    lab.store.tag(&one.manifest_digest, &stack("b")).unwrap();
    lab.store.tag(&two.manifest_digest, &stack("b")).unwrap();
    let names = || -> Vec<String> {
        let show = |image: &StoredImage| {
            let which = if image.manifest_digest == one.manifest_digest {
                1
            } else {
                2
            };
            format!(
                "{}/{} {which}",
                image.entry.stack.clone().unwrap_or_default(),
                image.entry.name.clone().unwrap_or_default()
            )
        };
        lab.store.list().unwrap().iter().map(show).collect()
    };
    assert_eq!(
        names(),
        ["/one 1", "/two 2", "a/web 1", "b/web 2"],
        "an equal entry is replaced"
    );

    let removed = lab.store.remove(|entry| entry.stack.is_some()).unwrap();
    assert_eq!(removed.len(), 2);
    assert_eq!(names(), ["/one 1", "/two 2"]);
    lab.store.remove(|entry| *entry == named("one")).unwrap();
    assert_eq!(names(), ["/two 2"]);
    let blobs = fs::read_dir(lab.store.root().join("blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(
        blobs, 3,
        "manifest, configuration and the shared layer of the other image"
    );
    assert_eq!(lab.store.find_named("two").unwrap(), Some(two));
    assert_eq!(lab.store.find_named("one").unwrap(), None);
    let error = lab
        .store
        .tag(&one.manifest_digest, &named("again"))
        .unwrap_err();
    assert!(error.to_string().ends_with("does not hold it"), "{error}");
}

#[test]
fn nothing_is_collected_while_an_image_is_being_added() {
    let lab = Lab::new();
    let ingest = lab.store.ingest().unwrap();
    let layer = archive(&[("a", "x", 0o644, 0)]);
    let blob = ingest.add(MediaType::ImageLayer, &layer).unwrap();
    assert_eq!(
        lab.store.collect().unwrap(),
        Collected {
            busy: true,
            ..Collected::default()
        }
    );
    assert!(ingest.has(&blob));
    drop(ingest);
    let collected = lab.store.collect().unwrap();
    assert_eq!(
        (collected.blobs, collected.bytes, collected.busy),
        (1, layer.len() as u64, false)
    );
}

#[test]
fn a_half_written_blob_is_never_seen() {
    let lab = Lab::new();
    let ingest = lab.store.ingest().unwrap();
    let mut writer = ingest.blob().unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(
        fs::read_dir(lab.store.root().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
    drop(writer);
    assert_eq!(
        fs::read_dir(lab.store.root().join("incoming"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn many_writers_lose_nothing() {
    let lab = Lab::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = Store::open(lab.store.root()).unwrap();
            scope.spawn(move || {
                for number in 0..8 {
                    let name = format!("{thread}-{number}");
                    commit_layers(&store, &[archive(&[(name.as_str(), "x", 0o644, 0)])], &name);
                    // Collection runs constantly; it must never remove blobs of an image that is
                    // being added.
                    store
                        .remove(|entry| {
                            entry.name.as_deref() == Some(&format!("{thread}-{}", number - 1))
                        })
                        .unwrap();
                }
            });
        }
    });
    let names: Vec<String> = lab
        .store
        .list()
        .unwrap()
        .into_iter()
        .filter_map(|image| image.entry.name)
        .collect();
    assert_eq!(
        names,
        (0..8)
            .map(|thread| format!("{thread}-7"))
            .collect::<Vec<_>>()
    );
    lab.store.collect().unwrap();
    assert_eq!(
        fs::read_dir(lab.store.root().join("blobs/sha256"))
            .unwrap()
            .count(),
        3 * 8
    );
}

#[test]
fn a_directory_that_is_something_else_is_refused() {
    let lab = Lab::new();
    let root = lab.dir().join("other");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(
        Store::open(&root).unwrap_err().to_string(),
        format!(
            "{} is not a usable image: it is an OCI layout of version 2.0.0, and only version 1 is known",
            root.display()
        )
    );
}

#[tokio::test]
async fn needs_podman_reads_and_unpacks_what_was_built() {
    let lab =
        Lab::with("FROM scratch\nWORKDIR /srv\nCOPY --chmod=600 . .\nENTRYPOINT [\"/srv/app\"]\n")
            .program("app")
            .file(
                &format!("{}/deep", "long-name-".repeat(9)),
                "a name that does not fit into a plain header",
            )
            .link("link", "app");
    let image = lab.build().await;
    lab.store
        .tag(&image.built.manifest_digest, &named("digi:1"))
        .unwrap();
    // Podman derives the image's name from the path, and allows no capitals in it.
    let name = format!("landfall-podman-{}", std::process::id());
    let dir = tempfile::Builder::new()
        .prefix(&name)
        .rand_bytes(0)
        .tempdir()
        .unwrap();
    std::os::unix::fs::symlink(lab.store.root(), dir.path().join("store")).unwrap();
    let podman = |arguments: &[&str]| {
        let storage = |name: &str| dir.path().join(name).display().to_string();
        let output = Command::new("podman")
            .args([
                "--root",
                &storage("root"),
                "--runroot",
                &storage("run"),
                "--storage-driver",
                "vfs",
            ])
            .args(arguments)
            .output()
            .expect("podman starts (Debian: apt-get install podman)");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let id = podman(&[
        "pull",
        "--quiet",
        &format!("oci:{}/store:digi:1", dir.path().display()),
    ]);
    assert_eq!(
        format!("sha256:{}", id.trim()),
        image.built.config_digest.to_string()
    );
    let format = "{{.Digest}} {{.Config.WorkingDir}} {{.Config.Entrypoint}} {{len .RootFS.Layers}}";
    assert_eq!(
        podman(&["image", "inspect", "--format", format, id.trim()]).trim(),
        format!("{} /srv [/srv/app] 2", image.built.manifest_digest)
    );
}
