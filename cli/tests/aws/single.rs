//! A single instance on AWS with its own address, as boto3 reports it: created, stopped, started,
//! changed, deleted.

use serde_json::Value;

use crate::account::Account;
use crate::eye::{list, look, what_is_there};

const FILE: &str = r#"
stack = "digipay"
mode  = "single"

[single]
allow = ["203.0.113.0/24"]

[service.web]
port   = 8000
health = { path = "/healthz" }
env    = { LOG = "info" }
"#;

/// The instance and its address.
async fn instance(account: &Account) -> (Value, Value) {
    let seen = look(account).await;
    let addresses = list(&seen["addresses"]);
    assert_eq!(
        (list(&seen["instances"]).len(), addresses.len()),
        (1, 1),
        "{seen:#}"
    );
    (seen["instances"][0].clone(), addresses[0].clone())
}

/// The association of an Elastic IP: moto reports no instance if the address belongs to an
/// interface.
fn interface_of(instance: &Value) -> &Value {
    &instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
}

async fn by_hand(account: &Account, what: &str) -> String {
    let script = format!("import boto3, json\nec2 = boto3.client(\"ec2\")\n{what}");
    account.aws.moto.python(&script).await.unwrap()
}

#[tokio::test]
async fn needs_emulators_a_single_instance_keeps_its_address() {
    let account = Account::new(FILE).await;
    let deployed = account.landfall(&["deploy", "--json"]).ended_with(0).json();

    let seen = look(&account).await;
    // None of the resources of a balanced stack.
    let kinds = what_is_there(&seen);
    for none in [
        "nats",
        "balancers",
        "targets",
        "listeners",
        "scaling",
        "templates",
        "keys",
    ] {
        assert!(!kinds.contains(&none), "{none}: {seen:#}");
    }
    let (found, address) = instance(&account).await;
    let (id, ip) = (
        found["InstanceId"].as_str().unwrap(),
        address["PublicIp"].as_str().unwrap(),
    );
    assert_eq!(&address["NetworkInterfaceId"], interface_of(&found));
    assert_eq!(deployed["url"], format!("http://{ip}:8000/"));
    // It runs, and no health is reported.
    assert_eq!(deployed["targets"][0]["id"], id);
    assert_eq!(deployed["targets"][0]["state"], "unused");
    assert_eq!(
        (list(&seen["subnets"]).len(), list(&seen["tables"]).len()),
        (1, 1)
    );
    let routes = list(&seen["tables"][0]["Routes"]);
    assert!(
        routes
            .iter()
            .any(|route| route["DestinationCidrBlock"] == "0.0.0.0/0"
                && route["GatewayId"] == seen["gateways"][0]["InternetGatewayId"]),
        "{routes:#?}"
    );
    let group = list(&seen["groups"])
        .iter()
        .find(|group| group["GroupName"] != "default");
    let ways_in = list(&group.unwrap()["IpPermissions"]);
    assert_eq!(ways_in.len(), 1, "{ways_in:#?}");
    assert_eq!(
        (&ways_in[0]["FromPort"], &ways_in[0]["ToPort"]),
        (&8000.into(), &8000.into())
    );
    assert_eq!(ways_in[0]["IpRanges"][0]["CidrIp"], "203.0.113.0/24");
    let user_data = format!(
        "import base64\nd = ec2.describe_instance_attribute(InstanceId=\"{id}\", Attribute=\"userData\")\n\
         print(base64.b64decode(d[\"UserData\"][\"Value\"]).decode())"
    );
    let user_data = by_hand(&account, &user_data).await;
    assert!(
        user_data.contains("--restart always") && user_data.contains("\"port\":8000"),
        "{user_data}"
    );

    let again = account.landfall(&["deploy"]).ended_with(0);
    assert!(again.stderr.contains("nothing to do"), "{again:?}");

    // Stopped by hand: the plan has no change, and the next deploy starts it.
    by_hand(
        &account,
        &format!("ec2.stop_instances(InstanceIds=[\"{id}\"])"),
    )
    .await;
    account
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(0);
    let status = account.landfall(&["status", "--json"]).ended_with(0).json();
    assert_eq!(
        status["status"]["instances"][0]["standing"]["state"]["state"],
        "stopped"
    );
    let started = account.landfall(&["deploy", "--json"]).ended_with(0).json();
    assert_eq!(started["url"], deployed["url"]);
    // Stopped by the program, and started by hand.
    account.landfall(&["stop"]).ended_with(0);
    let (stopped, kept) = instance(&account).await;
    assert_eq!(stopped["State"]["Name"], "stopped");
    assert_eq!(
        (&kept["PublicIp"], &kept["NetworkInterfaceId"]),
        (&address["PublicIp"], &address["NetworkInterfaceId"])
    );
    by_hand(
        &account,
        &format!("ec2.start_instances(InstanceIds=[\"{id}\"])"),
    )
    .await;
    let (running, kept) = instance(&account).await;
    assert_eq!(running["State"]["Name"], "running");
    assert_eq!(kept["PublicIp"], address["PublicIp"]);
    let start = account.landfall(&["start"]).ended_with(0);
    assert!(start.stderr.contains("nothing to do"), "{start:?}");

    // moto cannot show that a new version takes over the address: it leaves the address with the
    // interface of a terminated instance, which AWS does not. The local provider's test shows it.
    account.landfall(&["destroy", "--yes"]).ended_with(0);
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}

#[tokio::test]
async fn needs_emulators_single_grows_into_a_balanced_stack() {
    let account = Account::new(FILE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let vpc = look(&account).await["vpcs"][0]["VpcId"].clone();
    let balanced = FILE
        .replace("mode  = \"single\"", "")
        .replace("[single]\nallow = [\"203.0.113.0/24\"]\n", "");
    account.write("landfall.toml", &balanced);
    let deployed = account
        .landfall(&["deploy", "--yes", "--json"])
        .ended_with(0)
        .json();
    let url = deployed["url"].as_str().unwrap();
    assert!(url.contains("digipay-main-"), "{url}");
    let seen = look(&account).await;
    assert_eq!(seen["vpcs"][0]["VpcId"], vpc);
    assert_eq!(list(&seen["scaling"]).len(), 1);
    account.write("landfall.toml", FILE);
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    let (found, address) = instance(&account).await;
    assert_eq!(&address["NetworkInterfaceId"], interface_of(&found));
    account.landfall(&["destroy", "--yes"]).ended_with(0);
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}
