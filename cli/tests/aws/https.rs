//! A stack with a certificate, as boto3 reports it; a changed certificate, and a restored policy.

use serde_json::{Value, json};

use crate::account::{Account, EXAMPLE};
use crate::eye::picture;

const CERTIFICATES: &str = r#"
import boto3, json
acm = boto3.client("acm")
print(json.dumps([acm.request_certificate(DomainName=f"{name}.example.com")["CertificateArn"] for name in ("one", "two")]))
"#;

/// The state of every listener, by port.
const LISTENERS: &str = r#"
import boto3, json
elb = boto3.client("elbv2")
balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
print(json.dumps({l["Port"]: {
    "arn": l["ListenerArn"], "protocol": l["Protocol"], "policy": l.get("SslPolicy"),
    "certificates": [c["CertificateArn"] for c in l.get("Certificates", [])],
    "redirect": [a["RedirectConfig"] for a in l["DefaultActions"] if "RedirectConfig" in a],
} for l in listeners}))
"#;

async fn asked(account: &Account, program: &str) -> Value {
    serde_json::from_str(&account.aws.moto.python(program).await.unwrap()).unwrap()
}

fn with_certificate(arn: &Value) -> String {
    EXAMPLE.replace("port = 80\n", &format!("port = 80\ncertificate = {arn}\n"))
}

#[tokio::test]
async fn needs_emulators_certificate_serves_443_and_redirects_80() {
    let account = Account::new(EXAMPLE).await;
    let certificates = asked(&account, CERTIFICATES).await;
    account.write("landfall.toml", &with_certificate(&certificates[0]));
    let deployed = account.landfall(&["deploy", "--json"]).ended_with(0).json();
    let url = deployed["url"].as_str().unwrap();
    assert!(url.starts_with("https://digipay-main-"), "{url}");

    let listeners = asked(&account, LISTENERS).await;
    let https = &listeners["443"];
    assert_eq!(https["protocol"], "HTTPS");
    // https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
    assert_eq!(https["policy"], "ELBSecurityPolicy-TLS13-1-2-2021-06");
    assert_eq!(https["certificates"], json!([certificates[0]]));
    let redirect = &listeners["80"]["redirect"][0];
    assert_eq!(
        [
            &redirect["Protocol"],
            &redirect["Port"],
            &redirect["StatusCode"]
        ],
        ["HTTPS", "443", "HTTP_301"]
    );
    let seen = picture(&account).await;
    for line in [
        "listener http HTTP 80 redirect none",
        "listener https HTTPS 443 forward web",
        "rule balancer in tcp 80-80 0.0.0.0/0",
        "rule balancer in tcp 443-443 0.0.0.0/0",
    ] {
        assert!(seen.iter().any(|seen| seen == line), "{line}: {seen:#?}");
    }
    account.calls();
    account.landfall(&["deploy"]).ended_with(0);
    assert!(
        !account
            .calls()
            .keys()
            .any(|call| call.starts_with("elasticloadbalancing:Modify"))
    );

    // Another certificate, after somebody has set an old policy.
    let arn = &https["arn"];
    let weaken = format!(
        "import boto3\nboto3.client('elbv2').modify_listener(ListenerArn={arn}, SslPolicy='ELBSecurityPolicy-2016-08')"
    );
    account.aws.moto.python(&weaken).await.unwrap();
    account.write("landfall.toml", &with_certificate(&certificates[1]));
    let plan = account.landfall(&["plan", "--json"]).ended_with(0).json();
    assert_eq!(
        plan["changes"]["update"],
        json!(["listener/https"]),
        "{:#}",
        plan["changes"]
    );
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    let https = &asked(&account, LISTENERS).await["443"];
    assert_eq!(https["arn"], *arn);
    assert_eq!(https["certificates"], json!([certificates[1]]));
    assert_eq!(https["policy"], "ELBSecurityPolicy-TLS13-1-2-2021-06");

    // Without a certificate, port 80 serves again.
    account.write("landfall.toml", EXAMPLE);
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    let listeners = asked(&account, LISTENERS).await;
    assert_eq!(
        listeners.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["80"]
    );
    assert_eq!(listeners["80"]["redirect"], json!([]));
}
