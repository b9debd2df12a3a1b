//! Mutated saved plans: each is read, or refused with a reason; none stops the program.

use landfall_pipeline::{SavedPlan, SavedPlanError, plan};
use landfall_testkit::fuzz::Fuzz;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fake::{App, Fake, healthy};

/// A plan for an empty provider, as text.
fn saved() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (cloud, app) = (Fake::new(healthy), App::new());
        let planned = plan(&cloud, &app.config(""), &app.options).await.unwrap();
        planned.save().to_text()
    })
}

/// The file with the checksum that its content has now: without it, every mutation ends at the checksum.
fn resealed(text: &str) -> Option<String> {
    let content = serde_json::from_str::<Value>(text).ok()?;
    let sum: String = Sha256::digest(content.to_string())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Some(
        json!({ "format": 1, "checksum": format!("sha256:{sum}"), "content": content }).to_string(),
    )
}

/// A plan that lies in the build context must not change what the plan is about.
#[test]
fn saved_plan_is_known_by_its_start() {
    let file = saved();
    assert!(landfall_container::left_out::is_saved_plan(
        &file.as_bytes()[..256]
    ));
    assert!(!landfall_container::left_out::is_saved_plan(b"{}"));
}

#[test]
fn saved_plans() {
    let file = saved();
    let content = serde_json::from_str::<Value>(&file).unwrap()["content"].to_string();
    let sealed = resealed(&content).unwrap();
    assert_eq!(
        SavedPlan::parse(&sealed).unwrap(),
        SavedPlan::parse(&file).unwrap()
    );
    let fuzz = Fuzz {
        name: "saved plan",
        seeds: &[file.as_bytes(), content.as_bytes()],
        words: &[
            "null",
            "{}",
            "[]",
            "\"\"",
            "-1",
            "1e99",
            "18446744073709551616",
            "[[[[[[[[",
            ",",
            ":",
            "\"format\":2",
            "vpc/main",
            "subnet/",
            "\"steps\":[]",
            "\"after\":[\"vpc/main\"]",
            "\\ud800",
            "\\u0000",
            "true",
            "\"action\":\"delete\"",
        ],
        inputs: 500,
    };
    fuzz.run(|input| {
        let text = String::from_utf8_lossy(input);
        for text in [Some(text.clone().into_owned()), resealed(&text)]
            .into_iter()
            .flatten()
        {
            match SavedPlan::parse(&text) {
                // What was read is written and read again without a change.
                Ok(plan) => assert_eq!(SavedPlan::parse(&plan.to_text()).unwrap(), plan),
                Err(SavedPlanError::Damaged) => {}
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    });
}
