//! The identity of an AWS instance: host keys from its console, with answers from AWS's
//! documentation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_compute::{ComputeProvider, HostKey};
use landfall_provider::InstanceId;

use crate::bed::scripted;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";

/// Cloud-init's console output at the first boot.
///
/// <https://cloudinit.readthedocs.io/en/latest/reference/modules.html#keys-to-console>
fn booted() -> String {
    format!(
        "[    0.000000] Linux version 6.12\r\n\
         ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n\
         ec2: 256 SHA256:zLo7 root@ip-10-0-0-4.ec2.internal (ED25519)\r\n\
         ec2: -----END SSH HOST KEY FINGERPRINTS-----\r\n\
         -----BEGIN SSH HOST KEY KEYS-----\r\n{KEY} root@ip-10-0-0-4.ec2.internal\r\n\
         -----END SSH HOST KEY KEYS-----\r\n"
    )
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
#[tokio::test]
async fn host_keys_come_from_the_boot_console_then_the_latest() {
    let known = [HostKey::new(KEY).unwrap()];
    for (kept, calls) in [(true, 1), (false, 2)] {
        let (aws, endpoint) = scripted(move |call| {
            call.is("ec2:GetConsoleOutput").then(|| {
                let there = kept || call.field("Latest") == "true";
                let output = match there {
                    true => format!("<output>{}</output>", STANDARD.encode(booted())),
                    // Nothing is stored until some minutes after the boot.
                    false => String::new(),
                };
                call.result(&format!(
                    "<instanceId>i-1</instanceId><timestamp>2026-11-22T18:00:00.000Z</timestamp>{output}"
                ))
            })
        })
        .await;
        assert_eq!(
            aws.host_keys(&InstanceId::from("i-1")).await.unwrap(),
            known
        );
        assert_eq!(endpoint.calls().len(), calls);
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-console.html>: only Nitro has a latest output.
#[tokio::test]
async fn console_of_xen_types_is_that_of_the_boot() {
    for kept in [true, false] {
        let (aws, _endpoint) = scripted(move |call| {
            call.is("ec2:GetConsoleOutput")
                .then(|| match (call.field("Latest"), kept) {
                    ("true", _) => call.error(
                        400,
                        "UnsupportedOperation",
                        "This instance type does not support retrieving the latest console logs.",
                    ),
                    (_, true) => call.result(&format!(
                        "<instanceId>i-1</instanceId><output>{}</output>",
                        STANDARD.encode(booted())
                    )),
                    (_, false) => call.result("<instanceId>i-1</instanceId>"),
                })
        })
        .await;
        let id = InstanceId::from("i-1");
        let known = aws.host_keys(&id).await.unwrap();
        let lines = aws.last_output(&id, 1).await.unwrap();
        match kept {
            true => {
                assert_eq!(known, [HostKey::new(KEY).unwrap()]);
                assert_eq!(lines, ["-----END SSH HOST KEY KEYS-----"]);
            }
            // It is written some minutes after the boot: the caller asks again.
            false => assert!(known.is_empty() && lines.is_empty()),
        }
    }
}

#[tokio::test]
async fn missing_or_silent_instance_has_no_host_keys() {
    let none = Vec::<HostKey>::new();
    let (aws, _endpoint) = scripted(|call| {
        Some(call.error(
            400,
            "InvalidInstanceID.NotFound",
            "The instance ID 'i-1' does not exist",
        ))
    })
    .await;
    assert_eq!(aws.host_keys(&InstanceId::from("i-1")).await.unwrap(), none);

    let (aws, _endpoint) =
        scripted(|call| {
            Some(call.result(
                "<instanceId>i-1</instanceId><timestamp>2026-11-22T18:00:00.000Z</timestamp>",
            ))
        })
        .await;
    assert_eq!(aws.host_keys(&InstanceId::from("i-1")).await.unwrap(), none);
}
