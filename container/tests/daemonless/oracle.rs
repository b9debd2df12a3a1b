//! The Dockerfile corpus through BuildKit: the stored results are Docker's own.
//!
//! `LANDFALL_CORPUS=write` writes the results of both builders into the files of the corpus, for a
//! review with `git diff`; `LANDFALL_CORPUS=mark` marks the cases for which the present engine is
//! too old.

use std::fmt::Write as _;

use landfall_container::Builder as _;
use landfall_container::engine::{Engine, Environment};
use landfall_testkit::engines::Program;

use crate::corpus::{self, Case};

/// BuildKit's result for a case, or the first line of its error.
async fn buildkit(engine: &Engine, case: &Case) -> String {
    let lab = case.lab();
    match engine.build(&lab.request, &lab.store, &|_| {}).await {
        Ok(built) => {
            let config = lab.store.config(&built.config_digest).unwrap();
            corpus::describe(&lab.store, &built.manifest_digest, &config)
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                let _ = write!(text, ": {error}");
                source = error.source();
            }
            let context = format!("{}/", lab.request.context.display());
            format!("error {}\n", text.replace(&context, "").replace('\n', " "))
        }
    }
}

/// Whether two results agree: the same image, or both an error, whatever its text.
fn same(one: &str, other: &str) -> bool {
    one == other || (one.starts_with("error") && other.starts_with("error"))
}

#[tokio::test]
async fn needs_docker_buildkit_makes_the_stored_results() {
    let docker = Program::Docker
        .start()
        .unwrap_or_else(|reason| panic!("{reason}"));
    let environment = Environment {
        docker_host: Some(docker.docker_host()),
        ..Environment::default()
    };
    let engine = Engine::connect(&environment).await.unwrap();
    assert!(engine.uses_buildkit());
    let version = engine.version();
    let major = version.split('.').next().unwrap().parse::<u32>().unwrap();
    let renew = std::env::var("LANDFALL_CORPUS").unwrap_or_default();
    let (mut compared, mut newer) = (0, 0);
    let mut differences = String::new();
    for file in corpus::files() {
        let mut cases = corpus::read(&file);
        for case in &mut cases {
            if case.since() > major {
                newer += 1;
                if renew == "write" {
                    let ours = corpus::daemonless(case).await;
                    case.set(ours.clone(), ours);
                }
                continue;
            }
            let theirs = buildkit(&engine, case).await;
            compared += 1;
            if renew == "write" {
                let ours = corpus::daemonless(case).await;
                // If both refuse, the text of the daemonless builder is kept.
                if ours.starts_with("error") && theirs.starts_with("error") {
                    println!("both refuse {}: {ours}  Docker: {theirs}", case.name);
                }
                let theirs = if same(&ours, &theirs) {
                    ours.clone()
                } else {
                    theirs
                };
                case.set(ours, theirs);
                if case.difference().is_some() == case.buildkit.is_some() {
                    continue;
                }
                let _ = writeln!(
                    differences,
                    "{}: a reason is missing, or one too many",
                    case.name
                );
                let text =
                    corpus::difference(("daemonless", case.ours()), ("Docker", case.theirs()));
                differences.push_str(&text);
                continue;
            }
            if !same(&theirs, case.theirs()) {
                if renew == "mark" {
                    case.set_since(major + 1);
                    continue;
                }
                let text = corpus::difference((version, &theirs), ("stored", case.theirs()));
                let _ = write!(differences, "{}:\n{text}", case.name);
            }
        }
        if !renew.is_empty() {
            corpus::write(&file, &cases);
        }
    }
    println!("Docker {version}: {compared} cases compared, {newer} need a newer one");
    assert!(differences.is_empty(), "{differences}");
    assert!(compared >= 100, "only {compared} cases compared");
}
