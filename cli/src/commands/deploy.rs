//! `deploy`: deploys the stack of the file, and prints its address once it answers.

use std::time::Duration;

use landfall_lb::{TargetHealth, TargetState};
use landfall_pipeline::{Deployed, OnFailure, Stage};
use serde::Serialize;
use tokio::time::timeout;

use super::plan::read;
use super::{Session, config, operator};
use crate::args::Deploy;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{self, GOOD, STRONG, paint};

/// The time that an interrupted run waits for an empty cloud process to exit.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// The last line of JSON of a deploy.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a landfall_provider::StackName,
    url: &'a str,
    dns_name: &'a str,
    targets: &'a [landfall_lb::TargetHealth],
    services: &'a std::collections::BTreeMap<String, landfall_provider::ResourceName>,
    image: &'a str,
    changes: &'a landfall_pipeline::Changes,
    duration_ms: u64,
}

/// Deploys.
pub(crate) async fn deploy(args: &Deploy) -> Result<(), CliError> {
    let mut config = config(&args.common)?;
    let mut session = Session::for_config(&args.common, &mut config).await?;
    operator::settle(&session, &mut config, args.my_address.as_ref()).await?;
    session.options.keep_failed = args.keep_failed;
    session.options.no_before = args.no_before;
    session.options.accept_unreachable = args.accept_unreachable;
    session.options.saved = args.plan.as_deref().map(read).transpose()?;
    session.changing(&args.changing);
    if !session.json {
        let progress = session.progress.clone();
        session.options.on_failure = OnFailure::call(move |failure| progress.failing(failure));
    }
    let cloud = session.place.cloud();
    let deployed = landfall_pipeline::deploy(cloud, &config, &session.options).await;
    session.progress.finish();
    let deployed = match deployed {
        Ok(deployed) => deployed,
        Err(failure) => {
            // A first deploy that failed has deleted all its resources; the cloud process should
            // exit as well. An interrupting user does not want to wait for it.
            let settling = session.place.settle();
            let ready = match failure.stage {
                Stage::Lock => Ok(()),
                Stage::Interrupted => timeout(SETTLES_WITHIN, settling).await.unwrap_or(Ok(())),
                _ => settling.await,
            };
            if let Err(error) = ready {
                output::message(&render::error::error(&error));
            }
            return Err(failure.into());
        }
    };
    if session.json {
        output::json_line(&Line {
            result: "deploy",
            stack: &deployed.stack,
            url: &deployed.url,
            dns_name: &deployed.dns_name,
            targets: &deployed.targets,
            image: &deployed.image,
            services: &deployed.services,
            changes: &deployed.changes,
            duration_ms: deployed.duration_ms,
        });
    } else {
        output::message(&summary(&deployed));
        output::result(&format!("{}\n", deployed.url));
    }
    Ok(())
}

/// The changes and the serving targets, for standard error.
fn summary(deployed: &Deployed) -> String {
    let changes = &deployed.changes;
    let parts: Vec<String> = [
        (changes.create.len(), "created"),
        (changes.update.len(), "updated"),
        (changes.replace.len(), "replaced"),
        (changes.delete.len(), "deleted"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, done)| format!("{number} {done}"))
    .chain(
        changes
            .rollouts
            .iter()
            .map(|rollout| format!("release {} of {} rolled out", rollout.to, rollout.service)),
    )
    .collect();
    let done = if changes.is_empty() {
        "nothing to do".to_owned()
    } else {
        parts.join(", ")
    };
    let took = render::duration(Duration::from_millis(deployed.duration_ms));
    let mut table = render::Table::default();
    for target in &deployed.targets {
        table.row(
            "  ",
            [
                (STRONG, render::or_dash(deployed.services.get(&target.id))),
                (anstyle::Style::new(), target.id.clone()),
                (render::DIM, render::or_dash(target.zone.as_ref())),
                (render::DIM, render::or_dash(target.address)),
                (state_style(target), target.state.to_string()),
                (render::DIM, target.description.clone().unwrap_or_default()),
            ],
        );
    }
    let mut lines = vec![format!(
        "{}: {done}, {took}",
        paint(STRONG, &deployed.stack)
    )];
    lines.extend(table.lines());
    if let Some(numeric) = render::without_name(&deployed.url) {
        lines.push(format!(
            "  curl and browsers resolve names under .localhost; {} works everywhere",
            paint(STRONG, numeric)
        ));
    }
    lines.join("\n") + "\n"
}

fn state_style(target: &TargetHealth) -> anstyle::Style {
    match target.state {
        TargetState::Healthy => GOOD,
        _ => render::CHANGED,
    }
}

#[cfg(test)]
mod tests {
    use landfall_compute::ReleaseState;
    use landfall_pipeline::{Changes, PendingRollout};
    use landfall_provider::{StackName, Zone};

    use super::*;

    #[test]
    fn the_summary_says_what_was_done_and_who_answers() {
        let mut deployed = Deployed {
            stack: StackName::new("digipay").unwrap(),
            url: "http://digipay.localhost:20747/".into(),
            dns_name: "digipay.localhost".into(),
            targets: vec![TargetHealth {
                id: "i-01".into(),
                address: "10.0.0.4:8000".parse().ok(),
                zone: Zone::new("local-1a").ok(),
                state: TargetState::Healthy,
                reason: None,
                description: None,
                since: None,
            }],
            services: [("i-01".to_owned(), "web".parse().unwrap())].into(),
            image: "digipay/web@sha256:00".into(),
            changes: Changes {
                create: vec!["vpc/main".parse().unwrap()],
                keep: 2,
                ..Changes::default()
            },
            duration_ms: 1430,
        };
        let plain =
            |deployed: &Deployed| anstream::adapter::strip_str(&summary(deployed)).to_string();
        insta::assert_snapshot!(plain(&deployed), @r"
        digipay: 1 created, 1.4 s
          web  i-01  local-1a  10.0.0.4:8000  healthy
          curl and browsers resolve names under .localhost; http://127.0.0.1:20747/ works everywhere
        ");
        deployed.changes.create.clear();
        deployed.duration_ms = 90;
        assert!(plain(&deployed).starts_with("digipay: nothing to do, 90 ms\n"));
        deployed.changes.rollouts = vec![PendingRollout {
            service: "web".parse().unwrap(),
            from: 1,
            to: 2,
            state: ReleaseState::Failed("exited with code 3".to_owned()),
        }];
        assert!(plain(&deployed).starts_with("digipay: release 2 of web rolled out, 90 ms\n"));
    }
}
