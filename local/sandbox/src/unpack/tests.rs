use std::io::Write;

use tempfile::TempDir;

use super::*;

/// A layout with one image of one layer, which holds `/file`.
struct Layout {
    base: TempDir,
    manifest: String,
    layer: String,
}

impl Layout {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("layout/blobs/sha256")).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, "file", b"text".as_slice())
            .unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        let mut it = Self {
            base,
            manifest: String::new(),
            layer: String::new(),
        };
        it.layer = it.put(&gzip.finish().unwrap());
        let config = it.put(
            br#"{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/file"]},
                 "rootfs": {"type": "layers", "diff_ids": []}}"#,
        );
        let kind = "application/vnd.oci.image";
        it.manifest = it.put(
            format!(
                r#"{{"schemaVersion": 2,
                    "config": {{"mediaType": "{kind}.config.v1+json", "digest": "{config}", "size": {}}},
                    "layers": [{{"mediaType": "{kind}.layer.v1.tar+gzip", "digest": "{}", "size": {}}}]}}"#,
                fs::metadata(it.blob(&config)).unwrap().len(),
                it.layer,
                fs::metadata(it.blob(&it.layer)).unwrap().len(),
            )
            .as_bytes(),
        );
        it
    }

    fn put(&self, bytes: &[u8]) -> String {
        let hex: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::write(self.blob(&hex), bytes).unwrap();
        format!("sha256:{hex}")
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.base
            .path()
            .join("layout/blobs/sha256")
            .join(hex.trim_start_matches("sha256:"))
    }

    fn unpack(&self) -> Result<Image, Error> {
        unpack(
            &self.base.path().join("layout"),
            &self.manifest,
            &self.base.path().join("images"),
        )
    }

    fn images(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.base.path().join("images"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn an_image_is_unpacked_once() {
    let layout = Layout::new();
    let image = layout.unpack().unwrap();
    assert_eq!(
        fs::read_to_string(image.rootfs.join("file")).unwrap(),
        "text"
    );
    assert_eq!(image.config.argv, ["/file"]);
    // From now on the layout is not needed.
    fs::remove_dir_all(layout.base.path().join("layout")).unwrap();
    assert_eq!(layout.unpack().unwrap(), image);
}

#[test]
fn many_may_unpack_at_once() {
    let layout = Layout::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| layout.unpack().unwrap());
        }
    });
    let hex = layout.manifest.trim_start_matches("sha256:").to_owned();
    assert_eq!(layout.images(), [hex.clone(), hex + ".lock"]);
}

#[test]
fn what_a_killed_one_left_is_replaced() {
    let layout = Layout::new();
    let hex = layout.manifest.trim_start_matches("sha256:");
    let left = layout.base.path().join(format!("images/{hex}.new/rootfs"));
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("partial"), "").unwrap();
    // Others were at work on other images: one was killed, one goes on.
    let images = layout.base.path().join("images");
    fs::create_dir_all(images.join("killed.new/rootfs")).unwrap();
    fs::create_dir_all(images.join("busy.new/rootfs")).unwrap();
    let busy = open_lock(&images, "busy").unwrap();
    busy.lock().unwrap();
    let image = layout.unpack().unwrap();
    assert!(!image.rootfs.join("partial").exists());
    assert!(!images.join("killed.new").exists());
    assert!(images.join("busy.new/rootfs").exists());
}

#[test]
fn a_damaged_blob_is_refused_and_leaves_nothing() {
    let layout = Layout::new();
    let blob = layout.blob(&layout.layer);
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    // The checksum of gzip, behind the archive.
    bytes[last] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let text = layout.unpack().unwrap_err().to_string();
    assert!(text.contains(&layout.layer), "{text}");
    assert!(text.contains("deploy again"), "{text}");
    let hex = layout.manifest.trim_start_matches("sha256:");
    assert_eq!(layout.images(), [format!("{hex}.lock")]);
    // Now the store builds it again.
    assert!(!blob.exists());
    // A whole blob stays, whatever else is wrong.
    assert!(layout.blob(&layout.manifest).exists());
}

#[test]
fn blob_of_another_size_is_refused() {
    let layout = Layout::new();
    let blob = layout.blob(&layout.layer);
    let mut bytes = fs::read(&blob).unwrap();
    bytes.push(0);
    fs::write(&blob, bytes).unwrap();
    let text = layout.unpack().unwrap_err().to_string();
    assert!(text.contains(&layout.layer), "{text}");
    assert!(!blob.exists());
}

#[test]
fn blobs_are_regular_files() {
    for which in ["layer", "manifest"] {
        for what in ["fifo", "link", "folder"] {
            let layout = Layout::new();
            let blob = layout.blob(if which == "layer" {
                &layout.layer
            } else {
                &layout.manifest
            });
            fs::remove_file(&blob).unwrap();
            match what {
                "fifo" => nix::unistd::mkfifo(&blob, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                "link" => std::os::unix::fs::symlink("/dev/zero", &blob).unwrap(),
                _ => fs::create_dir(&blob).unwrap(),
            }
            let text = layout.unpack().unwrap_err().to_string();
            let name = blob.file_name().unwrap().to_str().unwrap();
            assert!(text.contains(name), "{which} {what}: {text}");
        }
    }
}

#[test]
fn a_digest_is_no_path() {
    let layout = Layout {
        manifest: "sha256:../../etc/passwd".to_owned(),
        ..Layout::new()
    };
    assert!(
        layout
            .unpack()
            .unwrap_err()
            .to_string()
            .contains("is not a sha256 digest")
    );
}
