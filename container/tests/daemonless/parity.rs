//! The same Dockerfiles through Docker and without it: the same files, the same configuration.

use std::collections::BTreeMap;
use std::fs;

use landfall_container::engine::{Engine, Environment};
use landfall_container::{Builder as _, Digest, ImageConfig, Store};
use landfall_testkit::engines::Program;

use crate::support::{Lab, archive, gzip, look};

/// Dockerfiles whose result the reference leaves open, or says in words that are easily misread.
const DOCKERFILES: &[&str] = &[
    "FROM scratch\nCOPY a.txt /x\nCOPY a.txt /y/\nCOPY a.txt b.txt /z/\n",
    "FROM scratch\nCOPY . /\n",
    "FROM scratch\nWORKDIR /w\nCOPY dir .\nCOPY dir/sub sub2\nCOPY a.txt /w\nWORKDIR deep/er\nCOPY a.txt ../up\n",
    "FROM scratch\nCOPY to-file /1\nCOPY to-file /2/\nCOPY to-dir /3\nCOPY to-dir/two /4\nCOPY ../a.txt /5\n",
    "FROM scratch\nCOPY *.txt /x/\nCOPY d*r/s?b/* /y/\nCOPY di[r] /z/\nCOPY to-* /l/\nCOPY a.txt no.loc[k] /o/\n",
    "FROM scratch\nCOPY --chown=7:8 --chmod=640 dir/one /x/y/one\nCOPY --chown=5 dir /d\nCOPY --chmod=500 run.sh /run\n",
    "FROM scratch\nCOPY etc /etc\nCOPY --chown=web a.txt /1\nCOPY --chown=web:staff dir /2\nUSER web\nWORKDIR /home/web\n",
    "FROM scratch\nCOPY root /\nCOPY run.sh /bin/\nCOPY run.sh /bin/other\nCOPY run.sh /bin\nWORKDIR /bin/sub\nCOPY a.txt /link\n",
    "FROM scratch\nCOPY root /\nCOPY over /\nCOPY --chown=9 over /chowned\n",
    "FROM scratch\nCOPY --chown=9 --chmod=700 root /\nCOPY root /\nCOPY a.txt /target\n",
    "FROM scratch\nCOPY --chmod=711 over /x\nWORKDIR /x\nCOPY --chown=3:4 a.txt new/deep/\nADD --chown=1:2 a.tar new/\n",
    "FROM scratch\nADD a.tar /plain\nADD a.tgz /gz/\nADD text.gz /text\nCOPY a.tgz /\nADD dir /dir\n",
    "FROM scratch AS one\nCOPY --chown=5 --chmod=600 dir /in\nFROM scratch\nCOPY --from=one /in /all\nCOPY --from=0 in/one /named\nCOPY --from=ONE /in/s* /glob/\n",
    "FROM scratch\nCOPY a.txt /\nENV A=1 B=\"two words\" C=a\\ b\nENV A=2 D=$A${B} E='$A' F=\"\\$A\" G=${NONE:-x}${A:+y} H=\"q\\\"q\"\nENV OLD style  with spaces\nENV P=$D:${A}b\\\n  Q=r\n",
    "ARG G=g H\nFROM scratch\nCOPY a.txt /\nARG G H\nARG I=i J\nENV X=$G-$H-$I-$J\nLABEL x=$X \"k 1\"=\"v 1\" m='$X'\n",
    "FROM scratch\nEXPOSE 80 53/udp 8000-8001\nVOLUME /a /b\nVOLUME [\"/c d\"]\nSTOPSIGNAL SIGINT\nUSER 1:2\nMAINTAINER A B <c@d>\nCOPY a.txt /\n",
    "FROM scratch\nCOPY a.txt /\nENTRYPOINT echo $HOME \\\n  # comment\n  && true\nSHELL [\"/bin/bash\", \"-c\"]\nCMD run   it\nHEALTHCHECK --interval=1m30s --retries=2 CMD check   me\n",
    "FROM scratch\nCOPY a.txt /\nCMD [\"-v\"]\nENTRYPOINT [\"/app\", \"$A\"]\nHEALTHCHECK CMD [\"/app\", \"check\"]\n",
    "FROM scratch AS base\nCOPY a.txt /\nCMD [\"base\"]\nENV A=1\nWORKDIR /base\nFROM base\nENTRYPOINT [\"/app\"]\nENV B=$A\nCOPY b.txt .\n",
    "# escape=`\nFROM scratch\nENV A=b\\c `\n  D=e\nCOPY a.txt `\n  /x\n",
    "FROM scratch\nCOPY dir /x\nCOPY dir/sub /x\nCOPY a.txt /x/one\nCOPY --chmod=700 empty /x/sub\n",
];

fn lab(dockerfile: &str) -> Lab {
    let tar = archive(&[
        ("top/", "", 0o750, 5),
        ("top/file", "T", 0o600, 5),
        ("top/link", "-> file", 0o777, 5),
    ]);
    Lab::with(dockerfile)
        .file(".dockerignore", "**/*.log\n!keep.log\n")
        .file("a.txt", "A")
        .file("b.txt", "B")
        .file("noise.log", "no")
        .file("keep.log", "yes")
        .program("run.sh")
        .file("dir/one", "1")
        .file("dir/sub/two", "2")
        .file("dir/noise.log", "no")
        .directory("empty")
        .link("dir/link", "one")
        .link("to-file", "dir/sub/two")
        .link("to-dir", "dir/sub")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:\n")
        .file("etc/group", "staff:x:50:\n")
        .directory("root/usr/bin")
        .link("root/bin", "usr/bin")
        .file("root/target", "old")
        .link("root/link", "target")
        .file("over/link", "a file where a link was")
        .link("over/target", "a link where a file was")
        .file("a.tar", &tar)
        .file("a.tgz", gzip(&tar))
        .file("text.gz", gzip(b"only text"))
}

/// The layers of an image over each other.
fn files(store: &Store, manifest: &Digest) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for layer in store.manifest(manifest).unwrap().layers() {
        let mut bytes = fs::read(store.blob_path(layer.digest())).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            std::io::copy(
                &mut flate2::read::MultiGzDecoder::new(bytes.as_slice()),
                &mut plain,
            )
            .unwrap();
            bytes = plain;
        }
        files.extend(look(bytes.as_slice()));
    }
    // Some builders write the root directory itself.
    files.remove("/");
    files.remove("./");
    files
}

/// What of a configuration decides how a container runs, one line for each setting.
fn settings(config: &ImageConfig) -> String {
    let mut config = config.clone();
    // Docker gives every image a PATH and a working directory; without them a container has the same.
    if config.config.working_dir.is_empty() {
        config.config.working_dir = "/".to_owned();
    }
    config.config.env.retain(|pair| !pair.starts_with("PATH="));
    let process = serde_json::to_string_pretty(&config.config).unwrap();
    format!("{} by {}\n{process}", config.platform(), config.author)
}

#[tokio::test]
async fn needs_docker_buildkit_and_daemonless_make_the_same() {
    let docker = Program::Docker
        .start()
        .unwrap_or_else(|reason| panic!("{reason}"));
    let environment = Environment {
        docker_host: Some(docker.docker_host()),
        ..Environment::default()
    };
    let engine = Engine::connect(&environment).await.unwrap();
    assert!(engine.uses_buildkit());
    let mut differences = Vec::new();
    for dockerfile in DOCKERFILES {
        let lab = lab(dockerfile);
        let ours = lab.build().await;
        let theirs = match engine.build(&lab.request, &lab.store, &|_| {}).await {
            Ok(built) => built,
            Err(error) => {
                differences.push(format!(
                    "=== {dockerfile}\nonly Docker refuses it: {error}\n"
                ));
                continue;
            }
        };
        let (left, right) = (
            files(&lab.store, &ours.built.manifest_digest),
            files(&lab.store, &theirs.manifest_digest),
        );
        let mut text = String::new();
        for path in left
            .keys()
            .chain(right.keys())
            .collect::<std::collections::BTreeSet<_>>()
        {
            if left.get(path) != right.get(path) {
                text.push_str(&format!(
                    "{path}: {:?}, Docker {:?}\n",
                    left.get(path),
                    right.get(path)
                ));
            }
        }
        let (left, right) = (
            settings(&ours.config),
            settings(&lab.store.config(&theirs.config_digest).unwrap()),
        );
        if left != right {
            text.push_str(&format!("--- ours\n{left}\n--- Docker's\n{right}\n"));
        }
        if !text.is_empty() {
            differences.push(format!("=== {dockerfile}\n{text}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.concat());
}
