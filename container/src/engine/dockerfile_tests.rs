//! Base images and lines, without any engine.

use super::*;

fn request(args: &[(&str, &str)], target: Option<&str>) -> BuildRequest {
    let mut request = BuildRequest::new("/nowhere");
    request.platform = "linux/arm64".parse().unwrap();
    request.target = target.map(str::to_owned);
    request.args = args
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    request
}

fn found(text: &str, args: &[(&str, &str)], target: Option<&str>) -> Vec<String> {
    let engine = "linux/amd64".parse().unwrap();
    bases(text, &request(args, target), &engine)
        .iter()
        .map(|base| format!("{} {}", base.reference, base.platform))
        .collect()
}

const STAGES: &str = "\
# syntax=docker/dockerfile:1
ARG TAG=3.20 OTHER
ARG IMAGE=\"quay.io/x/y\"
FROM --platform=$BUILDPLATFORM rust:${TAG} AS build
RUN --mount=type=bind,from=ghcr.io/z/tool:2,target=/t make
FROM unused AS never
FROM ${IMAGE}${OTHER:+-$OTHER} AS other
FROM scratch
COPY --from=build /a /a
COPY --from=2 /b /b
COPY --from=busybox:musl /bin/sh /bin/sh
";

#[test]
fn bases_are_those_of_the_stages_that_are_needed() {
    assert_eq!(
        found(STAGES, &[], None),
        [
            "busybox:musl linux/arm64",
            "docker/dockerfile:1 linux/amd64",
            "ghcr.io/z/tool:2 linux/amd64",
            "quay.io/x/y linux/arm64",
            "rust:3.20 linux/amd64",
        ]
    );
    assert_eq!(
        found(STAGES, &[("TAG", "1.95"), ("OTHER", "q")], Some("other")),
        [
            "docker/dockerfile:1 linux/amd64",
            "quay.io/x/y-q linux/arm64"
        ]
    );
}

#[test]
fn nothing_is_pulled_for_scratch_or_for_what_cannot_be_read() {
    assert!(found("FROM scratch\nCOPY a /a\n", &[], None).is_empty());
    assert!(found("FROM ${A:?no}\n", &[], None).is_empty());
    assert!(found("FORM x\n", &[], None).is_empty());
    assert!(found("FROM x AS a\n", &[], Some("missing")).is_empty());
}

#[test]
fn registries_and_tags_are_dockers() {
    let base = |reference: &str| Base {
        reference: reference.into(),
        platform: "linux/amd64".into(),
    };
    for (reference, registry, tagged) in [
        ("rust", "docker.io", "rust:latest"),
        ("me/app:1", "docker.io", "me/app:1"),
        ("localhost/app", "localhost", "localhost/app:latest"),
        (
            "127.0.0.1:5000/app",
            "127.0.0.1:5000",
            "127.0.0.1:5000/app:latest",
        ),
        ("ghcr.io/a/b@sha256:0", "ghcr.io", "ghcr.io/a/b@sha256:0"),
    ] {
        assert_eq!(base(reference).registry(), registry);
        assert_eq!(base(reference).tagged(), tagged);
    }
}

const LINES: &str = "\
ARG A=1
FROM scratch AS base
COPY a /a

# a comment
RUN echo one && \\
    # in between
    echo two
run echo three
FROM other
WORKDIR /x
ENV B=2
RUN echo one
RUN echo one
";

fn line(text: &str, place: InstructionPosition) -> Option<usize> {
    line_of(
        LINES,
        &Step {
            text: text.into(),
            place,
        },
    )
}

#[test]
fn every_engines_count_leads_to_the_line() {
    assert_eq!(
        line("RUN echo one && echo two", InstructionPosition::Nth(4)),
        Some(6)
    );
    assert_eq!(line("RUN echo three", InstructionPosition::Nth(5)), Some(9));
    // `scratch` is not a layer, another base image is; ENV creates none.
    let stage = |name: &str, nth| InstructionPosition::InStage(Some(name.into()), nth);
    assert_eq!(line("COPY a /a", stage("base", 1)), Some(3));
    assert_eq!(line("RUN echo one && echo two", stage("base", 2)), Some(6));
    assert_eq!(line("WORKDIR /x", stage("stage-1", 2)), Some(11));
    assert_eq!(line("RUN echo one", stage("stage-1", 4)), Some(14));
    assert_eq!(
        line("RUN echo one && echo two", InstructionPosition::ByText),
        Some(6)
    );
}

#[test]
fn no_line_is_better_than_a_wrong_one() {
    assert_eq!(line("RUN echo one", InstructionPosition::ByText), None);
    assert_eq!(line("RUN x", InstructionPosition::Nth(1)), None);
    assert_eq!(line("RUN x", InstructionPosition::Nth(0)), None);
    assert_eq!(line("RUN x", InstructionPosition::Nth(99)), None);
    assert_eq!(
        line(
            "RUN x",
            InstructionPosition::InStage(Some("other".into()), 1)
        ),
        None
    );
    assert_eq!(line("", InstructionPosition::Nth(4)), None);
}

#[test]
fn that_nothing_can_be_started_is_said_only_when_it_is_certain() {
    let engine = "linux/amd64".parse().unwrap();
    let line = |text, args, target| without_command(text, &request(args, target), &engine);
    assert_eq!(line("FROM scratch\nRUN make\n", &[], None), Some(1));
    let named = "FROM scratch AS a\nCOPY . /\n\nFROM A\nRUN x\nFROM scratch AS b\nCMD x\n";
    assert_eq!(line(named, &[], None), None);
    assert_eq!(line(named, &[], Some("a")), Some(1));
    let upon = "ARG BASE=scratch\nFROM ${BASE} AS a\n\n# again\nFROM a\nRUN x\n";
    assert_eq!(line(upon, &[], None), Some(5));
    assert_eq!(line(upon, &[("BASE", "alpine")], None), None);
    for uncertain in [
        "FROM alpine\nRUN x\n",
        "FROM scratch AS a\nENTRYPOINT [\"/x\"]\nFROM a\nRUN x\n",
        "FROM scratch AS a\nONBUILD CMD x\nFROM a\nRUN x\n",
        "# syntax=example.com/other\nFROM scratch\n",
        "FROM scratch AS a\nFROM 0\n",
        "FROM ${A?x}\n",
        "no Dockerfile\n",
        "",
    ] {
        assert_eq!(line(uncertain, &[], None), None, "{uncertain}");
    }
    assert_eq!(line("FROM scratch\n", &[], Some("gone")), None);
}
