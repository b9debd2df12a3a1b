//! The Dockerfile corpus: small contexts and Dockerfiles, each with BuildKit's image.
//!
//! The cases and their results are the files in `corpus/`; docs/decisions/0043 explains how to read
//! and update them.

#![cfg_attr(
    not(all(feature = "engine", target_os = "linux")),
    expect(dead_code, reason = "only what asks an engine renews the results")
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use landfall_container::{Digest, ImageConfig, Store};
use sha2::{Digest as _, Sha256};

use crate::support::{Lab, PATH, archive, gzip};

/// One case of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The lines above the Dockerfile.
    header: Vec<String>,
    dockerfile: String,
    /// The result of both builders.
    result: Option<String>,
    /// BuildKit's result, where the builders differ.
    pub(crate) buildkit: Option<String>,
    /// The daemonless builder's result, where the builders differ.
    landfall: Option<String>,
}

impl Case {
    fn header(&self, key: &str) -> impl Iterator<Item = &str> {
        self.header
            .iter()
            .filter_map(move |line| line.strip_prefix(key)?.strip_prefix(' '))
    }

    /// The reason of an intended difference.
    pub(crate) fn difference(&self) -> Option<&str> {
        self.header("differs").next()
    }

    /// The first major version of Docker with this BuildKit result.
    pub(crate) fn since(&self) -> u32 {
        self.header("since")
            .next()
            .map_or(0, |text| text.parse().unwrap())
    }

    pub(crate) fn set_since(&mut self, version: u32) {
        self.header.push(format!("since {version}"));
    }

    pub(crate) fn ours(&self) -> &str {
        self.landfall
            .as_ref()
            .or(self.result.as_ref())
            .map_or("", String::as_str)
    }

    pub(crate) fn theirs(&self) -> &str {
        self.buildkit
            .as_ref()
            .or(self.result.as_ref())
            .map_or("", String::as_str)
    }

    /// Sets the builders' results.
    pub(crate) fn set(&mut self, ours: String, theirs: String) {
        (self.result, self.buildkit, self.landfall) = if ours == theirs {
            (Some(ours), None, None)
        } else {
            (None, Some(theirs), Some(ours))
        };
    }

    /// The context and the request.
    pub(crate) fn lab(&self) -> Lab {
        let mut dockerfile = self.dockerfile.clone();
        if self.header.iter().any(|line| line == "crlf") {
            dockerfile = dockerfile.replace('\n', "\r\n");
        }
        if self.header.iter().any(|line| line == "bom") {
            dockerfile.insert(0, '\u{feff}');
        }
        if self
            .header
            .iter()
            .any(|line| line == "no newline at the end")
        {
            dockerfile.pop();
        }
        let mut lab = context(&dockerfile);
        for line in &self.header {
            let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
            let pair = |mark: &str| rest.split_once(mark).unwrap();
            lab = match key {
                "file" => {
                    let text = pair(": ").1.replace("\\n", "\n").replace("\\r", "\r");
                    lab.file(pair(": ").0, text)
                }
                "stored" => {
                    let (name, archive) = pair(" ");
                    lab.file(name, fs::read(data("archives").join(archive)).unwrap())
                }
                "dir" => lab.directory(rest),
                "link" => lab.link(pair(" -> ").0, pair(" -> ").1),
                "arg" => lab.arg(pair("=").0, pair("=").1),
                "target" => lab.target(rest),
                "platform" => {
                    lab.request.platform = rest.parse().unwrap();
                    lab
                }
                "differs" | "since" | "crlf" | "bom" | "no" | "#" => lab,
                _ => panic!("{}: what is \"{line}\"?", self.name),
            };
        }
        lab
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "=== {}", self.name);
        self.header.iter().for_each(|line| {
            let _ = writeln!(out, "{line}");
        });
        let _ = write!(out, "--- Dockerfile\n{}", self.dockerfile);
        for (name, text) in [
            ("result", &self.result),
            ("buildkit", &self.buildkit),
            ("landfall", &self.landfall),
        ] {
            if let Some(text) = text {
                let _ = write!(out, "--- {name}\n{text}");
            }
        }
        out.push('\n');
    }
}

/// The context of every case.
fn context(dockerfile: &str) -> Lab {
    let tar = archive(&[
        ("top/", "", 0o750, 5),
        ("top/file", "T", 0o600, 5),
        ("top/link", "-> file", 0o777, 5),
        ("top/pipe", "|", 0o640, 5),
        ("deep/er/file", "D", 0o644, 6),
    ]);
    Lab::with(dockerfile)
        .file(".dockerignore", "**/*.log\n")
        .file("a.txt", "A")
        .file("b.txt", "B")
        .file("noise.log", "no")
        .program("run.sh")
        .file("dir/one", "1")
        .file("dir/sub/two", "2")
        .file("dir/sub/.hidden", "h")
        .file("dir/noise.log", "no")
        .link("dir/link", "one")
        .link("to-file", "dir/sub/two")
        .link("to-dir", "dir/sub")
        .directory("empty")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:\n")
        .file("etc/group", "root:x:0:\nstaff:x:50:\n")
        .file("root/target", "old")
        .link("root/link", "target")
        .directory("root/usr/bin")
        .link("root/bin", "usr/bin")
        .file("a.tar", &tar)
        .file("a.tgz", gzip(&tar))
        .file("text.gz", gzip(b"only text"))
}

/// A data directory beside this file.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/daemonless")
        .join(name)
}

/// The files in `corpus/`.
pub(crate) fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(data("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// The cases of one file.
pub(crate) fn read(file: &Path) -> Vec<Case> {
    let text = fs::read_to_string(file).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case {
                name: name.to_owned(),
                ..Case::default()
            });
            section.clear();
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        if let Some(name) = line.strip_prefix("--- ") {
            name.clone_into(&mut section);
            if section != "Dockerfile" {
                // The Dockerfile may have empty lines at its end, a result has none.
                let text = Some(String::new());
                match section.as_str() {
                    "result" => case.result = text,
                    "buildkit" => case.buildkit = text,
                    _ => case.landfall = text,
                }
            }
            continue;
        }
        let into = match section.as_str() {
            "" if line.is_empty() => continue,
            "" => {
                case.header.push(line.to_owned());
                continue;
            }
            "Dockerfile" => &mut case.dockerfile,
            _ if line.is_empty() => continue,
            "result" => case.result.as_mut().unwrap(),
            "buildkit" => case.buildkit.as_mut().unwrap(),
            "landfall" => case.landfall.as_mut().unwrap(),
            other => panic!("{}: there is no section {other}", case.name),
        };
        into.push_str(line);
        into.push('\n');
    }
    cases
}

/// Writes the cases of one file.
pub(crate) fn write(file: &Path, cases: &[Case]) {
    let mut text = String::new();
    cases.iter().for_each(|case| case.write(&mut text));
    fs::write(file, text).unwrap();
}

/// A stored image in the corpus's format.
pub(crate) fn describe(store: &Store, manifest: &Digest, config: &ImageConfig) -> String {
    let mut text = settings(config);
    for (path, what) in tree(store, manifest) {
        let _ = writeln!(text, "/{path} {what}");
    }
    if text.is_empty() {
        text.push_str("(nothing)\n");
    }
    text
}

/// The settings of a configuration that affect a container, one line for each that is not the
/// default.
fn settings(config: &ImageConfig) -> String {
    let mut text = String::new();
    let host = landfall_container::Platform::host();
    if config.platform() != host {
        let _ = writeln!(text, "Platform {}", config.platform());
    }
    if !config.author.is_empty() {
        let _ = writeln!(text, "Author {}", config.author);
    }
    let serde_json::Value::Object(process) = serde_json::to_value(&config.config).unwrap() else {
        panic!("a configuration is an object");
    };
    for (key, value) in process {
        let line = format!("{key} {value}").replace(PATH, "PATH=…");
        if line != "Env [\"PATH=…\"]" && line != "WorkingDir \"/\"" {
            let _ = writeln!(text, "{line}");
        }
    }
    for (key, unusual) in [
        ("Env", config.config.env.is_empty()),
        ("WorkingDir", config.config.working_dir.is_empty()),
    ] {
        if unusual {
            let _ = writeln!(text, "no {key}");
        }
    }
    text
}

/// The merged layers: path → mode, owner, type, and content.
fn tree(store: &Store, manifest: &Digest) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for layer in store.manifest(manifest).unwrap().layers() {
        let bytes = fs::read(store.blob_path(layer.digest())).unwrap();
        let reader: Box<dyn std::io::Read> = if bytes.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::read::MultiGzDecoder::new(bytes.as_slice()))
        } else {
            Box::new(bytes.as_slice())
        };
        for entry in tar::Archive::new(reader).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let path = path
                .trim_start_matches("./")
                .trim_end_matches('/')
                .to_owned();
            let what = describe_entry(&mut entry);
            if what.ends_with("link") {
                panic!("{path} is a hard link, which no case should make");
            }
            // A file that replaces a directory removes the directory's contents.
            if !what.ends_with(" directory") {
                files.retain(|other: &String, _| !other.starts_with(&format!("{path}/")));
            }
            if let Some((dir, name)) = path.rsplit_once('/').or(Some(("", &path)))
                && let Some(gone) = name.strip_prefix(".wh.")
            {
                let gone = format!("{dir}/{gone}");
                let gone = gone.trim_start_matches('/');
                files.retain(|other, _| other != gone && !other.starts_with(&format!("{gone}/")));
                continue;
            }
            files.insert(path, what);
        }
    }
    files.remove("");
    files
}

fn describe_entry(entry: &mut tar::Entry<'_, impl std::io::Read>) -> String {
    let header = entry.header().clone();
    let owner = format!(
        "{:o} {}:{}",
        header.mode().unwrap() & 0o7777,
        header.uid().unwrap(),
        header.gid().unwrap()
    );
    let target = entry
        .link_name()
        .unwrap()
        .map(|target| target.display().to_string());
    let what = match header.entry_type() {
        tar::EntryType::Directory => "directory".to_owned(),
        tar::EntryType::Symlink => format!("-> {}", target.unwrap_or_default()),
        tar::EntryType::Regular => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(entry, &mut bytes).unwrap();
            match std::str::from_utf8(&bytes) {
                Ok(text) if bytes.len() <= 60 && !text.contains('\0') => format!("{text:?}"),
                _ => {
                    let hash: String = Sha256::digest(&bytes)
                        .iter()
                        .take(8)
                        .map(|byte| format!("{byte:02x}"))
                        .collect();
                    format!("{} bytes sha256:{hash}", bytes.len())
                }
            }
        }
        tar::EntryType::Fifo => "pipe".to_owned(),
        tar::EntryType::Link => "link".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{owner} {what}")
}

/// The daemonless builder's result for a case.
pub(crate) async fn daemonless(case: &Case) -> String {
    let lab = case.lab();
    match lab.try_build().await {
        Ok(built) => {
            let config = lab.store.config(&built.config_digest).unwrap();
            describe(&lab.store, &built.manifest_digest, &config)
        }
        Err(error) => {
            let context = format!("{}/", lab.request.context.display());
            let error = error.to_string().replace(&context, "");
            format!("error {}\n", error.lines().next().unwrap_or_default())
        }
    }
}

/// Describes the difference of two results.
pub(crate) fn difference(left: (&str, &str), right: (&str, &str)) -> String {
    let mut text = String::new();
    for ((name, one), (_, other)) in [(left, right), (right, left)] {
        for line in one
            .lines()
            .filter(|line| !other.lines().any(|it| it == *line))
        {
            let _ = writeln!(text, "  {name}: {line}");
        }
    }
    if text.is_empty() {
        text.push_str("  the order of lines differs\n");
    }
    text
}

#[tokio::test]
async fn daemonless_results_are_the_stored_ones() {
    let mut differences = String::new();
    let mut names = std::collections::BTreeSet::new();
    for file in files() {
        for case in read(&file) {
            assert!(
                names.insert(case.name.clone()),
                "{} is there twice",
                case.name
            );
            assert_eq!(
                case.difference().is_some(),
                case.buildkit.is_some(),
                "{}: a reason and two results, or neither",
                case.name
            );
            let ours = daemonless(&case).await;
            if ours != case.ours() {
                let text = difference(("made", &ours), ("stored", case.ours()));
                let _ = write!(differences, "{}:\n{text}", case.name);
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert!(names.len() >= 120, "only {} cases", names.len());
}
