//! The cloud that is measured: two instances, and before them the balancer and nginx side by side.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use landfall_compute::{AutoscalingGroup, Instance, LaunchTemplate, Limits, Workload};
use landfall_container::{BuildRequest, BuildSpec, BuilderChoice, Image, Platform, Repository};
use landfall_lb::{
    Action, HealthCheck, LbProvider, Listener, LoadBalancer, TargetGroup, TargetHealth, TargetState,
};
use landfall_local::{Local, LocalOptions, Reached, Vantage, testing};
use landfall_network::{
    ElasticIp, ElasticIpOutput, NatMode, OpenPorts, ServicePort, TwoTier, add_groups,
};
use landfall_provider::{
    ApplyOptions, Catalog, Handle, PollInterval, Port, Probe, Stack, StackName, TargetGroupId,
    apply, plan,
};

use crate::nginx;

/// The ports of listener and service.
const LISTENER: u16 = 80;
const SERVICE: u16 = 8000;

/// How long it may take until everything answers.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A cloud of its own, ended with this value.
pub(crate) struct Bed {
    local: Local,
    catalog: Catalog<Local>,
    scratch: tempfile::TempDir,
}

/// Where the internet finds either proxy, on port 80.
pub(crate) struct Proxies {
    pub(crate) landfall: Ipv4Addr,
    pub(crate) nginx: Ipv4Addr,
}

impl Bed {
    /// Nothing, yet.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let scratch = tempfile::tempdir()?;
        let local = Local::open(LocalOptions {
            dir: Some(scratch.path().join("run")),
            image_store: Some(scratch.path().join("images")),
            ..LocalOptions::default()
        })?;
        let catalog = landfall_network::kinds(Catalog::new());
        let catalog = landfall_compute::kinds(catalog);
        let catalog = landfall_lb::kinds(catalog);
        Ok(Self {
            local,
            catalog: landfall_container::kinds(catalog),
            scratch,
        })
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// Makes everything, and waits until both proxies answer.
    ///
    /// # Errors
    /// When something cannot be made, or does not answer in time.
    pub(crate) async fn deploy(&self) -> Result<Proxies, Box<dyn Error>> {
        // nginx is told the addresses of its targets, so it comes when they are known.
        self.apply(&self.stack(None)?).await?;
        let targets = self.healthy_targets().await?;
        self.apply(&self.stack(Some(&targets))?).await?;
        let nginx = self.address_of_nginx().await?;
        self.until_open(nginx).await?;
        let landfall = self.first_node(nginx).await?;
        Ok(Proxies { landfall, nginx })
    }

    /// Both proxies, or only the balancer while the addresses of the targets are not known.
    fn stack(&self, targets: Option<&[SocketAddrV4]>) -> Result<Stack, Box<dyn Error>> {
        let service = Port::new(SERVICE)?;
        let listener = Port::new(LISTENER)?;
        let web = ServicePort {
            name: "web".parse()?,
            port: service,
        };
        let ports = OpenPorts::new(vec![listener], vec![web.clone()]);
        let mut stack = Stack::new(stack_name()?);
        let network = TwoTier {
            cidr: "10.0.0.0/16".parse()?,
            zones: vec!["local-1a".parse()?, "local-1b".parse()?],
            nat: NatMode::PerZone,
            s3_endpoint: true,
            open_ports: ports.clone(),
        }
        .add_to(&mut stack)?;
        let groups = add_groups(&mut stack, &network.vpc.id(), &ports)?;
        let image = self.image(&mut stack, "web", &nginx::service(SERVICE))?;
        let template = LaunchTemplate {
            instance_type: "t3.micro".to_owned(),
            groups: vec![groups.services[&web.name].id()],
            profile: None,
            key: None,
            workload: Workload {
                image: image.id(),
                port: service,
                env: BTreeMap::new(),
                secrets: BTreeMap::new(),
                logs: None,
                limits: Limits::default(),
                init: false,
            },
        };
        let template = stack.add("web", template);
        let target_group = TargetGroup {
            vpc: network.vpc.id(),
            port: service,
            health_check: HealthCheck {
                path: "/".to_owned(),
                interval: 30,
                timeout: 5,
                healthy_threshold: 2,
                unhealthy_threshold: 2,
                matcher: "200".to_owned(),
            },
            deregistration_delay: 5,
        };
        let target_group = stack.add("web", target_group);
        let balancer = LoadBalancer {
            vpc: network.vpc.id(),
            subnets: network.public.iter().map(|tier| tier.subnet.id()).collect(),
            groups: vec![groups.balancer.id()],
            idle_timeout: 60,
            protected: false,
        };
        let balancer = stack.add("main", balancer);
        let http = Listener {
            balancer: balancer.id(),
            port: listener,
            certificate: None,
            action: Action::Forward(target_group.id()),
        };
        stack.add("http", http);
        let group = AutoscalingGroup {
            template: template.id(),
            subnets: network
                .private
                .iter()
                .map(|tier| tier.subnet.id())
                .collect(),
            min: 2,
            desired: 2,
            max: 2,
            target_groups: vec![target_group.id()],
            health_check_grace_period: 30,
        };
        stack.add("web", group);
        if let Some(targets) = targets {
            let address = stack.add("nginx", ElasticIp {});
            let configuration = nginx::reverse_proxy(LISTENER, targets);
            let image = self.image(&mut stack, "nginx", &configuration)?;
            let proxy = Instance {
                subnet: network.public[0].subnet.id(),
                groups: vec![groups.balancer.id()],
                instance_type: "t3.micro".to_owned(),
                address: Some(address.id()),
                profile: None,
                key: None,
                workload: Some(Workload {
                    image: image.id(),
                    port: listener,
                    env: BTreeMap::new(),
                    secrets: BTreeMap::new(),
                    logs: None,
                    limits: Limits::default(),
                    init: false,
                }),
            };
            stack.add("nginx", proxy);
        }
        Ok(stack)
    }

    fn image(
        &self,
        stack: &mut Stack,
        name: &str,
        configuration: &str,
    ) -> Result<Handle<Image>, Box<dyn Error>> {
        let context = self.scratch.path().join(name);
        nginx::context(&context, configuration)?;
        let request = BuildRequest::new(context);
        let repository = Repository {
            name: format!("bench/{name}"),
            keep: 1,
        };
        let repository = stack.add(name, repository);
        let image = Image {
            repository: repository.id(),
            source: request.identity()?,
            platform: Platform::host(),
            build_spec: BuildSpec {
                context: request.context,
                dockerfile: request.dockerfile,
                args: BTreeMap::new(),
                target: None,
                config_file: request.config_file,
                builder: BuilderChoice::Daemonless,
            },
        };
        Ok(stack.add(name, image))
    }

    async fn apply(&self, stack: &Stack) -> Result<(), Box<dyn Error>> {
        let snapshot = self.catalog.snapshot(&self.local, stack.name()).await?;
        let plan = plan(stack, &snapshot, self.catalog.schema())?;
        let options = ApplyOptions {
            poll_interval: PollInterval::LOCAL,
            ..ApplyOptions::default()
        };
        let applied = apply(&plan, &self.local, &self.catalog, &options).await;
        if applied.is_complete() {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.run_dir().join("cloud.log")).unwrap_or_default();
        Err(format!("not everything could be made: {:?}\n{log}", applied.failed).into())
    }

    async fn healthy_targets(&self) -> Result<Vec<SocketAddrV4>, Box<dyn Error>> {
        let id = self.id("target-group/web").await?;
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let targets = self
                .local
                .target_health(&TargetGroupId::from(id.clone()))
                .await?;
            let healthy = |target: &TargetHealth| target.state == TargetState::Healthy;
            if targets.len() == 2 && targets.iter().all(healthy) {
                return Ok(targets.iter().filter_map(|target| target.address).collect());
            }
            in_time(deadline, "the targets to be healthy").await?;
        }
    }

    async fn id(&self, key: &str) -> Result<String, Box<dyn Error>> {
        let snapshot = self.catalog.snapshot(&self.local, &stack_name()?).await?;
        let live = snapshot
            .get(&key.parse()?)
            .ok_or(format!("{key} is gone"))?;
        Ok(live.id.clone())
    }

    async fn address_of_nginx(&self) -> Result<Ipv4Addr, Box<dyn Error>> {
        let snapshot = self.catalog.snapshot(&self.local, &stack_name()?).await?;
        match snapshot
            .get(&"elastic-ip/nginx".parse()?)
            .map(|live| &live.state)
        {
            Some(Probe::Usable(output)) => {
                let output: ElasticIpOutput = serde_json::from_value(output.clone())?;
                Ok(output.address)
            }
            other => Err(format!("elastic-ip/nginx is {other:?}").into()),
        }
    }

    async fn until_open(&self, address: Ipv4Addr) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while !self.is_open(address).await? {
            in_time(deadline, "nginx to listen").await?;
        }
        Ok(())
    }

    /// The public address of the balancer's node in the first zone: nodes get theirs in the order of zones,
    /// and beside nginx nobody else in this cloud answers the internet.
    async fn first_node(&self, nginx: Ipv4Addr) -> Result<Ipv4Addr, Box<dyn Error>> {
        for last in 1..=20 {
            let address = Ipv4Addr::new(203, 0, 113, last);
            if address != nginx && self.is_open(address).await? {
                return Ok(address);
            }
        }
        Err("found no node of the balancer on the internet".into())
    }

    async fn is_open(&self, address: Ipv4Addr) -> Result<bool, Box<dyn Error>> {
        let moment = Duration::from_millis(300);
        let reached = self
            .local
            .reach(Vantage::Internet, address, LISTENER, moment)
            .await?;
        Ok(reached == Reached::Open)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        end(&self.run_dir());
    }
}

/// Ends the cloud at once; the kernel takes everything with it.
fn end(run_dir: &Path) {
    if let Ok(Some(cloud)) = testing::process::running(run_dir)
        && let Some(pid) = cloud.pid
    {
        let pid = nix::unistd::Pid::from_raw(pid);
        // One that has ended meanwhile needs no signal.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

fn stack_name() -> Result<StackName, Box<dyn Error>> {
    Ok(StackName::new("bench")?)
}

/// Waits a moment, unless the time is over.
async fn in_time(deadline: Instant, what: &str) -> Result<(), Box<dyn Error>> {
    if Instant::now() > deadline {
        return Err(format!("waited in vain for {what}").into());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}
