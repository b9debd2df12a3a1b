//! The content of the script, and that the workload can be read back.

use std::collections::BTreeMap;
use std::process::Command;

use landfall_provider::{ImageId, Input, Port};
use proptest::prelude::*;

use super::*;
use crate::{ByteSize, CpuShare};

pub(super) fn workload() -> Workload {
    let image = format!(
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/digipay/web@sha256:{}",
        "ab".repeat(32)
    );
    Workload {
        image: Input::Known(ImageId::from(image)),
        port: Port::new(8000).unwrap(),
        env: BTreeMap::from([(
            "MOTTO".to_owned(),
            "it's \"$HOME\"\n`and` more \\".to_owned(),
        )]),
        secrets: BTreeMap::from([
            (
                "API_KEY".to_owned(),
                "secretsmanager:digipay/api#key".parse().unwrap(),
            ),
            (
                "DATABASE_URL".to_owned(),
                "ssm:/digipay/url".parse().unwrap(),
            ),
        ]),
        logs: Some("/digipay/web".parse().unwrap()),
        limits: Limits {
            memory: Some(ByteSize::mib(512)),
            cpu: CpuShare::from_thousandths(500),
            processes: Some(256),
            disk: Some(ByteSize::mib(2048)),
        },
        init: true,
    }
}

#[test]
fn what_the_workload_says_stands_before_what_is_always_the_same() {
    let script = user_data("ap-south-1", &workload()).unwrap();
    insta::assert_snapshot!(script.strip_suffix(SCRIPT).unwrap());
}

#[test]
fn a_user_data_that_is_too_long_says_how_long() {
    let mut workload = workload();
    workload.env.insert("BIG".to_owned(), "x".repeat(10_000));
    let error = user_data("ap-south-1", &workload).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("EC2 takes 16384"), "{error}");
    workload.env.remove("BIG");
    // Half of the size is left for the environment, which occurs in the script twice.
    let plain = user_data("ap-south-1", &workload).unwrap().len();
    assert!(plain < LONGEST / 2 + 1280, "{plain}");
}

#[test]
fn a_promised_image_and_a_foreign_user_data_are_not_taken() {
    let mut promised = workload();
    promised.image = serde_json::from_str("\"${image/web}\"").unwrap();
    assert!(user_data("ap-south-1", &promised).is_err());
    for foreign in ["", "#!/bin/bash\necho hello\n", "# landfall-workload: {}"] {
        assert_eq!(read(foreign), None);
    }
}

#[test]
fn needs_shellcheck_the_script_has_nothing_to_complain_about() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("user-data");
    std::fs::write(&file, user_data("ap-south-1", &workload()).unwrap()).unwrap();
    let checked = Command::new("shellcheck").arg(&file).output().unwrap();
    let reported = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{reported}");
}

proptest! {
    #[test]
    fn any_environment_can_be_read_back(
        env in proptest::collection::btree_map("[A-Z_][A-Z0-9_]{0,8}", "\\PC{0,40}|[^\\x00]{0,40}", 0..6),
    ) {
        let workload = Workload { env, ..workload() };
        let script = user_data("ap-south-1", &workload).unwrap();
        prop_assert_eq!(read(&script), Some(workload));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_shell_takes_any_text_for_what_it_is(text in "[^\\x00]{0,60}") {
        let script = format!("printf %s {}", quoted(&text));
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        prop_assert_eq!(output.stdout, text.as_bytes());
    }
}

#[test]
fn the_console_tells_how_far_a_boot_is() {
    let reported = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        booted(&lines)
    };
    assert_eq!(
        reported(&[
            "[   12.1] cloud-init: landfall: installing docker failed, trying again in 1 s: x"
        ]),
        Booted::NotYet
    );
    assert_eq!(
        reported(&["landfall: a@sha256:00 runs on port 8000", "login:"]),
        Booted::Runs
    );
    assert_eq!(
        reported(&[
            "cloud-init[2101]: landfall: gave up: reading the parameter /a failed: ParameterNotFound"
        ]),
        Booted::Failed("reading the parameter /a failed: ParameterNotFound".to_owned())
    );
    assert_eq!(
        reported(&[
            "[   31.4] cloud-init[2101]: landfall: the container failed: it ended with code 7; its last lines:",
            "[   31.4] cloud-init[2101]: landfall: | this runs on port 1",
        ]),
        Booted::Failed("the container failed: it ended with code 7".to_owned())
    );
}
