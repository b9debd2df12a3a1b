//! `landfall.toml`: its keys, its reader and its checks.
//!
//! The tables below are the only declaration of each key: the reader, the defaults, the ranges and the
//! JSON schema are derived from them.

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
mod zones;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use landfall_compute::{ByteSize, CpuShare, Limits, LogGroup, PublicKey, SecretReference};
use landfall_container::{BuilderChoice, Platform};
use landfall_network::NatMode;
use landfall_provider::{Port, ResourceName, StackName, Zone};

pub use self::collection::Commands;
pub use self::fault::{ConfigErrors, Diagnostic, LocatedDiagnostic};
pub use self::file::StackLocation;
pub use self::mode::Mode;
pub use self::overlay::Environments;
pub use self::region::{InvalidRegion, Region, zones};
pub use self::rule_values::{
    Acl, Acls, CustomAclEntry, CustomSecurityRule, EndpointName, Expectation, Route, RouteTable,
    RouteTables, RouteVia, SecurityGroup,
};
pub use self::schema::json_schema;
pub use self::zones::{AccountZones, Zones};

pub(crate) use self::hints::for_name;
pub(crate) use self::rule_values::is_address;

use self::table::{defaults, table};

table! {
    /// A stack: web services, their network and their load balancer.
    pub struct Config {
        /// The stack's name: 1 to 24 lower-case letters, digits and single hyphens.
        pub stack: StackName = Needed(StackName::new("stack").expect("a literal stack name follows the rule")),
        /// The kind of stack: `balanced`, a load balancer in front of instances in several zones, or `single`, one instance with its own address.
        pub mode: Mode = Default(Mode::Balanced),
        /// The region, such as `ap-south-1`. The default is `local-1`, which exists only on this machine; AWS needs an explicit region.
        pub region: Region = Default(Region::local()),
        /// The only AWS account that this file may be deployed to, 12 digits.
        pub account: Option<String> = Default(None),
        /// Refuse to destroy the stack, and every change that would lose an address, data or the service.
        pub protect: bool = Default(false),
        /// The network.
        pub network: Network = Default(Network::blank()),
        /// The load balancer.
        pub load_balancer: LoadBalancer = Default(LoadBalancer::blank()),
        /// Keys for `mode = "single"` only.
        pub single: Single = Default(Single::blank()),
        /// The services, by name.
        pub service: BTreeMap<ResourceName, Service> = Needed(BTreeMap::new()),
        /// Keys for the local provider only.
        pub local: Local = Default(Local::blank()),
        /// The differences of each environment, by its name: `--env` merges these keys into the rest of the file.
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
        /// The number of zones, or a list of their names, such as `["ap-northeast-1a", "ap-northeast-1c"]`. A load balancer needs at least two.
        pub zones: Zones = Default(Zones::Count(2)) in 1..=6,
        /// The NAT gateways, through which instances reach the internet: one per zone, one for all zones, or none.
        pub nat: NatMode = Default(NatMode::PerZone),
        /// A host in a public subnet, through which operators reach the instances. Without this table there is none.
        pub bastion: Option<Bastion> = Default(None),
        /// Reach S3 through a gateway endpoint instead of a NAT gateway. It costs nothing.
        pub s3_endpoint: bool = Default(true),
        /// Custom rules of security groups, by group: `balancer`, `bastion` or a service.
        pub security_group: BTreeMap<ResourceName, SecurityGroup> = Default(BTreeMap::new()),
        /// Custom entries of the network ACLs.
        pub acl: Acls = Default(Acls::default()),
        /// Custom routes.
        pub route_table: RouteTables = Default(RouteTables::default()),
        /// Connections that must be allowed or blocked, in addition to those that always hold.
        pub expect: Vec<Expectation> = Default(Vec::new()),
    }
    beside {
        /// The zones that [`Config::choose_zones`] has chosen for a number of zones. Without them, the letters from `a`.
        pub chosen_zones: Vec<Zone> = Vec::new()
    }
}

table! {
    /// The bastion: a host with a public address that may be logged in to.
    pub struct Bastion {
        /// The addresses that may connect to the bastion: IPv4 blocks. `--my-address` adds the address of the operator. The whole internet is refused.
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
        /// The port of the HTTP listener.
        pub port: Port = Default(Port::new(80).expect("80 is a port")),
        /// The ARN of a certificate in ACM: port 443 then serves HTTPS, and `port` redirects to it.
        pub certificate: Option<String> = Default(None),
        /// The seconds after which a silent connection is closed.
        pub idle_timeout: u32 = Default(60) in 1..=4000,
    }
}

table! {
    /// Keys for a stack of one instance: `mode = "single"`.
    pub struct Single {
        /// The addresses that may connect to the service port: IPv4 blocks. The default is every address, as for a load balancer.
        pub allow: Vec<Ipv4Net> = Default(vec![Ipv4Net::new_assert([0, 0, 0, 0].into(), 0)]),
    }
}

table! {
    /// A service: a container image that runs on every instance of an autoscaling group.
    pub struct Service {
        /// The port on which the container listens. The container gets it in `PORT`.
        pub port: Port = Needed(Port::new(8000).expect("8000 is a port")),
        /// The requests of this service: a path such as `/api/*`, or a host such as `api.example.com`. One service has no route, and gets the other requests.
        pub route: Option<String> = Default(None),
        /// The image of the service.
        pub image: ImageSource = Default(ImageSource::blank()),
        /// The health check of the instances.
        pub health: Health = Default(Health::blank()),
        /// The instance type.
        pub instance: String = Default("t3.micro".to_owned()),
        /// The number of instances.
        pub scale: Scale = Default(Scale::blank()),
        /// The environment of the container. Put no secrets here: everyone with access to the launch template can read it.
        pub env: BTreeMap<String, String> = Default(BTreeMap::new()),
        /// Environment variables whose values every instance reads when it starts: `ssm:/path/of/parameter` or `secretsmanager:name`, with `#key` for one key of a JSON object.
        pub secrets: BTreeMap<String, SecretReference> = Default(BTreeMap::new()),
        /// The CloudWatch log group that also receives the output of the container. It is created if it does not exist, and never deleted.
        pub log_group: Option<LogGroup> = Default(None),
        /// The maximum memory of all processes of the container, such as `512 MiB`; an instance that exceeds it is ended.
        pub memory: Option<ByteSize> = Default(None),
        /// The maximum CPU time of all processes of the container, in processors: `0.5` is half a processor.
        pub cpu: Option<CpuShare> = Default(None),
        /// The maximum number of processes and threads of the container.
        pub processes: Option<u32> = Default(None) in 16..=1_000_000,
        /// The maximum size of all files that the container writes, such as `2 GiB`.
        pub disk: Option<ByteSize> = Default(None),
        /// Run a reaper as process 1 of the container, which passes signals on, as with `docker run --init`.
        pub init: bool = Default(false),
        /// The seconds in which an instance that is removed can finish its requests.
        pub deregistration_delay: u32 = Default(30) in 0..=3600,
    }
}

table! {
    /// The source of an image.
    pub struct ImageSource {
        /// The directory with the files for the build, relative to the file.
        pub context: PathBuf = Default(PathBuf::from(".")),
        /// The Dockerfile, relative to the context.
        pub dockerfile: PathBuf = Default(PathBuf::from("Dockerfile")),
        /// The stage at which the build stops; the default is the last one.
        pub target: Option<String> = Default(None),
        /// Build arguments: values for the Dockerfile's `ARG`s.
        pub args: BTreeMap<String, String> = Default(BTreeMap::new()),
        /// The platform of the image, such as `linux/arm64`; the default is the platform of this machine.
        pub platform: Option<Platform> = Default(None),
        /// The builder: `engine` is a Docker or Podman engine, `daemonless` is Landfall itself, for Dockerfiles without RUN. `auto` is daemonless if the Dockerfile allows it, otherwise an engine.
        pub builder: BuilderChoice = Default(BuilderChoice::Auto),
        /// The number of images that the repository keeps; when there are more, the oldest are deleted.
        pub keep: u32 = Default(10) in 1..=1000,
        /// A shell command that runs first, in the directory of the file, or a list of commands.
        pub before: Commands = Default(Commands::default()),
    }
}

table! {
    /// The health check of the instances: the balancer requests a path.
    pub struct Health {
        /// The path of the check.
        pub path: String = Default("/".to_owned()),
        /// Seconds between two checks.
        pub interval: u32 = Default(10) in 5..=300,
        /// Seconds after which a missing response counts as a failure; less than the interval.
        pub timeout: u32 = Default(5) in 2..=120,
        /// Successful checks in a row until an unhealthy instance is healthy again. A new instance needs only one.
        pub healthy_threshold: u32 = Default(2) in 2..=10,
        /// Failed checks in a row until an instance is unhealthy.
        pub unhealthy_threshold: u32 = Default(2) in 2..=10,
        /// The status codes of a successful check, 200 to 499: `200`, `200,302` or `200-299`.
        pub matcher: String = Default("200".to_owned()),
        /// The seconds that a deploy waits until all instances are healthy, and that a new instance has to become healthy.
        pub deadline: u32 = Default(300) in 1..=3600,
    }
}

table! {
    /// The number of instances.
    pub struct Scale {
        /// The minimum number of instances.
        pub min: u32 = Default(1) in 1..=1000,
        /// The initial number of instances.
        pub desired: u32 = Default(2) in 1..=1000,
        /// The maximum number of instances.
        pub max: u32 = Default(4) in 1..=1000,
        /// Scale to this average CPU use of the instances, in percent.
        pub cpu: Option<u32> = Default(None) in 1..=100,
        /// Scale to this number of requests per instance and minute.
        pub requests: Option<u32> = Default(None) in 1..=1_000_000_000,
    }
}

table! {
    /// Keys for the local provider only.
    pub struct Local {
        /// The port on the loopback address of this machine that leads to the balancer; the default is derived from the stack's name.
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
    /// config.network.zones = 3.into();
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
