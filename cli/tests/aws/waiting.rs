//! A run that waits for another run's lock, and continues when it is released.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::json;

use crate::account::{Account, EXAMPLE};
use crate::eye::{look, what_is_there};

#[tokio::test]
async fn needs_emulators_waiting_deploy_continues_after_unlock() {
    let account = Account::new(EXAMPLE).await;
    let holder = json!({
        "doing": "deploy", "who": "ana@build-3", "pid": 4711, "since": "2026-11-22T09:30:00Z",
    });
    let take = format!(
        "import boto3\nboto3.client('ssm').put_parameter(Name='/landfall/digipay/lock', Type='String', Value='''{holder}''')"
    );
    account.aws.moto.python(&take).await.unwrap();

    let mut run = account
        .command(&["deploy", "--wait=10m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("waiting for another run: deploy by ana@build-3") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    // It waits for the lock, and has created nothing yet.
    let seen = look(&account).await;
    assert_eq!(what_is_there(&seen), ["parameters"], "{seen:#}");
    let give_back =
        "import boto3\nboto3.client('ssm').delete_parameter(Name='/landfall/digipay/lock')";
    account.aws.moto.python(give_back).await.unwrap();
    stderr.read_to_string(&mut said).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(url.starts_with("http://digipay-main-"), "{url}");
    // Its own lock is released too.
    account.landfall(&["destroy", "--yes"]).ended_with(0);
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}
