//! Several stages, and base images.

use std::fs;

use landfall_container::{Entry, Platform};

use crate::support::{Lab, PATH, archive, gzip, shuffled};

#[tokio::test]
async fn stages_copy_from_each_other_by_name_and_number() {
    let lab = Lab::with(
        "FROM scratch AS Files\nCOPY --chown=5 --chmod=600 f /in/f\nENV A=1\n\nFROM files AS more\nCOPY g /in/g\n\nFROM scratch\nCOPY --from=FILES /in/f /name\nCOPY --from=1 /in /number/\nCOPY --from=more in/* /glob/\n",
    )
    .file("f", "F")
    .file("g", "G");
    let image = lab.build().await;
    assert_eq!(
        image.paths(),
        [
            "glob/", "glob/f", "glob/g", "name", "number/", "number/f", "number/g"
        ],
        "only the last stage is the image"
    );
    assert_eq!(image.what("name"), "600 5:5 F", "mode and owner come along");
    assert_eq!(image.config.config.env, [PATH]);
    assert_eq!(image.layers.len(), 3);
}

#[tokio::test]
async fn a_stage_builds_upon_another() {
    let lab = Lab::with(
        "FROM scratch AS base\nCOPY f /f\nENV A=1\nCMD [\"x\"]\nFROM base\nENV B=$A\nCOPY g /g\n",
    )
    .file("f", "F")
    .file("g", "G");
    let image = lab.build().await;
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.config.rootfs.diff_ids.len(), 2);
    assert_eq!(image.config.config.env, [PATH, "A=1", "B=1"]);
    assert_eq!(image.config.config.cmd.unwrap(), ["x"]);
}

#[tokio::test]
async fn the_target_is_where_it_stops() {
    let dockerfile =
        "FROM scratch AS one\nCOPY f /one\nFROM scratch AS two\nCOPY f /two\nFROM two\nRUN never\n";
    for (target, path) in [("one", "one"), ("TWO", "two"), ("0", "one")] {
        let lab = Lab::with(dockerfile).file("f", "x").target(target);
        assert_eq!(lab.build().await.paths(), [path]);
    }
}

#[tokio::test]
async fn an_arg_before_from_chooses_the_stage() {
    let lab = Lab::with(
        "ARG KIND=debug\nARG BASE=base-${KIND}\nFROM scratch AS base-debug\nLABEL k=debug\nFROM scratch AS base-release\nLABEL k=release\nFROM ${BASE:-none}\n",
    );
    assert_eq!(lab.build().await.config.config.labels["k"], "debug");
    assert_eq!(
        lab.arg("KIND", "release")
            .build()
            .await
            .config
            .config
            .labels["k"],
        "release"
    );
}

/// Builds an image in its own lab and returns the store's directory.
async fn layout(name: &str) -> (Lab, landfall_container::Digest) {
    let lab = Lab::with("FROM scratch\nCOPY root /\nCOPY --chown=3:4 late /usr/late\nENV PATH=/usr/bin\nEXPOSE 80\nUSER web\n")
        .file("root/etc/passwd", "web:x:33:34::/:\n")
        .file("root/usr/bin/tool", "tool")
        .link("root/bin", "usr/bin")
        .file("late", "late");
    let image = lab.build().await;
    let entry = Entry {
        name: Some(name.to_owned()),
        ..Entry::default()
    };
    lab.store.tag(&image.built.manifest_digest, &entry).unwrap();
    (lab, image.built.manifest_digest)
}

/// A lab whose context contains `layout("v1")` as `base`.
async fn upon(dockerfile: &str) -> (Lab, landfall_container::Digest) {
    let (base, digest) = layout("v1").await;
    let lab = Lab::with(&dockerfile.replace("DIGEST", digest.as_ref())).file("app", "app");
    shuffled(base.store.root(), &lab.path("base"));
    (lab, digest)
}

#[tokio::test]
async fn an_oci_layout_is_a_base() {
    for reference in [
        "oci:base",
        "oci-layout://base",
        "oci:base:v1",
        "oci-layout://base@DIGEST",
        "oci:../context/base",
    ] {
        let (lab, _) = upon(&format!(
            "FROM {reference}\nCOPY --chown=web app /bin/\nCMD [\"app\"]\n"
        ))
        .await;
        let image = lab.build().await;
        assert_eq!(image.layers.len(), 3, "{reference}");
        assert_eq!(
            image.what("usr/bin/app"),
            "644 33:34 app",
            "the link /bin was followed"
        );
        assert_eq!(image.what("usr/late"), "644 3:4 late");
        assert_eq!(image.config.config.env, ["PATH=/usr/bin"]);
        assert_eq!(image.config.config.user, "web");
        assert_eq!(
            image.config.history.len(),
            7,
            "the base's history and its own"
        );
    }
}

#[tokio::test]
async fn files_are_copied_out_of_a_base_s_layers() {
    let (lab, _) =
        upon("FROM oci:base AS base\nFROM scratch\nCOPY --from=base --chown=web:9 /bin/tool /y\n")
            .await;
    let error = lab.fail().await;
    assert!(
        error.starts_with("Dockerfile:3: there is no user \"web\""),
        "names are those of the image, not of the source: {error}"
    );

    let (lab, _) = upon("FROM oci:base AS base\nFROM scratch\nCOPY --from=base /bin/tool /usr/late /x/\nCOPY --from=oci:base /etc/ /etc\n").await;
    let image = lab.build().await;
    assert_eq!(
        image.paths(),
        ["etc/", "etc/passwd", "x/", "x/late", "x/tool"]
    );
    assert_eq!(image.what("x/tool"), "644 0:0 tool");
    assert_eq!(image.what("x/late"), "644 3:4 late");
}

#[tokio::test]
async fn a_name_in_the_store_is_a_base() {
    let (base, _) = layout("digi/base:1").await;
    let mut lab = Lab::with("FROM digi/base:1\nCMD [\"tool\"]\n");
    lab.store = base.store.clone();
    let image = lab.build().await;
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.config.command("x").unwrap(), ["tool"]);
}

#[tokio::test]
async fn a_digest_in_the_store_is_a_base() {
    let (base, digest) = layout("digi/base:1").await;
    for name in ["digi/base", "digi/base:1"] {
        let mut lab = Lab::with(&format!("FROM {name}@{digest}\nCMD [\"tool\"]\n"));
        lab.store = base.store.clone();
        let image = lab.build().await;
        assert_eq!(image.layers.len(), 2, "{name}");
        assert_eq!(image.config.command("x").unwrap(), ["tool"]);
    }
}

#[tokio::test]
async fn a_base_that_is_not_there_says_what_was_looked_for() {
    let lab = Lab::with("FROM oci:nothing\n");
    assert_eq!(
        lab.fail().await,
        "nothing is not a usable image: it has no file `oci-layout`, so it is no OCI image layout"
    );
    let (lab, _) = upon("FROM oci:base:v2\n").await;
    let platform = Platform::host();
    assert_eq!(
        lab.fail().await,
        format!("base is not a usable image: it contains no image tagged v2 for {platform}")
    );
    let (mut lab, _) = upon("FROM oci:base\n").await;
    lab.request.platform = "linux/s390x".parse().unwrap();
    assert_eq!(
        lab.fail().await,
        "base is not a usable image: it contains no image for linux/s390x"
    );
}

#[tokio::test]
async fn a_damaged_layout_is_noticed() {
    let (lab, _) = upon("FROM oci:base\n").await;
    let blobs = lab.path("base/blobs/sha256");
    // The largest blobs are the layers; damage every one that is not JSON.
    for blob in fs::read_dir(blobs).unwrap().map(Result::unwrap) {
        let mut bytes = fs::read(blob.path()).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(blob.path(), bytes).unwrap();
        }
    }
    let error = lab.fail().await;
    assert!(
        error.contains("its contents have another digest"),
        "{error}"
    );
}

#[tokio::test]
async fn whiteouts_of_a_base_take_files_away() {
    // A base in an engine's form: the second layer removes a file, a directory's contents, and a
    // link.
    let lower = archive(&[
        ("gone", "x", 0o644, 0),
        ("dir/", "", 0o755, 0),
        ("dir/old", "x", 0o644, 0),
        ("keep", "x", 0o644, 0),
        ("was-dir/", "", 0o755, 0),
        ("was-dir/file", "x", 0o644, 0),
    ]);
    let upper = archive(&[
        (".wh.gone", "", 0o644, 0),
        ("dir/", "", 0o755, 0),
        ("dir/new", "x", 0o644, 0),
        ("dir/.wh..wh..opq", "", 0o644, 0),
        ("was-dir", "now a file", 0o644, 0),
    ]);
    let lab = Lab::with("FROM made-by-hand AS base\nFROM scratch\nCOPY --from=base / /\n");
    crate::store::commit_layers(&lab.store, &[lower, gzip(&upper)], "made-by-hand");
    assert_eq!(
        lab.build().await.paths(),
        ["dir/", "dir/new", "keep", "was-dir"]
    );
}

#[tokio::test]
async fn zstd_layers_of_a_base_are_read() {
    let dockerfile = "FROM packed\nCOPY a.txt top/file\nCMD [\"/x\"]\nFROM scratch\nCOPY --from=0 /top /\nCMD [\"/x\"]\n";
    let lab = Lab::with(dockerfile).file("a.txt", "A");
    let archives = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemonless/archives/");
    let packed = fs::read(format!("{archives}top.tar.zst")).unwrap();
    crate::store::commit_layers(&lab.store, &[packed], "packed");
    let image = lab.build().await;
    assert_eq!(image.paths(), ["file", "link"]);
    assert_eq!(image.what("file"), "644 0:0 A");
}

/// A build upon an image that has these ONBUILD instructions.
fn on_trap(triggers: &[&str], dockerfile: &str) -> Lab {
    let lab = Lab::with(dockerfile).file("a.txt", "A");
    let ingest = lab.store.ingest().unwrap();
    let mut config = landfall_container::ImageConfig::scratch(&Platform::host());
    config.config.on_build = triggers.iter().map(|&text| text.to_owned()).collect();
    let entry = Entry {
        name: Some("trap".to_owned()),
        ..Entry::default()
    };
    ingest.commit(&config, Vec::new(), &entry).unwrap();
    lab
}

#[tokio::test]
async fn onbuild_of_a_base_comes_first_and_once() {
    let lab = on_trap(
        &[
            "ARG WHERE=/x/",
            "COPY a.txt $WHERE",
            "ENV A=1 B=base",
            "WORKDIR /x",
        ],
        "FROM trap AS one\nENV B=own\nCOPY a.txt b.txt\nFROM one\nCMD [\"/x\"]\n",
    );
    let built = lab.build().await;
    assert_eq!(built.paths(), ["x/", "x/a.txt", "x/b.txt"]);
    let config = &built.config.config;
    assert_eq!(config.on_build, [""; 0]);
    assert!(
        config
            .env
            .ends_with(&["A=1".to_owned(), "B=own".to_owned()]),
        "{:?}",
        config.env
    );
    let history = built.config.history.iter().map(|it| it.created_by.as_str());
    assert!(history.clone().any(|text| text == "COPY a.txt $WHERE"));
}

#[tokio::test]
async fn onbuild_of_an_image_that_is_copied_from_is_not_run() {
    let lab = on_trap(
        &["RUN x"],
        "FROM scratch\nCOPY --from=trap / /\nCOPY a.txt /\nCMD [\"/x\"]\n",
    );
    assert_eq!(lab.build().await.paths(), ["a.txt"]);
}

#[tokio::test]
async fn onbuild_that_needs_an_engine_is_refused() {
    for (trigger, why) in [
        ("RUN x", "RUN needs a container engine"),
        (
            "COPY --from=other / /",
            "a copy from another image needs a container engine",
        ),
        ("ONBUILD ENV A=1", "it cannot stand there"),
        ("FROM x", "it cannot stand there"),
        ("ENV A=1\nENV B=2", "it is not one instruction"),
        ("WAT", "WAT"),
    ] {
        let lab = on_trap(&[trigger], "\nFROM trap\n");
        let error = lab.try_build().await.unwrap_err().to_string();
        let expected = format!("Dockerfile:2: trap has the instruction ONBUILD {trigger}: ");
        assert!(error.contains(&expected) && error.contains(why), "{error}");
    }
}
