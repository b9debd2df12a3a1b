//! Recorded messages of engines (Docker 20.10 and 26.1, Podman 4.3), and their results.

use std::sync::Mutex;

use super::*;
use crate::engine::trace::{Moment, VertexLog};

/// The emitted lines, and the result.
fn follow(messages: &[&str]) -> (Vec<String>, Outcome) {
    let lines = Mutex::new(Vec::new());
    let output = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let mut progress = Progress::new(&output);
    for message in messages {
        progress.take(&serde_json::from_str(message).unwrap());
    }
    let outcome = progress.finish();
    (lines.into_inner().unwrap(), outcome)
}

const CLASSIC: &[&str] = &[
    r#"{"stream":"Step 1/4 : FROM scratch"}"#,
    r#"{"stream":"\n"}"#,
    r#"{"stream":" ---\u003e \n"}"#,
    r#"{"stream":"Step 2/4 : COPY busybox /bin/sh"}"#,
    r#"{"stream":"\n"}"#,
    r#"{"stream":" ---\u003e Using cache\n"}"#,
    r#"{"stream":" ---\u003e ac3fdd286c9b\n"}"#,
    r#"{"stream":"Step 3/4 : ARG WHO=x"}"#,
    r#"{"stream":"\n"}"#,
    r#"{"stream":" ---\u003e Running in 98d7546435de\n"}"#,
    r#"{"stream":"Removing intermediate container 98d7546435de\n"}"#,
    r#"{"stream":" ---\u003e 4106e0c4a1c6\n"}"#,
    r#"{"stream":"Step 4/4 : RUN echo \"hello $WHO\" \u0026\u0026     echo 'line two' \u003e\u00262 \u0026\u0026 exit 3"}"#,
    r#"{"stream":"\n"}"#,
    r#"{"stream":" ---\u003e Running in a4caa92f4fb9\n"}"#,
    r#"{"stream":"\u001b[91mline two\n\u001b[0m"}"#,
    r#"{"stream":"hello you\n"}"#,
    r#"{"stream":"Removing intermediate container a4caa92f4fb9\n"}"#,
    r#"{"stream":" ---\u003e Removed intermediate container a4caa92f4fb9\n"}"#,
    r#"{"errorDetail":{"code":3,"message":"The command '/bin/sh -c exit 3' returned a non-zero code: 3"},"error":"The command '/bin/sh -c exit 3' returned a non-zero code: 3"}"#,
];

#[test]
fn the_classic_builders_failing_step_is_found() {
    let (lines, outcome) = follow(CLASSIC);
    assert_eq!(
        lines,
        [
            "Step 1/4 : FROM scratch",
            "Step 2/4 : COPY busybox /bin/sh",
            "Step 3/4 : ARG WHO=x",
            "Step 4/4 : RUN echo \"hello $WHO\" &&     echo 'line two' >&2 && exit 3",
            "line two",
            "hello you",
        ]
    );
    assert_eq!(
        outcome,
        Outcome::Failed {
            step: Some(Step {
                text: "RUN echo \"hello $WHO\" && echo 'line two' >&2 && exit 3".into(),
                place: InstructionPosition::Nth(4),
            }),
            message: "The command '/bin/sh -c exit 3' returned a non-zero code: 3".into(),
            output: vec!["line two".into(), "hello you".into()],
        }
    );
}

#[test]
fn podmans_failing_step_is_found() {
    let (lines, outcome) = follow(&[
        r#"{"stream":"[1/2] STEP 1/2: FROM scratch AS base\n"}"#,
        r#"{"stream":"[1/2] STEP 2/2: RUN make\n"}"#,
        r#"{"stream":"--\u003e Using cache d4d290119df9081b1ff7bdce209cebdaa9f4725c6a20d2da5ae672a2ba55a14e\n"}"#,
        r#"{"stream":"--\u003e d4d290119df\n"}"#,
        r#"{"stream":"[2/2] STEP 2/2: RUN cc a.c\n"}"#,
        r#"{"stream":"--\u003e src/a.c:1:1\n"}"#,
        r#"{"stream":"no good"}"#,
        r#"{"errorDetail":{"message":"building at STEP \"RUN cc a.c\": while running runtime: exit status 3\n"},"error":"x"}"#,
    ]);
    assert_eq!(lines.last().unwrap(), "no good");
    let Outcome::Failed {
        step,
        message,
        output,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        step,
        Some(Step {
            text: "RUN cc a.c".into(),
            place: InstructionPosition::ByText,
        })
    );
    assert_eq!(
        message,
        "building at STEP \"RUN cc a.c\": while running runtime: exit status 3"
    );
    // A compiler's output is not mistaken for Podman's own lines.
    assert_eq!(output, ["--> src/a.c:1:1", "no good"]);
}

#[test]
fn the_last_image_is_the_one() {
    let (_, outcome) = follow(&[
        r#"{"aux":{"ID":"sha256:1"}}"#,
        r#"{"stream":"Step 5/5 : CMD x\n"}"#,
        r#"{"aux":{"ID":"sha256:2"}}"#,
        r#"{"stream":"Successfully built 5a2a4a1b2df4\n"}"#,
    ]);
    assert_eq!(outcome, Outcome::Image("sha256:2".into()));
}

#[test]
fn messages_that_just_end_are_no_image() {
    assert_eq!(follow(&CLASSIC[..15]).1, Outcome::Unfinished);
    assert_eq!(follow(&[]).1, Outcome::Unfinished);
}

#[test]
fn only_the_last_lines_are_kept_for_the_error() {
    let mut messages = vec![r#"{"stream":"Step 1/1 : RUN x\n"}"#.to_owned()];
    messages.extend((0..100).map(|i| format!(r#"{{"stream":"line {i}\n"}}"#)));
    messages.push(r#"{"error":"no"}"#.to_owned());
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let (lines, outcome) = follow(&messages);
    assert_eq!(lines.len(), 101);
    let Outcome::Failed { output, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(output.len(), TAIL);
    assert_eq!(output[0], "line 70");
}

#[test]
fn lines_are_put_together_and_overwritten_ones_are_dropped() {
    let mut lines = Lines::default();
    assert!(
        lines
            .push("half \u{e4}".as_bytes().split_last().unwrap().1)
            .is_empty()
    );
    assert_eq!(
        lines.push(&[
            0xa4, b'\n', b'1', b'%', b'\r', b'9', b'%', b'\r', b'\n', b'x'
        ]),
        ["half \u{e4}", "9%"]
    );
    assert_eq!(lines.rest().as_deref(), Some("x"));
    assert_eq!(lines.rest(), None);
}

/// A BuildKit report as the engine sends it.
fn report(vertexes: Vec<Vertex>, logs: &[(&str, &str)]) -> String {
    let logs = logs
        .iter()
        .map(|(vertex, text)| VertexLog {
            vertex: (*vertex).into(),
            msg: text.as_bytes().to_vec(),
        })
        .collect();
    let report = StatusResponse {
        vertexes,
        logs,
        warnings: Vec::new(),
    };
    let aux = base64::engine::general_purpose::STANDARD.encode(report.encode_to_vec());
    format!(r#"{{"id":"moby.buildkit.trace","aux":"{aux}"}}"#)
}

fn vertex(digest: &str, name: &str, error: &str) -> Vertex {
    Vertex {
        digest: digest.into(),
        name: name.into(),
        started: Some(Moment {}),
        error: error.into(),
        ..Vertex::default()
    }
}

#[test]
fn buildkits_failing_step_is_found_among_those_side_by_side() {
    let cached = Vertex {
        cached: true,
        ..vertex("a", "[a 1/2] COPY x /", "")
    };
    let reports = [
        report(vec![vertex("i", "[internal] load remote build context", ""), cached], &[]),
        report(vec![vertex("b", "[b 2/2] RUN cc", ""), vertex("c", "[c 2/2] RUN sleep 9", "")], &[]),
        report(Vec::new(), &[("b", "one\ntw"), ("c", "zzz\n"), ("b", "o\nthree")]),
        report(vec![vertex("c", "[c 2/2] RUN sleep 9", "process was stopped: context canceled")], &[]),
        report(vec![vertex("b", "[b 2/2] RUN cc", "exit code: 3")], &[]),
        r#"{"errorDetail":{"message":"process \"cc\" did not complete successfully: exit code: 3"},"error":"x"}"#.to_owned(),
    ];
    let reports: Vec<&str> = reports.iter().map(String::as_str).collect();
    let (lines, outcome) = follow(&reports);
    assert_eq!(
        lines,
        [
            "[a 1/2] COPY x / (cached)",
            "[b 2/2] RUN cc",
            "[c 2/2] RUN sleep 9",
            "[b 2/2] one",
            "[c 2/2] zzz",
            "[b 2/2] two",
            "[b 2/2] three",
        ]
    );
    assert_eq!(
        outcome,
        Outcome::Failed {
            step: Some(Step {
                text: "RUN cc".into(),
                place: InstructionPosition::InStage(Some("b".into()), 2),
            }),
            message: "process \"cc\" did not complete successfully: exit code: 3".into(),
            output: vec!["one".into(), "two".into(), "three".into()],
        }
    );
}

#[test]
fn a_report_in_an_unknown_form_does_not_end_the_build() {
    let (lines, outcome) = follow(&[
        r#"{"id":"moby.buildkit.trace","aux":"not base64 at all"}"#,
        r#"{"id":"moby.buildkit.trace","aux":"/////w=="}"#,
        r#"{"id":"moby.image.id","aux":{"ID":"sha256:2"}}"#,
    ]);
    assert!(lines.is_empty());
    assert_eq!(outcome, Outcome::Image("sha256:2".into()));
}

#[test]
fn labels_are_read() {
    let named = |stage: &str, nth| Some(InstructionPosition::InStage(Some(stage.into()), nth));
    assert_eq!(
        place_of_label("2/3"),
        Some(InstructionPosition::InStage(None, 2))
    );
    assert_eq!(place_of_label("build 2/3"), named("build", 2));
    assert_eq!(
        place_of_label("linux/arm64 stage-1 10/12"),
        named("stage-1", 10)
    );
    assert_eq!(
        place_of_label("linux/arm64 2/3"),
        Some(InstructionPosition::InStage(None, 2))
    );
    assert_eq!(place_of_label("internal"), None);
    assert_eq!(place_of_label("build context"), None);
}
