//! Every instruction except `COPY` and `ADD`.

use crate::support::{Lab, PATH};

#[tokio::test]
async fn the_smallest_image_is_a_program() {
    let lab = Lab::with("FROM scratch\nCOPY app /app\nENTRYPOINT [\"/app\"]\n").program("app");
    let image = lab.build().await;
    assert_eq!(image.what("app"), "755 0:0 program");
    assert_eq!(image.paths(), ["app"]);
    assert_eq!(image.config.command("x").unwrap(), ["/app"]);
    assert_eq!(
        image.config.created.as_deref(),
        Some("1970-01-01T00:00:00Z")
    );
    assert_eq!(image.config.platform(), lab.request.platform);
    assert_eq!(image.built.builder.as_deref(), Some("daemonless"));
    assert_eq!(image.built.source, lab.request.identity().unwrap());
    assert_eq!(
        lab.lines.lock().unwrap()[..3],
        [
            "[stage 0 1/3] FROM scratch",
            "[stage 0 2/3] COPY app /app",
            "[stage 0 3/3] ENTRYPOINT [\"/app\"]"
        ]
    );
    let history: Vec<_> = image
        .config
        .history
        .iter()
        .map(|step| (step.created_by.as_str(), step.empty_layer))
        .collect();
    assert_eq!(
        history,
        [("COPY app /app", false), ("ENTRYPOINT [\"/app\"]", true)]
    );
}

#[tokio::test]
async fn env_is_ordered_replaced_and_expanded_line_by_line() {
    let lab = Lab::with(
        "FROM scratch\nENV A=1 B=\"two words\" C=a\\ b\nENV A=2 D=$A${B}\nENV OLD style with spaces\nENV E='$A' F=\"\\$A\" \\\n  G=${NONE:-x}${A:+y}\n",
    );
    assert_eq!(
        lab.build().await.config.config.env,
        [
            PATH,
            "A=2",
            "B=two words",
            "C=a b",
            "D=1two words",
            "OLD=style with spaces",
            "E=$A",
            "F=$A",
            "G=xy"
        ]
    );
}

#[tokio::test]
async fn args_come_from_the_request_the_line_or_before_from() {
    let lab = Lab::with(
        "ARG GLOBAL=g UNSEEN=u\nFROM scratch\nARG GLOBAL\nARG LINE=l\nARG GIVEN=line NONE\nENV X=$GLOBAL-$UNSEEN-$LINE-$GIVEN-${NONE-unset}\nARG X=arg\nLABEL x=$X\n",
    )
    .arg("GIVEN", "request")
    .arg("STRAY", "1");
    let image = lab.build().await;
    assert_eq!(image.config.config.env, [PATH, "X=g--l-request-unset"]);
    assert_eq!(
        image.config.config.labels["x"], "arg",
        "the last one that sets it counts"
    );
    let lines = lab.lines.lock().unwrap();
    assert!(
        lines.contains(&"the build argument STRAY is not used: no ARG names it".to_owned()),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains("GIVEN is not used")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn the_platform_is_there_for_whoever_asks() {
    let mut lab = Lab::with(
        "FROM --platform=$TARGETPLATFORM scratch\nARG TARGETARCH TARGETOS TARGETVARIANT\nLABEL p=$TARGETOS-$TARGETARCH-$TARGETVARIANT q=$BUILDARCH\n",
    );
    lab.request.platform = "linux/arm/v7".parse().unwrap();
    let image = lab.build().await;
    assert_eq!(image.config.config.labels["p"], "linux-arm-v7");
    assert_eq!(
        image.config.config.labels["q"], "",
        "without ARG it is not there"
    );
    assert_eq!(image.config.platform().to_string(), "linux/arm/v7");
}

#[tokio::test]
async fn workdir_adds_up_and_makes_directories() {
    let lab = Lab::with("FROM scratch\nENV D=sub\nWORKDIR /a/b\nWORKDIR ../c/$D\nCOPY f .\nUSER 7:8\nWORKDIR /home/u\n").file("f", "x");
    let image = lab.build().await;
    assert_eq!(image.config.config.working_dir, "/home/u");
    assert_eq!(
        image.paths(),
        [
            "a/",
            "a/b/",
            "a/c/",
            "a/c/sub/",
            "a/c/sub/f",
            "home/",
            "home/u/"
        ]
    );
    assert_eq!(image.what("a/b/"), "755 0:0");
    assert_eq!(
        image.what("home/u/"),
        "755 7:8",
        "the user of the moment owns it"
    );
}

#[tokio::test]
async fn settings_go_into_the_configuration() {
    let lab = Lab::with(
        "FROM scratch\nMAINTAINER Some One <one@example.com>\nLABEL a=1 \"b c\"=\"d e\"\nARG P=9000\nEXPOSE 80 53/udp 8000-8001 $P\nUSER web:staff\nVOLUME /data /logs\nVOLUME [\"/with space\"]\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s --timeout=1s --start-period=2s --retries=4 CMD [\"/app\", \"check\"]\nCMD [\"-v\", \"a b\"]\n",
    );
    let config = lab.build().await.config;
    assert_eq!(config.author, "Some One <one@example.com>");
    let config = config.config;
    assert_eq!(
        config
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>(),
        ["a=1", "b c=d e"]
    );
    assert_eq!(
        config.exposed_ports.keys().collect::<Vec<_>>(),
        ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "9000/tcp"]
    );
    assert_eq!(config.user, "web:staff");
    assert_eq!(
        config.volumes.keys().collect::<Vec<_>>(),
        ["/data", "/logs", "/with space"]
    );
    assert_eq!(config.stop_signal, "SIGINT");
    let healthcheck = config.healthcheck.unwrap();
    assert_eq!(healthcheck.test, ["CMD", "/app", "check"]);
    assert_eq!(
        (healthcheck.interval, healthcheck.timeout),
        (5_000_000_000, 1_000_000_000)
    );
    assert_eq!(
        (healthcheck.start_period, healthcheck.retries),
        (2_000_000_000, 4)
    );
    assert_eq!(config.cmd.unwrap(), ["-v", "a b"]);
    assert_eq!(config.entrypoint, None);
}

#[tokio::test]
async fn shell_forms_go_to_the_shell() {
    let lab = Lab::with(
        "FROM scratch\nENTRYPOINT echo $HOME \\\n  # said aloud\n  && true\nHEALTHCHECK CMD check me\nSHELL [\"/bin/bash\", \"-ec\"]\nCMD run it\n",
    );
    let config = lab.build().await.config.config;
    assert_eq!(
        config.entrypoint.unwrap(),
        ["/bin/sh", "-c", "echo $HOME   && true"]
    );
    assert_eq!(config.healthcheck.unwrap().test, ["CMD-SHELL", "check me"]);
    assert_eq!(config.cmd.unwrap(), ["/bin/bash", "-ec", "run it"]);
    assert_eq!(config.shell.unwrap(), ["/bin/bash", "-ec"]);

    let lab = Lab::with("FROM scratch\nHEALTHCHECK NONE\nCMD []\n");
    let config = lab.build().await.config.config;
    assert_eq!(config.healthcheck.unwrap().test, ["NONE"]);
    assert_eq!(config.cmd, None, "an empty list is none");
}

#[tokio::test]
async fn an_entrypoint_drops_the_bases_cmd_and_not_its_own() {
    let lab = Lab::with("FROM scratch AS base\nCMD [\"base\"]\nFROM base\nENTRYPOINT [\"/app\"]\n");
    assert_eq!(lab.build().await.config.command("x").unwrap(), ["/app"]);
    let lab = Lab::with("FROM scratch\nCMD [\"-v\"]\nENTRYPOINT [\"/app\"]\n");
    assert_eq!(
        lab.build().await.config.command("x").unwrap(),
        ["/app", "-v"]
    );
}

#[tokio::test]
async fn directives_line_ends_and_case_are_docker_s() {
    let lab = Lab::with(
        "# escape=`\r\nfrom scratch\r\nenv A=1 `\r\n  B=C:\\dir\r\n\r\n# comment\r\n  LABEL x=$A\r\n",
    );
    let config = lab.build().await.config.config;
    assert_eq!(config.env, [PATH, "A=1", "B=C:\\dir"]);
    assert_eq!(config.labels["x"], "1");
    let lab = Lab::with("\u{feff}# syntax=docker/dockerfile:1\nFROM scratch\nLABEL a=b\n");
    assert_eq!(lab.build().await.config.config.labels["a"], "b");
}

#[tokio::test]
async fn source_date_epoch_is_the_time_of_everything() {
    let lab = Lab::with("FROM scratch\nCOPY f /f\n")
        .file("f", "x")
        .arg("SOURCE_DATE_EPOCH", "1700000000");
    let image = lab.build().await;
    assert_eq!(
        image.config.created.as_deref(),
        Some("2023-11-14T22:13:20Z")
    );
    assert_eq!(
        image.config.history[0].created.as_deref(),
        Some("2023-11-14T22:13:20Z")
    );
    let manifest = lab.store.manifest(&image.built.manifest_digest).unwrap();
    let layer = std::fs::File::open(lab.store.blob_path(manifest.layers()[0].digest())).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer));
    assert_eq!(
        archive
            .entries()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .header()
            .mtime()
            .unwrap(),
        1_700_000_000
    );
}
