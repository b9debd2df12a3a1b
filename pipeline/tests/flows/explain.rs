//! The network that a stack holds now, to be asked about.

use landfall_network::Vpc;
use landfall_pipeline::{deploy, destroy, live_topology};
use landfall_provider::{Provider, StackName};

use crate::fake::{App, Fake, healthy};

fn name() -> StackName {
    StackName::new("digipay").unwrap()
}

#[tokio::test(start_paused = true)]
async fn deployed_stack_has_a_network() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    assert_eq!(live_topology(&cloud, &name()).await.unwrap(), None);
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let topology = live_topology(&cloud, &name()).await.unwrap().unwrap();
    assert!(topology.interfaces.contains_key("web/1"));
    destroy(&cloud, &name(), &app.options).await.unwrap();
    assert_eq!(live_topology(&cloud, &name()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stack_with_two_networks_is_not_one_that_is_not_there() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let other = Vpc {
        cidr: "10.9.0.0/16".parse().unwrap(),
    };
    let key = "vpc/other".parse().unwrap();
    Provider::<Vpc>::create(&cloud, &name(), &key, &other)
        .await
        .unwrap();
    let error = live_topology(&cloud, &name()).await.unwrap_err();
    let reported = error.to_string();
    assert!(
        reported.contains("vpc/main") && reported.contains("vpc/other"),
        "{reported}"
    );
    assert!(error.hint_text().unwrap().contains("`deploy`"));
    // What is said is so.
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(live_topology(&cloud, &name()).await.unwrap().is_some());
}
