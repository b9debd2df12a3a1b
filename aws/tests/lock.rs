//! The lock on an AWS that refuses the name of a deleted parameter for a while, and where others break locks.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::{Arc, Mutex};

use landfall_aws::{Aws, AwsOptions, Keys};
use landfall_provider::{Attempt, Holder, StackLock, StackName};
use landfall_testkit::scripted::{Answer, Call, Endpoint};
use serde_json::json;

/// Parameter Store with one parameter.
#[derive(Default)]
struct Store {
    value: Option<String>,
    /// How often its name is still refused although the parameter is deleted.
    refusals: usize,
    deleted: usize,
}

async fn session(store: &Arc<Mutex<Store>>) -> (Endpoint, Aws) {
    let store = Arc::clone(store);
    let endpoint = Endpoint::builder()
        .script(move |call, _| Some(answer(call, &mut store.lock().unwrap())))
        .start()
        .unwrap();
    let options = AwsOptions {
        endpoint: Some(endpoint.url()),
        region: Some("eu-central-1".to_owned()),
        keys: Some(Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "secret".to_owned(),
            session: None,
        }),
        ..AwsOptions::default()
    };
    let aws = Aws::open(options, Vec::new()).await.unwrap();
    (endpoint, aws)
}

fn answer(call: &Call, store: &mut Store) -> Answer {
    match call.action.as_str() {
        "PutParameter" if store.value.is_some() || store.refusals > 0 => {
            if store.value.is_none() {
                store.refusals -= 1;
            }
            // https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameter.html
            call.error(
                400,
                "ParameterAlreadyExists",
                "The parameter already exists.",
            )
        }
        "PutParameter" => {
            store.value = call.json()["Value"].as_str().map(str::to_owned);
            Answer::json(&json!({ "Version": 1 }))
        }
        "GetParameter" => match &store.value {
            Some(value) => Answer::json(&json!({ "Parameter": { "Value": value } })),
            None => call.error(400, "ParameterNotFound", ""),
        },
        "DeleteParameter" => {
            store.value = None;
            store.deleted += 1;
            Answer::json(&json!({}))
        }
        _ => call
            .result("<Arn>arn:aws:iam::123456789012:user/ana</Arn><Account>123456789012</Account>"),
    }
}

fn stack() -> StackName {
    "digipay".parse().unwrap()
}

#[tokio::test]
async fn refused_name_is_waited_for() {
    let store = Arc::new(Mutex::new(Store {
        refusals: 4,
        ..Store::default()
    }));
    let (_endpoint, aws) = session(&store).await;
    let me = Holder::now("deploy", "ana@build-3");
    let attempt = aws.lock(&stack(), &me).await.unwrap();
    assert!(matches!(attempt, Attempt::Taken(_)), "{attempt:?}");
    assert_eq!(store.lock().unwrap().refusals, 0);
}

#[tokio::test]
async fn release_deletes_only_its_own() {
    let store = Arc::new(Mutex::new(Store::default()));
    let (_endpoint, aws) = session(&store).await;
    let (me, other) = (
        Holder::now("deploy", "ana@build-3"),
        Holder::now("deploy", "ben@laptop"),
    );
    let Attempt::Taken(guard) = aws.lock(&stack(), &me).await.unwrap() else {
        panic!("nobody else has it");
    };
    // Somebody breaks the lock, and another run takes it.
    let others = serde_json::to_string(&other).unwrap();
    store.lock().unwrap().value = Some(others.clone());
    guard.release().await.unwrap();
    assert_eq!(store.lock().unwrap().value.as_ref(), Some(&others));
    aws.break_lock(&stack(), &me).await.unwrap();
    assert_eq!(store.lock().unwrap().deleted, 0);
    aws.break_lock(&stack(), &other).await.unwrap();
    assert_eq!(store.lock().unwrap().deleted, 1);
}
