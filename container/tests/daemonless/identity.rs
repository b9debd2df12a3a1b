//! The identity that decides about a rebuild, and the reproducibility of the result.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use landfall_container::daemonless::Daemonless;
use landfall_container::{
    BuildRequest, Context, Digest, RegistryCredentials, Secret, Store, build,
};
use proptest::prelude::*;

use crate::support::{Lab, copy_modes, shuffled};

const DOCKERFILE: &str = "FROM scratch\nWORKDIR /srv\nCOPY . .\nENTRYPOINT [\"/srv/app\"]\n";

fn lab() -> Lab {
    Lab::with(DOCKERFILE)
        .file(".dockerignore", "*.log\nDockerfile\n")
        .program("app")
        .file("data/b", "b")
        .file("data/a", "a")
        .link("link", "data/a")
        .file("noise.log", "1")
}

#[tokio::test]
async fn the_same_context_is_the_same_image_wherever_and_whenever() {
    let lab = lab();
    let first = lab.build().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("other name");
    shuffled(&lab.request.context, &copy);
    let request = BuildRequest {
        context: copy,
        ..lab.request.clone()
    };
    let store = Store::open(elsewhere.path().join("store")).unwrap();
    let again = landfall_container::Builder::build(&Daemonless, &request, &store, &|_| {})
        .await
        .unwrap();
    assert_eq!(
        again.source, first.built.source,
        "the identity has no umask"
    );
    assert_ne!(
        again.manifest_digest, first.built.manifest_digest,
        "the image has the modes"
    );
    let same = elsewhere.path().join("same modes");
    shuffled(&lab.request.context, &same);
    copy_modes(&lab.request.context, &same);
    let request = BuildRequest {
        context: same,
        ..lab.request.clone()
    };
    let again = landfall_container::Builder::build(&Daemonless, &request, &store, &|_| {})
        .await
        .unwrap();
    assert_eq!(again, first.built);
    let manifest = |store: &Store, digest: &Digest| fs::read(store.blob_path(digest)).unwrap();
    assert_eq!(
        manifest(&store, &again.manifest_digest),
        manifest(&lab.store, &first.built.manifest_digest)
    );
}

#[tokio::test]
async fn an_image_that_is_there_is_not_built_again() {
    let lab = lab();
    let output = |_: &str| {};
    let first = build(&Daemonless, &lab.request, &lab.store, &output)
        .await
        .unwrap();
    assert_eq!(first.builder.as_deref(), Some("daemonless"));
    let second = build(&Daemonless, &lab.request, &lab.store, &output)
        .await
        .unwrap();
    assert_eq!(second.builder, None, "nothing was built");
    assert_eq!(
        (&second.manifest_digest, &second.source),
        (&first.manifest_digest, &first.source)
    );

    // An image with a missing blob is not found.
    fs::remove_file(lab.store.blob_path(&first.config_digest)).unwrap();
    let third = build(&Daemonless, &lab.request, &lab.store, &output)
        .await
        .unwrap();
    assert_eq!(third.builder.as_deref(), Some("daemonless"));
    assert_eq!(third.manifest_digest, first.manifest_digest);
}

#[test]
fn identity_changes_with_image_inputs_only() {
    let identity = |lab: &Lab| lab.request.identity().unwrap();
    let base = identity(&lab());

    let mut same = lab();
    same.request.credentials.insert(
        "example.com".to_owned(),
        RegistryCredentials {
            username: "u".to_owned(),
            password: Secret::new("p"),
        },
    );
    assert_eq!(identity(&same), base, "credentials");
    assert_eq!(
        identity(&lab().file("other.log", "2").file("noise.log", "3")),
        base,
        "what is ignored"
    );
    let touched = lab();
    File::open(touched.path("app"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(identity(&touched), base, "a modification time");

    let mut seen = vec![base];
    let mut differs = |what: &str, lab: Lab| {
        let identity = identity(&lab);
        assert!(!seen.contains(&identity), "{what} has no influence");
        seen.push(identity);
    };
    differs("contents", lab().file("data/a", "A"));
    differs("a new file", lab().file("data/c", ""));
    differs("an empty directory", lab().directory("empty"));
    differs("the executable bit", lab().file("app", "program"));
    differs(
        "a Dockerfile that is ignored",
        lab().file("Dockerfile", format!("{DOCKERFILE}# x\n")),
    );
    differs("an argument", lab().arg("A", "1"));
    differs("an argument's value", lab().arg("A", "2"));
    differs("an argument's name", lab().arg("A1", ""));
    differs("the target", lab().target("web"));
    let mut other = lab();
    other.request.platform = "linux/s390x".parse().unwrap();
    differs("the platform", other);
    let moved = lab();
    fs::rename(moved.path("data/a"), moved.path("data/z")).unwrap();
    differs("a name", moved);
    let linked = lab();
    fs::remove_file(linked.path("link")).unwrap();
    differs("a link's target", linked.link("link", "data/b"));
    let replaced = lab();
    fs::remove_file(replaced.path("link")).unwrap();
    differs("a link that is a file", replaced.file("link", "data/a"));
}

#[test]
fn the_ignore_file_beside_the_dockerfile_is_the_one_that_counts() {
    let mut lab = lab()
        .file("docker/web.Dockerfile", DOCKERFILE)
        .file("docker/web.Dockerfile.dockerignore", "data\n");
    lab.request.dockerfile = "docker/web.Dockerfile".into();
    let paths = |lab: &Lab| -> Vec<String> {
        Context::open(&lab.request)
            .unwrap()
            .entries()
            .iter()
            .map(|entry| entry.path.clone())
            .collect()
    };
    assert_eq!(
        paths(&lab),
        [
            ".dockerignore",
            "Dockerfile",
            "app",
            "docker",
            "docker/web.Dockerfile",
            "docker/web.Dockerfile.dockerignore",
            "link",
            "noise.log"
        ]
    );
    lab.request.dockerfile = "Dockerfile".into();
    let lab = lab.file(".dockerignore", "*\n!data/a\n!docker/**/*.Dockerfile\n");
    assert_eq!(
        paths(&lab),
        ["data", "data/a", "docker", "docker/web.Dockerfile"]
    );
}

#[test]
fn engine_archive_is_reproducible() {
    let lab = lab();
    let context = Context::open(&lab.request).unwrap();
    let mut first = Vec::new();
    context.write_tar(&mut first).unwrap();
    let files = crate::support::look(first.as_slice());
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            ".dockerignore",
            "Dockerfile",
            "app",
            "data/",
            "data/a",
            "data/b",
            "link"
        ],
        "the Dockerfile is in it although it is ignored"
    );
    assert_eq!(files["app"], "755 0:0 program");
    assert_eq!(files["link"], "777 0:0 -> data/a");
    assert_eq!(context.dockerfile_name(), "Dockerfile");

    let elsewhere = tempfile::tempdir().unwrap();
    shuffled(&lab.request.context, elsewhere.path());
    copy_modes(&lab.request.context, elsewhere.path());
    let request = BuildRequest {
        context: elsewhere.path().to_owned(),
        ..lab.request.clone()
    };
    let mut second = Vec::new();
    Context::open(&request)
        .unwrap()
        .write_tar(&mut second)
        .unwrap();
    assert!(
        first == second,
        "two copies of a context make different archives"
    );
}

#[test]
fn a_dockerfile_outside_the_context_is_in_the_archive() {
    let mut lab = lab();
    fs::write(lab.dir().join("Outside"), "FROM scratch\n").unwrap();
    lab.request.dockerfile = lab.dir().join("Outside");
    let context = Context::open(&lab.request).unwrap();
    let mut archive = Vec::new();
    context.write_tar(&mut archive).unwrap();
    let files = crate::support::look(archive.as_slice());
    assert_eq!(files[&context.dockerfile_name()], "644 0:0 FROM scratch");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The identity of a tree equals that of its copy, and every single change is detected.
    #[test]
    fn identities_are_stable_and_sensitive(
        files in proptest::collection::btree_map("[a-c]{1,2}(/[a-c]{1,2}){0,2}", ("[xy]{0,3}", any::<bool>()), 1..8),
        pick in any::<prop::sample::Index>(),
    ) {
        // A name cannot be a file and a directory at once.
        let names: Vec<&String> = files.keys().collect();
        prop_assume!(!names.iter().any(|name| names.iter().any(|other| other.starts_with(&format!("{name}/")))));
        let mut lab = Lab::with("FROM scratch\n");
        for (name, (contents, executable)) in &files {
            lab = lab.file(name, contents);
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(lab.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let identity = lab.request.identity().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        shuffled(&lab.request.context, elsewhere.path());
        let copy = BuildRequest { context: elsewhere.path().to_owned(), ..lab.request.clone() };
        prop_assert_eq!(&copy.identity().unwrap(), &identity);

        let path = elsewhere.path().join(pick.get(&names));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let mut contents = fs::read(&path).unwrap();
        contents.push(b'!');
        fs::write(&path, contents).unwrap();
        prop_assert_ne!(&copy.identity().unwrap(), &identity);
    }

    /// For any Dockerfile, the result is an image or an error.
    #[test]
    fn no_dockerfile_makes_it_panic(lines in proptest::collection::vec(line(), 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lab = Lab::with(&lines.concat()).file("f", "x").file("d/g", "y");
        let _ = runtime.block_on(lab.try_build());
    }
}

/// Lines that resemble a Dockerfile's.
fn line() -> impl Strategy<Value = String> {
    let words = "FROM |scratch|AS |COPY |ADD |ENV |ARG |LABEL |CMD |ENTRYPOINT |WORKDIR |USER |EXPOSE |VOLUME |\
                 HEALTHCHECK |SHELL |STOPSIGNAL |MAINTAINER |--from=|--chown=|--interval=|<<EOF|EOF|\\[|\\]|\"|'|\\\\|`|\
                 \\$|\\{|\\}|:-|:\\+|=|,| |\t|\n|\r\n|#|f|d/|/|\\*|\\?|\\.\\.|1|ä";
    proptest::collection::vec(proptest::string::string_regex(words).unwrap(), 1..8)
        .prop_map(|words| format!("{}\n", words.concat()))
}
