//! The build context: preserved modes, default exclusions, names that are not UTF-8.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use landfall_container::Context;

use crate::support::{Lab, look};

/// Paths and modes that Docker preserves.
const MODES: &[(&str, u32)] = &[
    ("tree/plain", 0o644),
    ("tree/program", 0o755),
    ("tree/key", 0o600),
    ("tree/shared", 0o666),
    ("tree/setuid", 0o4755),
    ("tree/setgid", 0o2750),
    ("tree/read-only", 0o400),
    ("tree/none", 0o000),
    ("tree/uploads", 0o777),
    ("tree/sticky", 0o1777),
    ("tree/private", 0o700),
    ("tree/private/below", 0o640),
    ("tree/group", 0o2775),
    ("tree", 0o750),
];

fn with_modes(dockerfile: &str) -> Lab {
    let mut lab = Lab::with(dockerfile);
    for (path, _) in MODES {
        lab = match *path {
            "tree/uploads" | "tree/sticky" | "tree/private" | "tree/group" => lab.directory(path),
            "tree" => lab,
            path => lab.file(path, "x"),
        };
    }
    for (path, mode) in MODES {
        fs::set_permissions(lab.path(path), fs::Permissions::from_mode(*mode)).unwrap();
    }
    lab
}

fn paths(lab: &Lab) -> Vec<String> {
    let context = Context::open(&lab.request).unwrap();
    let entries = context.entries().iter();
    entries.map(|entry| entry.path.clone()).collect()
}

/// Whether this process may read files without read permission.
fn reads_everything(lab: &Lab) -> bool {
    fs::read(lab.path("tree/none")).is_ok()
}

#[tokio::test]
async fn image_keeps_the_modes() {
    let lab = with_modes("FROM scratch\nCOPY . /srv/\n");
    if !reads_everything(&lab) {
        fs::set_permissions(lab.path("tree/none"), fs::Permissions::from_mode(0o400)).unwrap();
    }
    let image = lab.build().await;
    for (path, mode) in MODES.iter().filter(|(path, _)| *path != "tree/none") {
        let found = image.files();
        let what = found
            .get(&format!("srv/{path}"))
            .or_else(|| found.get(&format!("srv/{path}/")));
        let what = what.unwrap_or_else(|| panic!("{path} is not in {found:#?}"));
        assert!(what.starts_with(&format!("{mode:o} 0:0")), "{path}: {what}");
    }
}

#[test]
fn engine_gets_the_modes() {
    let lab = with_modes("FROM scratch\nCOPY . /srv/\n");
    if !reads_everything(&lab) {
        fs::set_permissions(lab.path("tree/none"), fs::Permissions::from_mode(0o400)).unwrap();
    }
    let mut archive = Vec::new();
    Context::open(&lab.request)
        .unwrap()
        .write_tar(&mut archive)
        .unwrap();
    let files = look(archive.as_slice());
    assert_eq!(files["tree/key"], "600 0:0 x");
    assert_eq!(files["tree/setuid"], "4755 0:0 x");
    assert_eq!(files["tree/sticky/"], "1777 0:0");
    assert_eq!(files["tree/"], "750 0:0");
}

/// A context with every default exclusion.
fn with_own_files() -> Lab {
    let plan = format!(
        "{{\n  \"checksum\": \"sha256:{0}\",\n  \"content\": {{\n    \"fingerprint\": \"sha256:{0}\"\n  }}\n}}\n",
        "0".repeat(64)
    );
    let mut lab = Lab::with("FROM scratch\nCOPY . /srv/\n")
        .file("landfall.toml", "stack = 'a'\n")
        .file("services/web/landfall.toml", "stack = 'b'\n")
        .file("staging.toml", "stack = 'c'\n")
        .file("other.toml", "a = 1\n")
        .file(".git/HEAD", "ref: refs/heads/main\n")
        .file("vendor/module/.git", "gitdir: ../../.git/modules/module\n")
        .file(".gitignore", "target\n")
        .file("review.plan", &plan)
        .file("plans/old.json", plan)
        .file("plans/other.json", "{\n  \"checksum\": 1\n}\n");
    lab.request.config_file = Some(lab.path("staging.toml"));
    lab
}

#[test]
fn own_files_are_left_out() {
    let lab = with_own_files();
    assert_eq!(
        paths(&lab),
        [
            ".gitignore",
            "Dockerfile",
            "other.toml",
            "plans",
            "plans/other.json",
            "services",
            "services/web",
            "vendor",
            "vendor/module",
        ]
    );
    assert_eq!(
        Context::open(&lab.request).unwrap().left_out(),
        [
            ".git",
            "landfall.toml",
            "plans/old.json",
            "review.plan",
            "services/web/landfall.toml",
            "staging.toml",
            "vendor/module/.git",
        ]
    );
}

#[test]
fn own_files_do_not_change_the_identity() {
    let lab = with_own_files();
    let before = lab.request.identity().unwrap();
    let lab = lab
        .file("landfall.toml", "# a comment\nstack = 'a'\n")
        .file("staging.toml", "# a comment\n")
        .file(".git/HEAD", "0123\n");
    fs::remove_file(lab.path("review.plan")).unwrap();
    assert_eq!(lab.request.identity().unwrap(), before);
}

#[test]
fn ignore_file_takes_own_files_back() {
    let lab = with_own_files().file(
        ".dockerignore",
        "plans\n!landfall.toml\n!.git/HEAD\n!review.plan\n",
    );
    let paths = paths(&lab);
    for kept in ["landfall.toml", ".git", ".git/HEAD", "review.plan"] {
        assert!(paths.iter().any(|path| path == kept), "{kept}: {paths:?}");
    }
    for gone in [
        "staging.toml",
        "vendor/module/.git",
        "services/web/landfall.toml",
    ] {
        assert!(!paths.iter().any(|path| path == gone), "{gone}: {paths:?}");
    }
    let back = lab.file(".dockerignore", "!.git\n");
    assert!(self::paths(&back).contains(&".git/HEAD".to_owned()));
}

#[tokio::test]
async fn copy_of_an_own_file_says_why_not() {
    for (source, name) in [
        ("landfall.toml", "landfall.toml"),
        ("./staging.toml", "staging.toml"),
        (".git", ".git"),
        (".git/HEAD", ".git"),
    ] {
        let lab = with_own_files().file("Dockerfile", format!("FROM scratch\nCOPY {source} /x\n"));
        let desired = format!(
            "hint: {name} is left out of the build context by default, since no image needs it; the line `!{name}` \
             in .dockerignore takes it back"
        );
        let reported = lab.fail().await;
        assert!(reported.contains(&desired), "{reported}");
        let reported = lab.check().await.unwrap();
        assert!(reported.contains(&desired), "{reported}");
        let lab = lab.file(".dockerignore", format!("!{name}\n"));
        lab.try_build().await.unwrap();
    }
    let lab = with_own_files().file("Dockerfile", "FROM scratch\nCOPY gone /x\n");
    let reported = lab.fail().await;
    assert!(!reported.contains("by default"), "{reported}");
}

#[test]
fn name_that_is_not_utf8_is_refused_or_ignored() {
    let lab = Lab::with("FROM scratch\nCOPY . /\n").file("dir/a", "1");
    let bad = lab.path("dir").join(OsStr::from_bytes(b"b\xff.txt"));
    fs::write(&bad, "x").unwrap();
    let error = Context::open(&lab.request).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("the file name {} is not UTF-8", bad.display())),
        "{error}"
    );
    for rules in ["dir/b*\n", "dir/b?.txt\n", "dir\n!dir/a\n", "*\n!dir/a\n"] {
        let lab = Lab::with("FROM scratch\nCOPY . /\n").file("dir/a", "1");
        fs::write(lab.path("dir").join(OsStr::from_bytes(b"b\xff.txt")), "x").unwrap();
        let lab = lab.file(".dockerignore", rules);
        let paths = paths(&lab);
        assert!(paths.contains(&"dir/a".to_owned()), "{rules}: {paths:?}");
    }
}

#[test]
fn directory_that_is_not_utf8_is_walked() {
    let lab = Lab::with("FROM scratch\nCOPY . /\n").file(".dockerignore", "*\n!*/keep\n");
    let bad = lab.path("").join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("drop"), "x").unwrap();
    assert_eq!(paths(&lab), Vec::<String>::new());
    fs::write(bad.join("keep"), "x").unwrap();
    let error = Context::open(&lab.request).unwrap_err().to_string();
    assert!(error.contains("is not UTF-8"), "{error}");
}

#[cfg(all(feature = "engine", target_os = "linux"))]
#[tokio::test]
async fn needs_docker_modes_are_those_of_docker() {
    use landfall_container::Builder as _;
    use landfall_container::engine::{Engine, Environment};
    use landfall_testkit::engines::Program;

    let docker = Program::Docker
        .start()
        .unwrap_or_else(|reason| panic!("{reason}"));
    for buildkit in [true, false] {
        let environment = Environment {
            docker_host: Some(docker.docker_host()),
            docker_buildkit: Some(buildkit),
            ..Environment::default()
        };
        let engine = Engine::connect(&environment).await.unwrap();
        for dockerfile in [
            "FROM scratch\nCOPY . /srv/\n",
            "FROM scratch\nCOPY tree /srv\n",
            "FROM scratch\nCOPY tree/key tree/setuid /srv/\nCOPY tree/private /private/\n",
            "FROM scratch\nADD tree/sticky /sticky\nCOPY --chown=5:6 tree/setgid /x\n",
        ] {
            let lab = with_modes(dockerfile);
            let ours = lab.build().await;
            let theirs = engine
                .build(&lab.request, &lab.store, &|_| {})
                .await
                .unwrap();
            let theirs = docker_files(&lab, &theirs);
            let ours = if buildkit {
                ours.files()
            } else {
                without_set_id(ours.files())
            };
            assert_eq!(ours, theirs, "{dockerfile} (BuildKit: {buildkit})");
        }
        let lab = with_own_files().file("Dockerfile", "FROM scratch\nCOPY landfall.toml /\n");
        let error = engine
            .build(&lab.request, &lab.store, &|_| {})
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("landfall.toml is left out of the build context by default"),
            "{error}"
        );
    }
}

/// The result of Docker's classic builder: it changes the owners of files last, which clears their
/// set-id bits.
#[cfg(all(feature = "engine", target_os = "linux"))]
fn without_set_id(
    files: std::collections::BTreeMap<String, String>,
) -> std::collections::BTreeMap<String, String> {
    let strip = |(path, what): (String, String)| {
        let (mode, rest) = what.split_once(' ').unwrap();
        let mode = u32::from_str_radix(mode, 8).unwrap();
        let kept = if path.ends_with('/') {
            mode
        } else {
            mode & 0o1777
        };
        (path, format!("{kept:o} {rest}"))
    };
    files.into_iter().map(strip).collect()
}

/// The merged layers of an engine's image.
#[cfg(all(feature = "engine", target_os = "linux"))]
fn docker_files(
    lab: &Lab,
    built: &landfall_container::Built,
) -> std::collections::BTreeMap<String, String> {
    let mut files = std::collections::BTreeMap::new();
    let manifest = lab.store.manifest(&built.manifest_digest).unwrap();
    for layer in manifest.layers() {
        let bytes = fs::read(lab.store.blob_path(layer.digest())).unwrap();
        files.extend(if bytes.starts_with(&[0x1f, 0x8b]) {
            look(flate2::read::MultiGzDecoder::new(bytes.as_slice()))
        } else {
            look(bytes.as_slice())
        });
    }
    files.remove("/");
    files.remove("./");
    files
}
