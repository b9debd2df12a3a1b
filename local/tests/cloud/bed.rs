//! A cloud for one test: its own directory, its own images, ended with the test whatever comes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use landfall_compute::{
    AutoscalingGroup, ComputeProvider, GroupInstance, Instance, LaunchTemplate, Limits, Release,
    Workload,
};
use landfall_container::{BuildRequest, BuildSpec, BuilderChoice, Image, Platform, Repository};
use landfall_lb::{
    Action, HealthCheck, LbProvider, Listener, LoadBalancer, TargetGroup, TargetHealth, TargetState,
};
use landfall_local::{Local, LocalOptions, testing};
use landfall_network::{ElasticIp, NatMode, OpenPorts, ServicePort, TwoTier, add_groups};
use landfall_provider::{
    Applied, ApplyOptions, AutoscalingGroupId, Catalog, Input, Key, LaunchTemplateId, Plan,
    PollInterval, Port, Probe, RepositoryId, Snapshot, Stack, StackName, TargetGroupId, apply,
    plan,
};

/// How long anything in these tests may take; they are about what happens, not how fast.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The port that the services listen on.
pub(crate) const SERVICE_PORT: u16 = 8000;

/// A cloud of its own.
pub(crate) struct Bed {
    pub(crate) local: Local,
    pub(crate) catalog: Catalog<Local>,
    pub(crate) dir: tempfile::TempDir,
}

/// What varies between the stacks of these tests.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) desired: u32,
    pub(crate) zones: usize,
    /// Who may log in to a bastion; there is none without.
    pub(crate) bastion: Option<&'static str>,
    pub(crate) cidr: &'static str,
    pub(crate) health_path: &'static str,
    /// Ports that everybody may ask the balancer on, beside 80; no listener is there.
    pub(crate) open: &'static [u16],
}

impl Shape {
    pub(crate) fn named(name: &'static str) -> Self {
        Self {
            name,
            env: BTreeMap::new(),
            limits: Limits::default(),
            desired: 2,
            zones: 2,
            bastion: None,
            cidr: "10.0.0.0/16",
            health_path: "/healthz",
            open: &[],
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lf")
            .tempdir_in("/tmp")
            .unwrap();
        let local = Local::open(LocalOptions {
            dir: Some(dir.path().join("run")),
            program: Some(program()),
            image_store: Some(dir.path().join("images")),
            ..LocalOptions::default()
        })
        .unwrap();
        let catalog = landfall_network::kinds(Catalog::new());
        let catalog = landfall_compute::kinds(catalog);
        let catalog = landfall_lb::kinds(catalog);
        Self {
            local,
            catalog: landfall_container::kinds(catalog),
            dir,
        }
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn cloud(&self) -> Option<testing::process::Cloud> {
        testing::process::running(&self.run_dir()).unwrap()
    }

    /// The stack of a service behind a balancer.
    pub(crate) fn stack(&self, shape: &Shape) -> Stack {
        let port = Port::new(SERVICE_PORT).unwrap();
        let web = ServicePort {
            name: "web".parse().unwrap(),
            port,
        };
        let ports = OpenPorts {
            bastion_allow: shape.bastion.map(|allowed| vec![allowed.parse().unwrap()]),
            ..OpenPorts::new(
                [80].iter()
                    .chain(shape.open)
                    .map(|port| Port::new(*port).unwrap())
                    .collect(),
                vec![web],
            )
        };
        let mut stack = Stack::new(StackName::new(shape.name).unwrap());
        let network = TwoTier {
            cidr: shape.cidr.parse().unwrap(),
            zones: ["local-1a", "local-1b", "local-1c"][..shape.zones]
                .iter()
                .map(|zone| zone.parse().unwrap())
                .collect(),
            nat: NatMode::PerZone,
            s3_endpoint: true,
            open_ports: ports.clone(),
        }
        .add_to(&mut stack)
        .unwrap();
        let groups = add_groups(&mut stack, &network.vpc.id(), &ports).unwrap();
        if let Some(group) = &groups.bastion {
            let address = stack.add("bastion", ElasticIp {});
            let instance = Instance {
                subnet: network.public[0].subnet.id(),
                groups: vec![group.id()],
                instance_type: "t3.nano".to_owned(),
                address: Some(address.id()),
                profile: None,
                key: None,
                workload: None,
            };
            stack.add("bastion", instance);
        }
        let repository = Repository {
            name: format!("{}/web", shape.name),
            keep: 10,
        };
        let repository = stack.add("web", repository);
        let image = stack.add("web", self.image(repository.id()));
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
                    env: shape.env.clone(),
                    secrets: BTreeMap::new(),
                    logs: None,
                    limits: shape.limits,
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
                    path: shape.health_path.to_owned(),
                    interval: 5,
                    timeout: 2,
                    healthy_threshold: 2,
                    unhealthy_threshold: 2,
                    matcher: "200".to_owned(),
                },
                deregistration_delay: 5,
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
                port: Port::new(80).unwrap(),
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
                min: shape.desired.min(1),
                desired: shape.desired,
                max: 4,
                target_groups: vec![target_group.id()],
                health_check_grace_period: 30,
            },
        );
        stack
    }

    fn image(&self, repository: Input<RepositoryId>) -> Image {
        let context = self.dir.path().join("context");
        landfall_testkit::service::context(&context, &service_cache()).unwrap();
        let request = BuildRequest::new(context);
        Image {
            repository,
            source: request.identity().unwrap(),
            platform: Platform::host(),
            build_spec: BuildSpec {
                context: request.context,
                dockerfile: request.dockerfile,
                args: BTreeMap::new(),
                target: None,
                config_file: request.config_file,
                builder: BuilderChoice::Daemonless,
            },
        }
    }

    pub(crate) async fn snapshot(&self, name: &str) -> Snapshot {
        self.catalog
            .snapshot(&self.local, &StackName::new(name).unwrap())
            .await
            .unwrap()
    }

    pub(crate) async fn plan(&self, desired: &Stack) -> Plan {
        plan(
            desired,
            &self.snapshot(desired.name().as_str()).await,
            self.catalog.schema(),
        )
        .unwrap()
    }

    /// Applies what is missing, whatever comes of it.
    pub(crate) async fn apply(&self, desired: &Stack) -> Applied {
        let options = ApplyOptions {
            poll_interval: PollInterval::LOCAL,
            ..ApplyOptions::default()
        };
        apply(
            &self.plan(desired).await,
            &self.local,
            &self.catalog,
            &options,
        )
        .await
    }

    /// Applies, and waits until as many targets as desired are healthy; gives the address.
    pub(crate) async fn deploy(&self, shape: &Shape) -> String {
        let applied = self.apply(&self.stack(shape)).await;
        assert!(
            applied.is_complete(),
            "{:?}, not started: {:?}",
            applied.failed,
            applied.not_started
        );
        self.roll(shape.name).await;
        until("the rollout to be done", async || {
            (self.rolling(shape.name).await == Probe::Usable(())).then_some(())
        })
        .await;
        self.until_healthy(shape.name, shape.desired as usize).await;
        applied.ready[&"listener/http".parse::<Key>().unwrap()].output["url"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Sets the group out to its template's newest version.
    pub(crate) async fn roll(&self, name: &str) {
        let (group, template) = self.released(name).await;
        let output = self.output(name, "launch-template/web").await;
        let version = output["version"].as_u64().unwrap().try_into().unwrap();
        let rolled = self.local.roll(&group, &template, version).await;
        rolled.unwrap();
    }

    /// How far that is.
    pub(crate) async fn rolling(&self, name: &str) -> Probe<()> {
        let (group, _) = self.released(name).await;
        self.local.rolling(&group).await.unwrap()
    }

    pub(crate) async fn releases(&self, name: &str) -> Vec<Release> {
        let (group, template) = self.released(name).await;
        self.local.releases(&template, &group).await.unwrap()
    }

    /// The ids of the group and its template.
    pub(crate) async fn released(&self, name: &str) -> (AutoscalingGroupId, LaunchTemplateId) {
        let snapshot = self.snapshot(name).await;
        let id = |key: &str| snapshot.get(&key.parse().unwrap()).unwrap().id.clone();
        (
            id("autoscaling-group/web").into(),
            id("launch-template/web").into(),
        )
    }

    pub(crate) async fn destroy(&self, name: &str) -> Applied {
        let applied = self.apply(&Stack::new(StackName::new(name).unwrap())).await;
        assert!(
            applied.is_complete(),
            "{:?}, not started: {:?}",
            applied.failed,
            applied.not_started
        );
        applied
    }

    pub(crate) async fn targets(&self, name: &str) -> Vec<TargetHealth> {
        let snapshot = self.snapshot(name).await;
        let group = snapshot.get(&"target-group/web".parse().unwrap()).unwrap();
        self.local
            .target_health(&TargetGroupId::from(group.id.clone()))
            .await
            .unwrap()
    }

    pub(crate) async fn instances(&self, name: &str) -> Vec<GroupInstance> {
        let snapshot = self.snapshot(name).await;
        let group = snapshot
            .get(&"autoscaling-group/web".parse().unwrap())
            .unwrap();
        self.local
            .group_instances(&AutoscalingGroupId::from(group.id.clone()))
            .await
            .unwrap()
    }

    pub(crate) async fn until_healthy(&self, name: &str, count: usize) {
        let healthy = |target: &&TargetHealth| target.state == TargetState::Healthy;
        until("targets to be healthy", async || {
            let targets = self.targets(name).await;
            (targets.iter().filter(healthy).count() == count && targets.len() == count)
                .then_some(())
        })
        .await;
    }

    /// The output field of a live resource.
    pub(crate) async fn output(&self, name: &str, key: &str) -> serde_json::Value {
        let snapshot = self.snapshot(name).await;
        match &snapshot.get(&key.parse().unwrap()).unwrap().state {
            landfall_provider::Probe::Usable(output) => output.clone(),
            other => panic!("{key} is {other:?}"),
        }
    }
}

/// Where a test that is run as another user has copies of what it needs.
pub(crate) const COPIES: &str = "LANDFALL_TEST_COPIES";

/// The program that becomes the cloud.
pub(crate) fn program() -> PathBuf {
    match std::env::var_os(COPIES) {
        Some(copies) => Path::new(&copies).join("landfall-cloud"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_landfall-cloud")),
    }
}

/// Where the service is compiled, once for all tests.
pub(crate) fn service_cache() -> PathBuf {
    match std::env::var_os(COPIES) {
        Some(copies) => PathBuf::from(copies),
        None => PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // A test that failed halfway leaves its cloud running.
        if let Ok(Some(cloud)) = testing::process::running(&self.run_dir())
            && let Some(pid) = cloud.pid
        {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.run_dir().join("cloud.log")).unwrap_or_default();
            eprintln!("the cloud's log:\n{log}");
        }
    }
}

/// Looks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
