//! `COPY` and `ADD`, by the rules of the Dockerfile reference.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Lab, archive, gzip};

/// The paths and contents after `FROM scratch` and `lines`, from a context with all kinds of files.
async fn files(lines: &str) -> Vec<String> {
    let lab = Lab::with(&format!("FROM scratch\n{lines}\n"))
        .file(".dockerignore", "Dockerfile\n.dockerignore\n")
        .file("a.txt", "A")
        .file("b.txt", "B")
        .program("run.sh")
        .file("dir/one", "1")
        .file("dir/sub/two", "2")
        .directory("empty")
        .link("dir/link", "one")
        .link("to-file", "dir/sub/two")
        .link("to-dir", "dir/sub")
        .file("we[i]rd", "W");
    lab.build()
        .await
        .files()
        .into_iter()
        .map(|(path, what)| format!("{path} {what}"))
        .collect()
}

#[tokio::test]
async fn a_file_goes_where_it_is_told() {
    assert_eq!(files("COPY a.txt /x").await, ["x 644 0:0 A"]);
    assert_eq!(
        files("COPY a.txt /x/").await,
        ["x/ 755 0:0", "x/a.txt 644 0:0 A"]
    );
    assert_eq!(files("COPY a.txt /").await, ["a.txt 644 0:0 A"]);
    assert_eq!(
        files("COPY a.txt /deep/er/x").await,
        ["deep/ 755 0:0", "deep/er/ 755 0:0", "deep/er/x 644 0:0 A"]
    );
    assert_eq!(files("COPY a.txt .").await, ["a.txt 644 0:0 A"]);
    assert_eq!(files("COPY /a.txt rel").await, ["rel 644 0:0 A"]);
    assert_eq!(
        files("WORKDIR /w\nCOPY a.txt x").await,
        ["w/ 755 0:0", "w/x 644 0:0 A"]
    );
    assert_eq!(
        files("WORKDIR /w\nCOPY a.txt /w").await,
        ["w/ 755 0:0", "w/a.txt 644 0:0 A"],
        "it is a directory already"
    );
    assert_eq!(files("COPY [\"a.txt\", \"/x y\"]").await, ["x y 644 0:0 A"]);
    assert_eq!(
        files("ENV F=a.txt\nCOPY ${F} /$F.copy").await,
        ["a.txt.copy 644 0:0 A"]
    );
    assert_eq!(files("COPY a.txt /x\nCOPY b.txt /x").await, ["x 644 0:0 B"]);
}

#[tokio::test]
async fn a_directory_is_copied_by_its_contents() {
    let dir = [
        "x/ 755 0:0",
        "x/link 777 0:0 -> one",
        "x/one 644 0:0 1",
        "x/sub/ 755 0:0",
        "x/sub/two 644 0:0 2",
    ];
    assert_eq!(files("COPY dir /x").await, dir);
    assert_eq!(files("COPY dir/ /x/").await, dir);
    assert_eq!(files("COPY ./dir/. /x").await, dir);
    assert_eq!(files("COPY empty /x").await, ["x/ 755 0:0"]);
    assert_eq!(
        files("COPY dir /x\nCOPY dir/sub /x/sub").await,
        dir,
        "the same again changes nothing"
    );
    let whole: Vec<String> = files("COPY . /")
        .await
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        whole,
        [
            "a.txt",
            "b.txt",
            "dir/",
            "dir/link",
            "dir/one",
            "dir/sub/",
            "dir/sub/two",
            "empty/",
            "run.sh",
            "to-dir",
            "to-file",
            "we[i]rd"
        ]
    );
}

#[tokio::test]
async fn a_link_named_as_source_is_followed() {
    assert_eq!(files("COPY to-file /x").await, ["x 644 0:0 2"]);
    assert_eq!(
        files("COPY to-file /x/").await,
        ["x/ 755 0:0", "x/to-file 644 0:0 2"]
    );
    assert_eq!(
        files("COPY to-dir /x").await,
        ["x/ 755 0:0", "x/two 644 0:0 2"]
    );
    assert_eq!(files("COPY to-dir/two /x").await, ["x 644 0:0 2"]);
}

#[tokio::test]
async fn patterns_name_several() {
    assert_eq!(
        files("COPY *.txt /x/").await,
        ["x/ 755 0:0", "x/a.txt 644 0:0 A", "x/b.txt 644 0:0 B"]
    );
    assert_eq!(
        files("COPY a.txt run.sh /x/").await,
        [
            "x/ 755 0:0",
            "x/a.txt 644 0:0 A",
            "x/run.sh 755 0:0 program"
        ]
    );
    assert_eq!(files("COPY dir/s*/t?o /x").await, ["x 644 0:0 2"]);
    assert_eq!(files("COPY to-dir/t* /x").await, ["x 644 0:0 2"]);
    assert_eq!(
        files("COPY di[r] /x/").await.len(),
        5,
        "a directory that a pattern finds is copied by its contents"
    );
    assert_eq!(
        files("COPY a.txt nothing.loc[k] /x/").await,
        ["x/ 755 0:0", "x/a.txt 644 0:0 A"]
    );
    assert_eq!(files("COPY we[[]i]rd /x").await, ["x 644 0:0 W"]);
}

#[tokio::test]
async fn owner_and_mode_are_set() {
    assert_eq!(
        files("COPY --chown=7:8 --chmod=640 dir /x").await,
        [
            "x/ 640 7:8",
            "x/link 777 7:8 -> one",
            "x/one 640 7:8 1",
            "x/sub/ 640 7:8",
            "x/sub/two 640 7:8 2"
        ]
    );
    assert_eq!(files("COPY --chown=7 a.txt /x").await, ["x 644 7:7 A"]);
    assert_eq!(
        files("ARG U=9\nCOPY --chown=$U a.txt /x").await,
        ["x 644 9:9 A"]
    );
    assert_eq!(files("COPY --chmod=4755 a.txt /x").await, ["x 4755 0:0 A"]);
    assert_eq!(
        files("COPY --link --chown=3000000:4 a.txt /x").await,
        ["x 644 3000000:4 A"]
    );
}

#[tokio::test]
async fn owners_are_looked_up_in_the_image() {
    let lab = Lab::with("FROM scratch\nCOPY etc /etc\nCOPY --chown=web f /1\nCOPY --chown=web:staff f /2\nCOPY --chown=5:staff f /3\nUSER web\nWORKDIR /w\n")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n")
        .file("etc/group", "staff:x:50:\n")
        .file("f", "x");
    let image = lab.build().await;
    for (path, desired) in [
        ("1", "644 33:34 x"),
        ("2", "644 33:50 x"),
        ("3", "644 5:50 x"),
        ("w/", "755 33:34"),
    ] {
        assert_eq!(image.what(path), desired, "{path}");
    }
}

#[tokio::test]
async fn links_in_the_image_are_followed_to_the_directory() {
    let lab = Lab::with(
        "FROM scratch\nCOPY root /\nCOPY app /bin/\nCOPY app /bin/other\nCOPY app /bin\n",
    )
    .directory("root/usr/bin")
    .link("root/bin", "usr/bin")
    .program("app");
    assert_eq!(
        lab.build().await.paths(),
        ["bin", "usr/", "usr/bin/", "usr/bin/app", "usr/bin/other"]
    );
}

#[tokio::test]
async fn here_documents_are_files() {
    let lab = Lab::with(
        "FROM scratch\nENV NAME=digi\nCOPY <<EOF /etc/motd\nhello $NAME\nEOF\nCOPY <<\"one\" <<-two --x /dir/\n$NAME\none\n\t\tindented\n\ttwo\nLABEL after=yes\n",
    )
    .file("--x", "dash");
    let image = lab.build().await;
    assert_eq!(image.what("etc/motd"), "644 0:0 hello digi");
    assert_eq!(image.what("dir/one"), "644 0:0 $NAME");
    assert_eq!(image.what("dir/two"), "644 0:0 indented");
    assert_eq!(image.what("dir/--x"), "644 0:0 dash");
    assert_eq!(image.config.config.labels["after"], "yes");
}

#[tokio::test]
async fn add_unpacks_archives_and_copy_does_not() {
    let tar = archive(&[
        ("top/", "", 0o750, 5),
        ("top/file", "T", 0o600, 5),
        ("top/link", "-> file", 0o777, 5),
        ("bare/file", "no directory entry", 0o644, 6),
    ]);
    let lab = Lab::with("FROM scratch\nADD a.tar /plain\nADD a.tgz /gz/\nCOPY a.tgz /copied\nADD --chown=1:2 a.tar /owned\nADD text.gz /text.gz\nADD f /f\n")
        .file("a.tar", &tar)
        .file("a.tgz", gzip(&tar))
        .file("text.gz", gzip(b"only text"))
        .file("f", "x");
    let mut image = lab.build().await;
    let packed = image.layers.remove(2);
    assert!(packed.contains_key("copied"), "{packed:?}");
    for dir in ["plain", "gz"] {
        assert_eq!(image.what(&format!("{dir}/top/")), "750 5:5");
        assert_eq!(image.what(&format!("{dir}/top/file")), "600 5:5 T");
        assert_eq!(image.what(&format!("{dir}/top/link")), "777 5:5 -> file");
        assert_eq!(
            image.what(&format!("{dir}/bare/file")),
            "644 6:6 no directory entry"
        );
    }
    assert_eq!(image.what("owned/"), "755 1:2");
    assert_eq!(
        image.what("owned/top/file"),
        "600 1:2 T",
        "--chown counts for what an archive holds too"
    );
    assert_eq!(image.what("f"), "644 0:0 x");
    assert!(
        image.paths().contains(&"text.gz".to_owned()),
        "{:?}",
        image.paths()
    );
}

#[tokio::test]
async fn nothing_beyond_the_context_is_seen() {
    let lab = Lab::with("FROM scratch\nCOPY ../f /1\nCOPY out /2\nCOPY abs/f /3\n")
        .file("f", "inside")
        .link("out", "../../../../f")
        .link("abs", "/");
    std::fs::write(lab.dir().join("f"), "outside").unwrap();
    let image = lab.build().await;
    for path in ["1", "2", "3"] {
        assert_eq!(image.what(path), "644 0:0 inside", "{path}");
    }
}

#[tokio::test]
async fn target_directory_is_755_and_its_contents_keep_modes() {
    // Docker's BuildKit makes the same of this context.
    let lab = Lab::with(
        "FROM scratch\nCOPY dir /copied\nCOPY dir/ /slash/\nADD dir /added\nCOPY --chown=5:6 dir /owned\nCMD [\"/x\"]\n",
    )
    .file("dir/one", "1")
    .file("dir/sub/two", "2");
    for (path, mode) in [("dir", 0o700), ("dir/one", 0o600), ("dir/sub", 0o711)] {
        fs::set_permissions(lab.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let image = lab.build().await;
    for (target, owner) in [
        ("copied", "0:0"),
        ("slash", "0:0"),
        ("added", "0:0"),
        ("owned", "5:6"),
    ] {
        assert_eq!(image.what(&format!("{target}/")), format!("755 {owner}"));
        assert_eq!(
            image.what(&format!("{target}/one")),
            format!("600 {owner} 1")
        );
        assert_eq!(
            image.what(&format!("{target}/sub/")),
            format!("711 {owner}")
        );
    }
}
