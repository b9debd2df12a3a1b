//! `landfall.toml`: what it can say, how it is read, and what is wrong with it.
//!
//! The tables below are the one place where a key is declared: the reader, the defaults, the ranges and the
//! JSON schema all come from there.

#[cfg(test)]
mod agreement_tests;
mod collection;
mod custom_rules;
mod fault;
pub(crate) mod file;
#[cfg(test)]
mod fuzz_tests;
mod hints;
mod key;
mod limits;
mod mode;
mod overlay;
#[cfg(test)]
mod overlay_tests;
#[cfg(test)]
mod own_tests;
mod reading;
mod region;
pub(crate) mod route;
mod rule_values;
mod rules;
mod schema;
mod setting;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use landfall_compute::{ByteSize, CpuShare, Limits, LogGroup, PublicKey, SecretReference};
use landfall_container::{BuilderChoice, Platform};
use landfall_network::NatMode;
use landfall_provider::{Port, ResourceName, StackName};

pub use self::collection::Commands;
pub use self::fault::{ConfigErrors, Diagnostic, LocatedDiagnostic};
pub use self::file::StackLocation;
pub use self::mode::Mode;
pub use self::overlay::Environments;
pub use self::region::{InvalidRegion, Region, zones};
pub use self::rule_values::{
    Acl, AclEntry, Acls, EndpointName, Expectation, GroupRule, Peer, Route, RouteTable,
    RouteTables, RouteVia, SecurityGroup,
};
pub use self::schema::json_schema;

pub(crate) use self::hints::for_name;
pub(crate) use self::rule_values::is_address;

use self::table::{defaults, table};

table! {
    /// A stack: web services, their network and their load balancer.
    pub struct Config {
        /// The stack's name: 1 to 24 lower-case letters, digits and single hyphens.
        pub stack: StackName = Needed(StackName::new("stack").expect("a literal stack name follows the rule")),
        /// How it is built: `balanced`, a load balancer before instances in several zones, or `single`, one instance that clients ask themselves.
        pub mode: Mode = Default(Mode::Balanced),
        /// The region, such as `ap-south-1`. Without one it is `local-1`, which exists on this machine only: AWS wants a region that somebody chose.
        pub region: Region = Default(Region::local()),
        /// The AWS account that this may be deployed to, 12 digits. Deploying to another one is refused.
        pub account: Option<String> = Default(None),
        /// Whether destroying the stack is refused, and so is every change by which an address, data or the service would be lost.
        pub protect: bool = Default(false),
        /// The network.
        pub network: Network = Default(Network::blank()),
        /// The load balancer.
        pub load_balancer: LoadBalancer = Default(LoadBalancer::blank()),
        /// What concerns a stack of one instance, and no other.
        pub single: Single = Default(Single::blank()),
        /// The services, by name.
        pub service: BTreeMap<ResourceName, Service> = Needed(BTreeMap::new()),
        /// What concerns this machine as a provider, and no other.
        pub local: Local = Default(Local::blank()),
        /// What is different in an environment, by its name: the same keys, laid over the rest of the file by `--env`.
        pub env: Environments = Default(Environments::default()),
    }
    beside {
        /// Where relative paths start and `before` commands run: the file's directory.
        pub directory: PathBuf = PathBuf::from("."),
        /// The file itself, if there is one: never part of an image.
        pub file: Option<PathBuf> = None
    }
}

table! {
    /// The network: a VPC with a public and a private subnet in every zone.
    pub struct Network {
        /// The addresses of the VPC: an IPv4 block between /16 and /28.
        pub cidr: Ipv4Net = Default(Ipv4Net::new_assert([10, 0, 0, 0].into(), 16)),
        /// How many zones it spans. A load balancer needs two at least.
        pub zones: u32 = Default(2) in 1..=6,
        /// Where the NAT gateways stand, by which instances reach the internet: one per zone, a single one for all, or none.
        pub nat: NatMode = Default(NatMode::PerZone),
        /// A host in a public subnet, through which operators reach the instances. Without this table there is none.
        pub bastion: Option<Bastion> = Default(None),
        /// Whether S3 is reached by a gateway endpoint instead of a NAT gateway. It costs nothing.
        pub s3_endpoint: bool = Default(true),
        /// Rules of one's own for security groups, by group: `balancer`, `bastion` or a service.
        pub security_group: BTreeMap<ResourceName, SecurityGroup> = Default(BTreeMap::new()),
        /// Entries of one's own for the network ACLs.
        pub acl: Acls = Default(Acls::default()),
        /// Routes of one's own.
        pub route_table: RouteTables = Default(RouteTables::default()),
        /// What has to be reachable, or must not be, beside what always holds.
        pub expect: Vec<Expectation> = Default(Vec::new()),
    }
}

table! {
    /// The bastion: a host with a public address that may be logged in to.
    pub struct Bastion {
        /// Who may connect to it: IPv4 blocks. Nobody, unless `--my-address` adds who deploys. The whole internet is refused.
        pub allow: Vec<Ipv4Net> = Default(Vec::new()),
        /// Its instance type.
        pub instance: String = Default("t3.nano".to_owned()),
        /// The file of the public key whose owner may log in, relative to the file; `~/` is the home directory. Without it, a key of whoever deploys: from the agent, of `~/.ssh/id_ed25519.pub` and `~/.ssh/id_rsa.pub`, or else a new one.
        pub key: Option<PathBuf> = Default(None),
    }
    beside {
        /// The public key, as [`Config::load`] has read it. Without one nobody can log in. The `landfall` program looks in
        /// more places than that.
        pub public_key: Option<PublicKey> = None
    }
}

table! {
    /// The application load balancer in the public subnets.
    pub struct LoadBalancer {
        /// The port that it listens on, for HTTP.
        pub port: Port = Default(Port::new(80).expect("80 is a port")),
        /// A certificate, by its ARN in ACM: port 443 then serves HTTPS, and `port` sends everybody there.
        pub certificate: Option<String> = Default(None),
        /// For how many seconds a connection may be silent.
        pub idle_timeout: u32 = Default(60) in 1..=4000,
    }
}

table! {
    /// What concerns a stack of one instance: `mode = "single"`.
    pub struct Single {
        /// Who may connect to the service's port: IPv4 blocks. As with a load balancer, everybody by default.
        pub allow: Vec<Ipv4Net> = Default(vec![Ipv4Net::new_assert([0, 0, 0, 0].into(), 0)]),
    }
}

table! {
    /// A service: a container image that runs on every instance of an autoscaling group.
    pub struct Service {
        /// The port that the container listens on. It is told so in `PORT`.
        pub port: Port = Needed(Port::new(8000).expect("8000 is a port")),
        /// Which requests it takes: a path such as `/api/*`, or a host such as `api.example.com`. One service has none, and takes the rest.
        pub route: Option<String> = Default(None),
        /// How the image is made.
        pub image: ImageSource = Default(ImageSource::blank()),
        /// How it is found out whether an instance can take requests.
        pub health: Health = Default(Health::blank()),
        /// The instance type.
        pub instance: String = Default("t3.micro".to_owned()),
        /// How many instances there are.
        pub scale: Scale = Default(Scale::blank()),
        /// The container's environment. No secrets: whoever may look at the launch template can read it.
        pub env: BTreeMap<String, String> = Default(BTreeMap::new()),
        /// Environment variables whose values every instance reads when it starts: `ssm:/path/of/parameter` or `secretsmanager:name`, with `#key` for one key of a JSON object.
        pub secrets: BTreeMap<String, SecretReference> = Default(BTreeMap::new()),
        /// The CloudWatch log group that the container's output goes to; made if there is none, and never ended.
        pub log_group: Option<LogGroup> = Default(None),
        /// The most memory that the container's processes may have together, such as `512 MiB`; what takes more ends the instance.
        pub memory: Option<ByteSize> = Default(None),
        /// The most processor time that the container's processes may use together, in processors: `0.5` is half of one.
        pub cpu: Option<CpuShare> = Default(None),
        /// The most processes and threads that the container may have.
        pub processes: Option<u32> = Default(None) in 16..=1_000_000,
        /// The most room that the files written by the container may take, such as `2 GiB`.
        pub disk: Option<ByteSize> = Default(None),
        /// Whether process 1 of the container is a reaper that passes signals on, as with `docker run --init`.
        pub init: bool = Default(false),
        /// For how many seconds an instance that leaves may finish what it has begun.
        pub deregistration_delay: u32 = Default(30) in 0..=3600,
    }
}

table! {
    /// How an image is made.
    pub struct ImageSource {
        /// The directory whose files the build may use, relative to the file.
        pub context: PathBuf = Default(PathBuf::from(".")),
        /// The Dockerfile, relative to the context.
        pub dockerfile: PathBuf = Default(PathBuf::from("Dockerfile")),
        /// The stage to stop at; without it, the last one.
        pub target: Option<String> = Default(None),
        /// Build arguments: values for the Dockerfile's `ARG`s.
        pub args: BTreeMap<String, String> = Default(BTreeMap::new()),
        /// What it is to run on, such as `linux/arm64`; without it, the platform of this machine.
        pub platform: Option<Platform> = Default(None),
        /// Who builds it: a Docker or Podman engine, Landfall itself (for Dockerfiles without RUN), or the engine if one answers.
        pub builder: BuilderChoice = Default(BuilderChoice::Auto),
        /// How many images the repository keeps; when there are more, the oldest go.
        pub keep: u32 = Default(10) in 1..=1000,
        /// A command that is run first, in the file's directory, or a list of them.
        pub before: Commands = Default(Commands::default()),
    }
}

table! {
    /// How it is found out whether an instance can take requests: the balancer asks for a path.
    pub struct Health {
        /// The path that is asked for.
        pub path: String = Default("/".to_owned()),
        /// Seconds between two checks.
        pub interval: u32 = Default(10) in 5..=300,
        /// Seconds until a missing answer is a failure; less than the interval.
        pub timeout: u32 = Default(5) in 2..=120,
        /// Good answers in a row until an unhealthy instance is healthy again. A new one needs a single good answer.
        pub healthy_threshold: u32 = Default(2) in 2..=10,
        /// Failures in a row until an instance is unhealthy.
        pub unhealthy_threshold: u32 = Default(2) in 2..=10,
        /// The status codes of a good answer, 200 to 499: `200`, `200,302` or `200-299`.
        pub matcher: String = Default("200".to_owned()),
        /// For how many seconds a deploy waits until all instances are healthy, and a new instance may take until it is.
        pub deadline: u32 = Default(300) in 1..=3600,
    }
}

table! {
    /// How many instances there are.
    pub struct Scale {
        /// The fewest that scaling leaves.
        pub min: u32 = Default(1) in 1..=1000,
        /// How many there are to begin with.
        pub desired: u32 = Default(2) in 1..=1000,
        /// The most that scaling makes.
        pub max: u32 = Default(4) in 1..=1000,
        /// Scale so that the instances' processors are this busy on average, in percent.
        pub cpu: Option<u32> = Default(None) in 1..=100,
        /// Scale so that every instance gets this many requests per minute.
        pub requests: Option<u32> = Default(None) in 1..=1_000_000_000,
    }
}

table! {
    /// What concerns this machine as a provider, and no other.
    pub struct Local {
        /// The port of the loopback address where the balancer is reached from this machine; without it one is picked.
        pub port: Option<Port> = Default(None),
    }
}

impl Config {
    /// A stack with one service and a default for all the rest. Relative paths start in the current directory.
    ///
    /// ```
    /// use landfall_pipeline::{Config, Health, Scale, Service};
    /// use landfall_provider::Port;
    ///
    /// let mut config = Config::new("digipay".parse()?, "web".parse()?, Service {
    ///     health: Health { path: "/healthz".to_owned(), ..Health::default() },
    ///     scale: Scale { desired: 3, ..Scale::default() },
    ///     ..Service::new(Port::new(8000)?)
    /// });
    /// config.network.zones = 3;
    /// assert_eq!(config.check(), []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(stack: StackName, name: ResourceName, service: Service) -> Self {
        Self {
            stack,
            service: BTreeMap::from([(name, service)]),
            ..Self::blank()
        }
    }

    /// What breaks the rules of the keys, all of it at once. No stack is built.
    ///
    /// A file's faults are found by this as well, so what [`load`](Self::load) gives has none. What only the stack
    /// shows, such as too many entries for a network ACL, `load` and [`stack()`](crate::stack()) find.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        setting::Setting::check(self, &setting::Field::top(), &mut problems);
        problems.extend(self.misplaced(|key| self.differs(key)));
        problems
    }
}

impl Service {
    /// A service on this port, with a default for all the rest.
    pub fn new(port: Port) -> Self {
        Self {
            port,
            ..Self::blank()
        }
    }

    /// How much of its instance the container may use.
    pub fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            cpu: self.cpu,
            processes: self.processes,
            disk: self.disk,
        }
    }
}

/// Where a listener with a certificate listens: <https://www.rfc-editor.org/rfc/rfc9110#section-4.2.2>
pub(crate) fn https() -> Port {
    Port::new(443).expect("443 is a port")
}

impl LoadBalancer {
    /// The ports that it listens on.
    pub(crate) fn ports(&self) -> Vec<Port> {
        let https = self.certificate.as_ref().map(|_| https());
        std::iter::once(self.port).chain(https).collect()
    }

    /// The name of the listener that serves, and does not only send on.
    pub(crate) fn serving_listener(&self) -> &'static str {
        if self.certificate.is_some() {
            "https"
        } else {
            "http"
        }
    }
}

impl Bastion {
    /// A bastion for these addresses.
    pub fn new(allow: impl IntoIterator<Item = Ipv4Net>) -> Self {
        Self {
            allow: allow.into_iter().collect(),
            ..Self::blank()
        }
    }
}

defaults!(
    Network,
    LoadBalancer,
    Single,
    ImageSource,
    Health,
    Scale,
    Local
);
