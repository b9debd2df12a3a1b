//! Images made by the tests, as OCI layouts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A layout with one image.
pub(crate) struct Layout {
    pub path: PathBuf,
    /// The digest of the image's manifest.
    pub manifest: String,
}

/// The mode of a symbolic link; the bytes are where it leads.
pub(crate) const LINK: u32 = 0o120_777;

/// A file of an image, and its mode.
pub(crate) type File<'a> = (&'a str, &'a [u8], u32);

/// An image that holds the probe and these files; its command comes from `config`.
pub(crate) fn build(base: &Path, files: &[File<'_>], config: Value) -> Layout {
    let probe = probe(base);
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes, mode) in [("probe", probe.as_slice(), 0o755)].iter().chain(files) {
        let mut header = tar::Header::new_gnu();
        if *mode == LINK {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            header.set_mtime(1_000_000_000);
            header.set_uid(0);
            header.set_gid(0);
            let target = std::str::from_utf8(bytes).unwrap();
            tar.append_link(&mut header, path, target).unwrap();
            continue;
        }
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let layer = gzip.finish().unwrap();

    let path = base.join("layout");
    let blobs = path.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        std::fs::write(blobs.join(&hex), bytes).unwrap();
        json!({"digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let typed = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        descriptor
    };
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let config = typed(put(config.to_string().as_bytes()), "config.v1+json");
    let layer = typed(put(&layer), "layer.v1.tar+gzip");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let manifest = put(manifest.to_string().as_bytes())["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    Layout { path, manifest }
}

/// The test program, linked statically.
fn probe(base: &Path) -> Vec<u8> {
    compile(&base.join("probe"), &["-static"])
}

/// Compiles the test program.
pub(crate) fn compile(target: &Path, flags: &[&str]) -> Vec<u8> {
    compile_source("probe.c", include_str!("probe.c"), target, flags)
}

/// Compiles a program out of this source.
pub(crate) fn compile_source(name: &str, text: &str, target: &Path, flags: &[&str]) -> Vec<u8> {
    let source = base_file(name, text, target);
    let output = Command::new("cc")
        .args(["-O1", "-D_GNU_SOURCE", "-w", "-o"])
        .arg(target)
        .args(flags)
        .arg(source)
        .output()
        .expect("a C compiler is there: rustc needs one too");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(target).unwrap()
}

fn base_file(name: &str, text: &str, beside: &Path) -> PathBuf {
    let path = beside.with_file_name(name);
    std::fs::write(&path, text).unwrap();
    path
}
