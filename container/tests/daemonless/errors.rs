//! The exact errors for Dockerfiles that cannot be built.

use landfall_container::{BuildRequest, Error};

use crate::support::{Lab, archive, gzip};

#[tokio::test]
async fn run_names_its_line_and_what_to_do() {
    let lab = Lab::with("FROM scratch\nCOPY . /\n\nRUN make \\\n  install\n");
    assert_eq!(
        lab.fail().await,
        "Dockerfile:4: RUN needs a container engine, and none is used: the daemonless builder executes nothing\n  \
         4 | RUN make \\\n  \
         hint: install and start Docker (Debian: apt-get install docker.io) or Podman (apt-get install podman, then \
         systemctl --user start podman.socket), or build the program before the image and COPY it"
    );
}

#[tokio::test]
async fn run_in_a_stage_that_nobody_needs_is_no_matter() {
    let lab = Lab::with("FROM nowhere.invalid/x AS unused\nRUN make\nFROM scratch\nCOPY f /\n")
        .file("f", "x");
    assert_eq!(lab.build().await.paths(), ["f"]);
}

#[tokio::test]
async fn a_missing_file_names_the_path_looked_at() {
    let lab = Lab::new();
    let error = lab.try_build().await.unwrap_err();
    assert!(
        matches!(&error, Error::DockerfileMissing { path } if *path == lab.path("Dockerfile")),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!(
            "there is no Dockerfile at {}/Dockerfile; name it with `dockerfile`, relative to the context",
            lab.request.context.display()
        )
    );
    let mut lab = Lab::new().file("app/Dockerfile", "FROM scratch\n");
    lab.request = BuildRequest::new(lab.path("nowhere"));
    assert_eq!(
        lab.try_build().await.unwrap_err().to_string(),
        format!(
            "the build context {} is not a directory",
            lab.request.context.display()
        )
    );
}

#[tokio::test]
async fn every_fault_points_at_its_line() {
    let copy_hint = "paths are relative to the build context, and files that the ignore file excludes cannot be copied";
    // (Dockerfile, line, problem, hint)
    let table: &[(&str, usize, &str, Option<&str>)] = &[
        ("", 1, "expected at least one FROM instruction", None),
        (
            "COPY a /\nFROM scratch",
            1,
            "an instruction before the first FROM",
            None,
        ),
        (
            "FROM scratch\nCPOY a /",
            2,
            "unknown instruction 'CPOY'",
            None,
        ),
        (
            "FROM scratch\nCOPY a",
            2,
            "COPY instruction requires at least two arguments",
            None,
        ),
        (
            "FROM scratch\nCOPY gone /",
            2,
            "\"gone\" is not there",
            Some(copy_hint),
        ),
        (
            "FROM scratch\nCOPY f gone /x/",
            2,
            "\"gone\" is not there",
            Some(copy_hint),
        ),
        (
            "FROM scratch\nCOPY ignored /",
            2,
            "\"ignored\" is not there",
            Some(copy_hint),
        ),
        (
            "FROM scratch\nCOPY dangling /",
            2,
            "\"dangling\" is not there",
            Some(copy_hint),
        ),
        (
            "FROM scratch\nCOPY ../gone /",
            2,
            "\"../gone\" is not there",
            Some("a leading .. is taken off: nothing outside the build context can be copied"),
        ),
        (
            "FROM scratch\nCOPY a[ /",
            2,
            "a[ is not a pattern: a [ has no matching ]",
            None,
        ),
        (
            "FROM scratch\nCOPY loop /",
            2,
            "/loop leads through too many symbolic links",
            None,
        ),
        (
            "FROM scratch\nCOPY f g /x",
            2,
            "several sources do not fit into the one file /x",
            Some("end it with a /: /x/"),
        ),
        (
            "FROM scratch\nCOPY [fg] /x",
            2,
            "several sources do not fit into the one file /x",
            Some("end it with a /: /x/"),
        ),
        (
            "FROM scratch\nCOPY f /x\nCOPY f /x/y",
            3,
            "/x is not a directory",
            None,
        ),
        (
            "FROM scratch\nCOPY d /x/f\nCOPY . /x",
            3,
            "/x/f is a directory and cannot be replaced by a file",
            None,
        ),
        (
            "FROM scratch\nCOPY f /x/d\nCOPY . /x",
            3,
            "/x/d is not a directory and cannot be replaced by one",
            None,
        ),
        (
            "FROM scratch\nCOPY --chown=web f /",
            2,
            "there is no user \"web\" in the image's /etc/passwd",
            Some("a number needs no such file"),
        ),
        (
            "FROM scratch\nCOPY --chown=1:web f /",
            2,
            "there is no group \"web\" in the image's /etc/group",
            Some("a number needs no such file"),
        ),
        (
            "FROM scratch\nCOPY --chmod=u+q f /",
            2,
            "\"u+q\" is not a mode, such as 0755 or u=rwX,go=rX",
            None,
        ),
        (
            "FROM scratch\nCOPY --chwon=1 f /",
            2,
            "there is no flag --chwon here; known: --chown, --chmod, --from, --link, --parents, --exclude",
            None,
        ),
        (
            "FROM scratch\nCOPY --chown f /",
            2,
            "--chown needs a value",
            None,
        ),
        (
            "FROM scratch\nCOPY --from=0 f /",
            2,
            "there is no earlier stage with the number 0",
            None,
        ),
        (
            "FROM scratch\nCOPY --from=$X f /",
            2,
            "--from takes no variables",
            Some("name a stage with FROM ${…} AS name, and copy from that"),
        ),
        (
            "FROM scratch AS a\nFROM scratch\nCOPY --from=a f /",
            3,
            "\"f\" is not there",
            Some(copy_hint),
        ),
        (
            "FROM scratch\nADD https://example.com/x /",
            2,
            "ADD of https://example.com/x would fetch it, and the daemonless builder fetches nothing but base images",
            Some("download it before the build and COPY it, or build with a container engine"),
        ),
        (
            "FROM scratch\nCOPY <<EOF /x\nnever ends\n",
            2,
            "the here-document EOF has no end: no line is EOF alone",
            None,
        ),
        (
            "FROM scratch\nENV A",
            2,
            "A has no value; write A=value",
            None,
        ),
        (
            "FROM scratch\nENV A=1 B",
            2,
            "B has no value; write B=value, or quote a value that has spaces",
            None,
        ),
        ("FROM scratch\nENV A='x", 2, "a ' has no matching '", None),
        ("FROM scratch\nENV A=${B", 2, "${B lacks its }", None),
        (
            "FROM scratch\nARG V\nLABEL v=\"${V:?give a version}\"",
            3,
            "V: give a version",
            None,
        ),
        (
            "FROM scratch\n\n# comment\nEXPOSE 70000",
            4,
            "\"70000\" is not a port; write a number from 1 to 65535, or 80/udp, or 8000-8010",
            None,
        ),
        (
            "FROM scratch\nSTOPSIGNAL SIGNOPE",
            2,
            "\"SIGNOPE\" is not a signal; write a name such as SIGTERM or a number from 1 to 64",
            None,
        ),
        (
            "FROM scratch\nVOLUME [\"\"]",
            2,
            "VOLUME names an empty path",
            None,
        ),
        (
            "FROM scratch\nHEALTHCHECK --interval=5 CMD x",
            2,
            "\"5\" is not a duration such as 30s, 1m30s or 500ms",
            None,
        ),
        (
            "FROM scratch\nSHELL bash",
            2,
            "SHELL takes a JSON list only, such as [\"/bin/sh\", \"-c\"]",
            None,
        ),
        (
            "FROM scratch AS a\nCOPY --from=b f /\nFROM scratch AS b\nCOPY f /\nFROM a",
            2,
            "the stage \"b\" comes later, and a stage can copy from earlier ones only",
            Some(
                "put the stage that is copied from first; to copy from an image of that name, write its tag too, such as name:latest",
            ),
        ),
        (
            "FROM scratch\nONBUILD COPY . /",
            2,
            "ONBUILD needs a container engine: the daemonless builder leaves nothing for later builds",
            Some("put the instruction into the Dockerfiles that build upon this image"),
        ),
        (
            "FROM $BASE",
            1,
            "$BASE is empty, so there is no image to build on",
            Some("give the ARG before FROM a default, or pass it as a build argument"),
        ),
        (
            "FROM --platform=amd64 scratch",
            1,
            "\"amd64\" is not a platform; write os/architecture, such as linux/amd64 or linux/arm64",
            None,
        ),
        (
            "FROM --platform=windows/amd64 mcr.example/nanoserver",
            1,
            "\"windows/amd64\" cannot run: instances run Linux",
            Some("write --platform=linux/amd64"),
        ),
        (
            "ARG OS=windows\nFROM --platform=$OS/arm64 scratch",
            2,
            "\"windows/arm64\" cannot run: instances run Linux",
            Some("write --platform=linux/arm64"),
        ),
        (
            "FROM --pull scratch",
            1,
            "there is no flag --pull here; known: --platform",
            None,
        ),
        (
            "FROM scratch\nENV A=1\rLABEL b=c",
            2,
            "a carriage return that ends no line",
            Some("save the file with Unix or Windows line ends"),
        ),
    ];
    let mut wrong = Vec::new();
    for (dockerfile, line, problem, hint) in table {
        let lab = Lab::with(dockerfile)
            .file(
                ".dockerignore",
                "ignored\n*.tar.xz\n!a.tar.xz\nloop\ndangling\n!loop\n!dangling\n",
            )
            .file("f", "x")
            .file("g", "x")
            .file("d/x", "x")
            .file("ignored", "x")
            .file("a.tar.xz", b"\xfd7zXZ\0 and so on")
            .link("dangling", "gone")
            .link("loop", "loop");
        let text = dockerfile.lines().nth(line - 1).unwrap_or_default();
        let mut desired = format!("Dockerfile:{line}: {problem}\n  {line} | {text}");
        if let Some(hint) = hint {
            desired.push_str(&format!("\n  hint: {hint}"));
        }
        let got = lab.fail().await;
        if got != desired {
            wrong.push(format!("--- wanted\n{desired}\n--- got\n{got}\n"));
        }
        // Also before anything is created.
        let got = lab.check().await.unwrap_or_default();
        if got != desired {
            wrong.push(format!("--- wanted\n{desired}\n--- checked\n{got}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[tokio::test]
async fn a_target_that_is_not_there_lists_those_that_are() {
    let lab = Lab::with("FROM scratch AS Build\nFROM scratch AS web\n").target("wbe");
    assert_eq!(
        lab.fail().await,
        "Dockerfile:2: no stage is named \"wbe\", which is the target\n  2 | FROM scratch AS web\n  hint: its stages are build, web"
    );
    let lab = Lab::with("FROM scratch\n").target("web");
    assert_eq!(
        lab.fail().await,
        "Dockerfile:1: no stage is named \"web\", which is the target\n  1 | FROM scratch\n  hint: no stage has a name; give one with FROM … AS name"
    );
}

#[tokio::test]
async fn an_archive_that_leads_out_is_refused() {
    let mut evil = archive(&[("xx/evil", "boo", 0o644, 0)]);
    // The tar crate refuses to write such a name; rewrite it, and its checksum.
    evil[..7].copy_from_slice(b"../evil");
    evil[148..156].copy_from_slice(b"        ");
    let sum: u32 = evil[..512].iter().map(|b| u32::from(*b)).sum();
    evil[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let lab = Lab::with("FROM scratch\nADD evil.tar /\n").file("evil.tar", evil);
    assert_eq!(
        lab.fail().await,
        "Dockerfile:2: the archive contains ../evil, which points outside of it\n  2 | ADD evil.tar /"
    );
}

#[tokio::test]
async fn an_archive_that_unpacks_to_too_much_is_refused() {
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(17 << 30);
    header.set_cksum();
    let lab = Lab::with("FROM scratch\nADD zeros.tar.gz /\n")
        .file("zeros.tar.gz", gzip(header.as_bytes()));
    assert_eq!(
        lab.fail().await,
        "Dockerfile:2: the archive cannot be unpacked: it unpacks to more than 16384 MiB, the limit\n  \
         2 | ADD zeros.tar.gz /"
    );
}

#[tokio::test]
async fn variables_are_bounded_together() {
    for instruction in ["ENV", "ARG"] {
        let long = "x".repeat(100 << 10);
        let dockerfile = |count: usize| {
            let lines: String = (0..count)
                .map(|number| format!("{instruction} A{number}=$X\n"))
                .collect();
            format!("FROM scratch\nARG X={long}\n{lines}")
        };
        let lab = Lab::with(&dockerfile(9));
        lab.build().await;
        let lab = Lab::with(&dockerfile(12));
        assert_eq!(
            lab.fail().await,
            format!(
                "Dockerfile:12: the variables of ENV and ARG are larger than 1 MiB together, the limit\n  \
                 12 | {instruction} A9=$X"
            )
        );
    }
}

#[tokio::test]
async fn a_bad_ignore_file_names_its_line() {
    let lab = Lab::with("FROM scratch\n").file(".dockerignore", "ok\n!\n");
    assert_eq!(
        lab.fail().await,
        ".dockerignore:2: \"!\" is not a pattern: there is nothing after the !"
    );
}

#[tokio::test]
async fn a_bad_epoch_is_refused() {
    let lab = Lab::with("FROM scratch\n").arg("SOURCE_DATE_EPOCH", "yesterday");
    assert_eq!(
        lab.fail().await,
        "the build argument SOURCE_DATE_EPOCH cannot be used: \"yesterday\" is not a number of seconds since 1970"
    );
}
