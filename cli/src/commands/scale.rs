//! `scale`: sets the number of instances of services.

use std::collections::BTreeMap;

use landfall_compute::Metric;
use landfall_pipeline::{Scaled, ScaledService};
use landfall_provider::StackName;
use serde::Serialize;

use super::{Session, stack_of};
use crate::args::Scale;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{self, DIM, GOOD, STRONG, paint};

/// The last line of JSON of a scale.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    services: &'a [ScaledService],
    duration_ms: u64,
}

/// Scales, and waits until that many instances are healthy.
pub(crate) async fn scale(args: &Scale) -> Result<(), CliError> {
    let mut targets = BTreeMap::new();
    for target in &args.targets {
        if targets
            .insert(target.service.clone(), target.instances)
            .is_some()
        {
            let message = format!("{} has more than one number", target.service);
            return Err(CliError::usage(message, None));
        }
    }
    let (stack, said) = stack_of(&args.on)?;
    let mut session = Session::open(&args.on.common, said).await?;
    session.options.wait = args.waiting.wait;
    let scaled =
        landfall_pipeline::scale(session.place.cloud(), &stack, &targets, &session.options).await?;
    let Some(scaled) = scaled else {
        session.place.settle().await?;
        return Err(CliError::Missing { stack });
    };
    session.progress.finish();
    if session.json {
        output::json_line(&Line {
            result: "scale",
            stack: &scaled.stack,
            services: &scaled.services,
            duration_ms: scaled.duration_ms,
        });
    } else {
        output::result(&summary(&scaled));
    }
    Ok(())
}

fn summary(scaled: &Scaled) -> String {
    let took = render::duration(scaled.duration());
    let mut text = format!("{}: {took}\n", paint(STRONG, &scaled.stack));
    for service in &scaled.services {
        text.push_str(&reported(service));
    }
    text
}

/// The result for a service, and a policy that may change it again.
fn reported(service: &ScaledService) -> String {
    let capacity = &service.capacity;
    let instances = render::count(capacity.desired as usize, "instance");
    let change = match service.is_changed() {
        true => format!("{} → {instances}", service.before),
        false => format!("{instances} already"),
    };
    let limits = format!("min {}, max {}", capacity.min, capacity.max);
    let mut text = format!(
        "  {}  {change}, {}  {}\n",
        service.name,
        paint(GOOD, "healthy"),
        paint(DIM, limits)
    );
    for policy in &service.policies {
        text.push_str(&paint(
            DIM,
            format_args!("  a policy may change it again: {}\n", goal(policy)),
        ));
    }
    text
}

/// The metric of a policy and its target value.
fn goal(metric: &Metric) -> String {
    match metric {
        Metric::Cpu(percent) => format!("processors {percent} % busy"),
        Metric::RequestsPerTarget { requests, .. } => {
            format!("{requests} requests per instance and minute")
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_compute::GroupCapacity;

    use super::*;

    #[test]
    fn summary_lists_each_service_and_its_policy() {
        let service = |name: &str, before, policies| ScaledService {
            name: name.parse().unwrap(),
            before,
            capacity: GroupCapacity {
                min: 1,
                desired: 3,
                max: 4,
            },
            policies,
            targets: Vec::new(),
        };
        let scaled = Scaled {
            stack: "digipay".parse().unwrap(),
            services: vec![
                service("api", 3, Vec::new()),
                service("web", 2, vec![Metric::Cpu(60)]),
            ],
            duration_ms: 3420,
        };
        let shown = anstream::adapter::strip_str(&summary(&scaled)).to_string();
        insta::assert_snapshot!(shown, @r"
        digipay: 3.4 s
          api  3 instances already, healthy  min 1, max 4
          web  2 → 3 instances, healthy  min 1, max 4
          a policy may change it again: processors 60 % busy
        ");
    }
}
