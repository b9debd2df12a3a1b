//! Mutated Dockerfiles and image archives: each is accepted or refused, and a refused one leaves
//! nothing behind.

use std::fs;
use std::path::Path;

use landfall_container::daemonless::Daemonless;
use landfall_container::{Builder as _, Entry, Platform, Store};
use landfall_testkit::fuzz::Fuzz;

use crate::layout::{Layout, config_of, descriptor, layer};
use crate::support::Lab;

#[test]
fn dockerfiles() {
    let lab = Lab::new()
        .program("app")
        .file("src/a.txt", "a")
        .link("src/link", "a.txt");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let fuzz = Fuzz {
        name: "dockerfile",
        seeds: &[
            b"# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM scratch AS one\nARG V\nENV A=${V:-2} B=\"x y\"\n\
              COPY --chmod=0644 src/ /s/\nWORKDIR /s\nENTRYPOINT [\"/app\"]\n",
            b"FROM scratch AS a\nCOPY app /app\nFROM a AS b\nCOPY --from=a --chown=1:2 /app /b/\nUSER 10001:10001\n\
              EXPOSE 80/tcp 443\nVOLUME [\"/d\", \"/e\"]\nSTOPSIGNAL SIGINT\nCMD /app --port $PORT\n",
            b"FROM scratch\nCOPY <<EOF <<'RAW' /d/\nhello $A\nEOF\nraw $A\nRAW\nLABEL a=b 'c d'=\"e\\\nf\"\n\
              HEALTHCHECK --interval=5s CMD [\"/app\"]\nONBUILD COPY app /x\nSHELL [\"/bin/sh\"]\nADD src/*.txt /t/\nCMD [\"/app\"]\n",
        ],
        words: &[
            "FROM ", "scratch", "COPY ", "ADD ", "ENV ", "ARG ", "--from=", "--chown=", "--chmod=", "--platform=", "<<EOF\n",
            "EOF\n", "\\\n", "`\n", "#", "${", "}", "$A", ":-", "[\"", "\"]", "*", "[a-", "..", "/", "\r\n", "\u{feff}", "\0", "é",
            "ONBUILD ", "HEALTHCHECK NONE\n", "'", "\"", "99999999999999999999", "AS ", "%.", "//",
        ],
        inputs: 1_500,
    };
    fuzz.run(|input| {
        fs::write(lab.path("Dockerfile"), input).unwrap();
        if let Err(error) = runtime.block_on(Daemonless.check(&lab.request)) {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// Imports an archive into an empty store. A refused one leaves no entry and no unfinished blob.
fn import(archive: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let platform = Platform {
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        variant: None,
    };
    let entry = Entry {
        name: Some("fuzz".to_owned()),
        ..Entry::default()
    };
    let imported = store.import(archive, &platform, entry);
    let listed = store.list().unwrap();
    match &imported {
        Ok(image) => assert_eq!(listed, std::slice::from_ref(image)),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(listed, []);
        }
    }
    assert_eq!(unfinished(store.root()), Vec::<String>::new());
    imported.is_ok()
}

fn unfinished(root: &Path) -> Vec<String> {
    let incoming = fs::read_dir(root.join("incoming")).unwrap();
    incoming
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

const JSON: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e99",
    "18446744073709551616",
    "\"sha256:\"",
    "\"sha512:00\"",
    "../",
    "/dev/zero",
    "\\u0000",
    ",",
    ":",
    "\"manifests\":",
    "\"layers\":[]",
    "\"diff_ids\":[]",
    "\"size\":0",
    "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "\"Env\":[\"\"]",
    "\"User\":\":\"",
];

#[test]
fn layouts() {
    let layer = layer();
    let plain = Layout {
        layer: layer.clone(),
        config: None,
        manifest: None,
        index: None,
    };
    let archive = plain.archive();
    assert!(import(&archive), "the seed itself is a good image");
    let raw = Fuzz {
        name: "oci archive",
        seeds: &[&archive],
        words: &[
            "ustar",
            "\0\0\0\0",
            "../",
            "blobs/sha256/",
            "index.json",
            "7777777",
        ],
        inputs: 150,
    };
    raw.run(|input| {
        import(input);
    });

    let config = config_of(&layer);
    let (config_descriptor, layer_descriptor) = (
        descriptor("config.v1+json", &config),
        descriptor("layer.v1.tar", &layer),
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{config_descriptor},"layers":[{layer_descriptor}]}}"#
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        descriptor("manifest.v1+json", manifest.as_bytes())
    );
    type Change = fn(&mut Layout, Vec<u8>);
    let members: [(&str, &[u8], Change); 3] = [
        ("oci config", &config, |layout, bytes| {
            layout.config = Some(bytes)
        }),
        ("oci manifest", manifest.as_bytes(), |layout, bytes| {
            layout.manifest = Some(bytes)
        }),
        ("oci index", index.as_bytes(), |layout, bytes| {
            layout.index = Some(bytes)
        }),
    ];
    for (name, seed, change) in members {
        let fuzz = Fuzz {
            name,
            seeds: &[seed],
            words: JSON,
            inputs: 150,
        };
        fuzz.run(|input| {
            let mut layout = plain.clone();
            change(&mut layout, input.to_vec());
            import(&layout.archive());
        });
    }
}
