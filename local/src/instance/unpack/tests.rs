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
                    "config": {{"mediaType": "{kind}.config.v1+json", "digest": "{config}", "size": 1}},
                    "layers": [{{"mediaType": "{kind}.layer.v1.tar+gzip", "digest": "{}", "size": 1}}]}}"#,
                it.layer
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
    let image = layout.unpack().unwrap();
    assert!(!image.rootfs.join("partial").exists());
}

#[test]
fn a_damaged_blob_is_refused_and_leaves_nothing() {
    let layout = Layout::new();
    let blob = layout.blob(&layout.layer);
    let mut bytes = fs::read(&blob).unwrap();
    // After the end of the archive, where only the hash can tell.
    bytes.push(0);
    fs::write(&blob, bytes).unwrap();
    let error = layout.unpack().unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&layout.layer), "{text}");
    let hex = layout.manifest.trim_start_matches("sha256:");
    assert_eq!(layout.images(), [format!("{hex}.lock")]);
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
