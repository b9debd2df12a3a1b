//! Faults that the check finds before a build. The faults of a build are tested with the builds,
//! and every successful build passes the check.

use crate::support::Lab;

#[tokio::test]
async fn an_image_with_nothing_to_start_names_its_stage() {
    for (dockerfile, line) in [
        ("FROM scratch\n", 1),
        ("FROM scratch AS a\nCOPY f /\n\nFROM a\nENV A=1\n", 4),
        ("FROM scratch\nCMD [\"\"]\n", 1),
        // Other stages' commands do not count.
        (
            "FROM scratch AS a\nCMD [\"/f\"]\nFROM scratch\nCOPY --from=a / /\n",
            3,
        ),
        // An image in `COPY --from` adds no command.
        ("FROM scratch\nCOPY --from=base.invalid/x /f /f\n", 1),
    ] {
        let text = dockerfile.lines().nth(line - 1).unwrap();
        assert_eq!(
            Lab::with(dockerfile).file("f", "x").check().await.unwrap(),
            format!(
                "Dockerfile:{line}: the image would have neither ENTRYPOINT nor CMD, so there is nothing to start\n  \
                 {line} | {text}\n  hint: add `ENTRYPOINT [\"/path/of/the/program\"]` to this stage"
            ),
            "{dockerfile}"
        );
    }
}

#[tokio::test]
async fn a_command_of_any_stage_below_will_do() {
    for dockerfile in [
        "FROM scratch\nCMD /f\n",
        "FROM scratch AS a\nENTRYPOINT [\"/f\"]\nFROM a\nCOPY f /\n",
        // A base image may have one: it is not fetched for the check.
        "FROM base.invalid/x\nCOPY f /\n",
        "FROM base.invalid/x AS a\nFROM a\nCOPY f /\n",
    ] {
        let lab = Lab::with(dockerfile).file("f", "x");
        assert_eq!(lab.check().await, None, "{dockerfile}");
    }
}

#[tokio::test]
async fn nothing_is_said_of_files_that_a_base_image_may_bring() {
    for dockerfile in [
        "FROM base.invalid/x\nCOPY --chown=web f /etc\nWORKDIR /etc/passwd\nCMD /f\n",
        "FROM scratch\nCOPY --from=base.invalid/x /etc /etc\nCOPY --chown=web f $NOTHING/\nCMD /f\n",
        "FROM base.invalid/x AS a\nFROM scratch\nCOPY --from=a /gone /etc/\nADD --chown=web f /etc\nCMD /f\n",
        "FROM base.invalid/x\nARG F\nCOPY ${F} g* /f/\nCMD /f\n",
    ] {
        let lab = Lab::with(dockerfile).file("f", "x");
        assert_eq!(lab.check().await, None, "{dockerfile}");
    }
}

#[tokio::test]
async fn what_does_not_depend_on_a_base_image_is_told() {
    for (dockerfile, line, problem) in [
        (
            "FROM base.invalid/x\nCOPY gone /\n",
            2,
            "\"gone\" is not there",
        ),
        (
            "FROM base.invalid/x\nRUN make\n",
            2,
            "RUN needs a container engine",
        ),
        (
            "FROM scratch\nCOPY --from=base.invalid/x /a /a\nADD f gone /x/\nCMD /a\n",
            3,
            "\"gone\" is not there",
        ),
        (
            "FROM scratch\nCOPY --from=base.invalid/x /a /a\nEXPOSE 70000\nCMD /a\n",
            3,
            "\"70000\" is not a port",
        ),
    ] {
        let got = Lab::with(dockerfile).file("f", "x").check().await.unwrap();
        let desired = format!("Dockerfile:{line}: {problem}");
        assert!(got.starts_with(&desired), "{got}");
    }
}
