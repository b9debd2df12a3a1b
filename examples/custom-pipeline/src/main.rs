//! A custom pipeline: the crates without `landfall-pipeline` and without a file.
//!
//! Builds the demo service into an image, creates a network, a group of instances and a balancer on
//! this machine, waits until it answers, and prints its address. With `--destroy` it deletes them
//! all.
//!
//! ```text
//! cargo rustc --release --package digipay -- -C target-feature=+crt-static
//! install -D target/release/digipay examples/digipay/target/release/digipay
//! cargo run --package custom-pipeline
//! cargo run --package custom-pipeline -- --destroy
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example shows what it does"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use landfall_compute::{AutoscalingGroup, LaunchTemplate, Limits, Workload};
use landfall_container::{BuildRequest, BuildSpec, BuilderChoice, Image, Platform, Repository};
use landfall_lb::{
    Action, HealthCheck, LbProvider, Listener, LoadBalancer, TargetGroup, TargetState,
};
use landfall_local::{Local, LocalOptions};
use landfall_network::{NatMode, OpenPorts, ServicePort, TwoTier, add_groups};
use landfall_provider::{
    Applied, ApplyOptions, Catalog, Event, Events, Input, Key, PollInterval, Port, RepositoryId,
    Stack, StackName, TargetGroupId, Zone, apply, plan,
};

fn main() -> Result<(), Box<dyn Error>> {
    // The local cloud is this program, executed again.
    landfall_local::hook();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(std::env::args().any(|argument| argument == "--destroy")))
}

async fn run(destroy: bool) -> Result<(), Box<dyn Error>> {
    let events = Events::to(|event| match event {
        Event::Done {
            key,
            verb,
            id,
            took_ms,
        } => eprintln!("{verb} {key} done: {id}, {took_ms} ms"),
        Event::Waiting { key, why, .. } => eprintln!("{key}: {why}"),
        Event::Output { key, line } => eprintln!("{key}: {line}"),
        Event::Failed { error, .. } => eprintln!("failed: {error}"),
        Event::Notice { text } => eprintln!("{text}"),
        Event::Started { .. } => {}
    });
    let local = Local::open(LocalOptions {
        events: events.clone(),
        ..LocalOptions::default()
    })?;
    let name = StackName::new("by-hand")?;

    // Every kind of this provider, crate by crate.
    let catalog = landfall_network::kinds(Catalog::new());
    let catalog = landfall_compute::kinds(catalog);
    let catalog = landfall_lb::kinds(catalog);
    let catalog: Catalog<Local> = landfall_container::kinds(catalog);

    let desired = if destroy {
        Stack::new(name.clone())
    } else {
        wanted(name.clone())?
    };
    let live = catalog.snapshot(&local, &name).await?;
    let plan = plan(&desired, &live, catalog.schema())?;
    let options = ApplyOptions {
        poll_interval: PollInterval::LOCAL,
        events,
        ..ApplyOptions::default()
    };
    let applied = apply(&plan, &local, &catalog, &options).await;
    if let Some((key, error)) = applied.failed.first() {
        return Err(format!("{key}: {error}").into());
    }
    if destroy {
        local.settle().await?;
    } else {
        healthy(&local, &applied).await?;
        println!("{}", output(&applied, "listener/http", "url")?);
    }
    Ok(())
}

fn wanted(name: StackName) -> Result<Stack, Box<dyn Error>> {
    let port = Port::new(8000)?;
    let ports = OpenPorts::new(
        vec![Port::new(80)?],
        vec![ServicePort {
            name: "web".parse()?,
            port,
        }],
    );
    let mut stack = Stack::new(name);
    let network = TwoTier {
        cidr: "10.1.0.0/16".parse()?,
        zones: vec![Zone::new("local-1a")?, Zone::new("local-1b")?],
        nat: NatMode::Single,
        s3_endpoint: true,
        open_ports: ports.clone(),
    }
    .add_to(&mut stack)?;
    let groups = add_groups(&mut stack, &network.vpc.id(), &ports)?;

    let repository = Repository {
        name: "by-hand/web".to_owned(),
        keep: 10,
    };
    let repository = stack.add("web", repository);
    let image = stack.add("web", image(repository.id())?);
    let template = stack.add(
        "web",
        LaunchTemplate {
            instance_type: "t3.micro".to_owned(),
            groups: groups.services.values().map(|group| group.id()).collect(),
            profile: None,
            key: None,
            workload: Workload {
                image: image.id(),
                port,
                env: BTreeMap::new(),
                secrets: BTreeMap::new(),
                logs: None,
                limits: Limits::default(),
                init: false,
            },
        },
    );
    let target_group = stack.add(
        "web",
        TargetGroup {
            vpc: network.vpc.id(),
            port,
            health_check: HealthCheck {
                path: "/healthz".to_owned(),
                interval: 10,
                timeout: 5,
                healthy_threshold: 2,
                unhealthy_threshold: 2,
                matcher: "200".to_owned(),
            },
            deregistration_delay: 30,
        },
    );
    let balancer = stack.add(
        "main",
        LoadBalancer {
            vpc: network.vpc.id(),
            subnets: network.public.iter().map(|tier| tier.subnet.id()).collect(),
            groups: vec![groups.balancer.id()],
            idle_timeout: 60,
            protected: false,
        },
    );
    stack.add(
        "http",
        Listener {
            balancer: balancer.id(),
            port: Port::new(80)?,
            certificate: None,
            action: Action::Forward(target_group.id()),
        },
    );
    stack.add(
        "web",
        AutoscalingGroup {
            template: template.id(),
            subnets: network
                .private
                .iter()
                .map(|tier| tier.subnet.id())
                .collect(),
            min: 1,
            desired: 2,
            max: 4,
            target_groups: vec![target_group.id()],
            health_check_grace_period: 30,
        },
    );
    Ok(stack)
}

fn image(repository: Input<RepositoryId>) -> Result<Image, Box<dyn Error>> {
    let context = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../digipay")
        .canonicalize()?;
    let request = BuildRequest::new(context);
    Ok(Image {
        repository,
        source: request.identity()?,
        platform: Platform::host(),
        build_spec: BuildSpec {
            context: request.context,
            dockerfile: request.dockerfile,
            args: BTreeMap::new(),
            target: None,
            config_file: request.config_file,
            builder: BuilderChoice::Auto,
        },
    })
}

/// Waits until both targets are healthy.
async fn healthy(local: &Local, applied: &Applied) -> Result<(), Box<dyn Error>> {
    let key: Key = "target-group/web".parse()?;
    let group = TargetGroupId::from(
        applied
            .ready
            .get(&key)
            .ok_or("there is no target group")?
            .id
            .clone(),
    );
    tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let targets = local.target_health(&group).await?;
            if targets
                .iter()
                .filter(|target| target.state == TargetState::Healthy)
                .count()
                >= 2
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await?
}

fn output(applied: &Applied, key: &str, field: &str) -> Result<String, Box<dyn Error>> {
    let ready = applied.ready.get(&key.parse()?).ok_or("it was not made")?;
    Ok(ready.output[field]
        .as_str()
        .ok_or("it has no such output")?
        .to_owned())
}
