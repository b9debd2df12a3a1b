//! OCI layouts in a directory or a tar, with any of their members changed.

use sha2::{Digest as _, Sha256};

/// The members of an OCI layout that a case changes; the digests of the others follow.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) layer: Vec<u8>,
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) index: Option<Vec<u8>>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> String {
    let (digest, size) = (digest(bytes), bytes.len());
    format!(
        r#"{{"mediaType":"application/vnd.oci.image.{media_type}","digest":"sha256:{digest}","size":{size}}}"#
    )
}

pub(crate) fn config_of(layer: &[u8]) -> Vec<u8> {
    format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/app"],"Env":["A=b"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
        digest(layer)
    )
    .into_bytes()
}

impl Layout {
    /// The files of the layout, by their names.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let config = self
            .config
            .clone()
            .unwrap_or_else(|| config_of(&self.layer));
        let manifest = self.manifest.clone().unwrap_or_else(|| {
            let (config, layer) = (descriptor("config.v1+json", &config), descriptor("layer.v1.tar", &self.layer));
            format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{layer}]}}"#)
                .into_bytes()
        });
        let index = self.index.clone().unwrap_or_else(|| {
            format!(
                r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
                descriptor("manifest.v1+json", &manifest)
            )
            .into_bytes()
        });
        let blobs = [&manifest, &config, &self.layer]
            .map(|blob| (format!("blobs/sha256/{}", digest(blob)), blob.clone()));
        let mut files = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), index),
        ];
        files.extend(blobs);
        files
    }

    /// The layout in a tar, as `podman save --format oci-archive` writes it.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in self.files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, name, bytes.as_slice())
                .unwrap();
        }
        archive.into_inner().unwrap()
    }
}

pub(crate) fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, "app", &b"program"[..])
        .unwrap();
    tar.into_inner().unwrap()
}
