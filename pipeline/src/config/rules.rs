//! Checks beyond the types of keys: relations between keys, and the syntax inside values.

use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use landfall_network::reach::is_public;
use landfall_network::{LayoutError, layout};
use landfall_provider::Zone;

use super::fault::Diagnostic;
use super::hints;
use super::reading::join;
use super::route;
use super::{
    Bastion, Config, Health, ImageSource, LoadBalancer, Local, Mode, Network, Scale, Service,
    Single, Zones,
};

/// The rules of a table.
pub(crate) trait Rules {
    /// Records the diagnostics of the table at this path.
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>);
}

/// The maximum length of a target group's name on AWS; the name is `<stack>-<service>`.
const LONGEST_TARGET_GROUP: usize = 32;

/// The security groups that belong to no service.
pub(crate) const GROUPS: [&str; 2] = ["balancer", "bastion"];

/// The reserved words for endpoints of connections.
const SPOTS: [&str; 4] = ["internet", "lb", "nat-gateway", "s3"];

impl Rules for Config {
    fn rules(&self, _: &str, problems: &mut Vec<Diagnostic>) {
        if let Some(account) = &self.account
            && !(account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
        {
            problems.push(Diagnostic::new(
                "account",
                format_args!("`{account}` is not an AWS account: 12 digits"),
            ));
        }
        if self.service.is_empty() {
            problems.push(
                Diagnostic::new("service", "the stack has no service")
                    .hint("describe it:\n\n  [service.web]\n  port = 8000"),
            );
        }
        match self.mode {
            Mode::Balanced => {
                if self.network.zones.count() == 1 {
                    problems.push(
                        Diagnostic::new("network.zones", "a load balancer needs two zones at least")
                            .hint("zones = 2, or leave the key out; mode = \"single\" does without a load balancer"),
                    );
                }
                route::check(self, problems);
            }
            Mode::Single => self.one_service(problems),
        }
        self.certificate_region(problems);
        self.zone_region(problems);
        for name in self.service.keys() {
            let at = format!("service.{name}");
            if SPOTS.contains(&name.as_str()) {
                problems.push(
                    Diagnostic::new(
                        &at,
                        format_args!("`{name}` is a reserved name: `explain` and expectations use it for another part of the network"),
                    )
                    .hint("give it another name, such as `web`"),
                );
            }
            if GROUPS.contains(&name.as_str()) {
                problems.push(
                    Diagnostic::new(
                        &at,
                        format_args!(
                            "`{name}` is a reserved name: its security group belongs to the {name}"
                        ),
                    )
                    .hint("give it another name, such as `web`"),
                );
            }
            let length = self.stack.as_str().len() + 1 + name.as_str().len();
            if length > LONGEST_TARGET_GROUP {
                problems.push(
                    Diagnostic::new(
                        &at,
                        format_args!(
                            "`{}-{name}` has {length} characters, and the name of a target group has {LONGEST_TARGET_GROUP} at the most",
                            self.stack
                        ),
                    )
                    .and("stack")
                    .hint("give the service or the stack a shorter name"),
                );
            }
        }
        self.custom_rules(problems);
    }
}

impl Config {
    /// A load balancer uses certificates of its own region.
    ///
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html>
    fn certificate_region(&self, problems: &mut Vec<Diagnostic>) {
        let Some(certificate) = &self.load_balancer.certificate else {
            return;
        };
        let its_region = certificate.split(':').nth(3).unwrap_or_default();
        let is_foreign = !its_region.is_empty() && its_region != self.region.as_str();
        if is_certificate(certificate) && is_foreign && !self.region.is_local() {
            problems.push(
                Diagnostic::new(
                    "load-balancer.certificate",
                    format_args!(
                        "the certificate is in {its_region}, and the load balancer is in {}",
                        self.region
                    ),
                )
                .and("region")
                .hint("request or import the certificate in the region of the load balancer"),
            );
        }
    }

    /// A named zone is a zone of the region. A file without a region is checked as soon as the region is known.
    fn zone_region(&self, problems: &mut Vec<Diagnostic>) {
        let Zones::Named(names) = &self.network.zones else {
            return;
        };
        let is_here = |name: &Zone| name.as_str() == format!("{}{}", self.region, name.letter());
        for (index, name) in names.iter().enumerate() {
            if !self.region.is_local() && !is_here(name) {
                problems.push(
                    Diagnostic::new(
                        format!("network.zones[{index}]"),
                        format_args!("`{name}` is not a zone of {}", self.region),
                    )
                    .and("network.zones")
                    .hint(format_args!(
                        "a zone of it is named like `{}a`",
                        self.region
                    )),
                );
            }
        }
    }
}

impl Rules for Network {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let (cidr, zones) = (join(at, "cidr"), join(at, "zones"));
        self.own_routes(at, problems);
        // Private blocks are always refused, see `Bastion`.
        let allowed = self
            .bastion
            .iter()
            .flat_map(|it| it.allow.iter().enumerate());
        for (index, net) in allowed.filter(|(_, net)| is_public(**net)) {
            if self.cidr.contains(net) {
                let allow = join(&join(at, "bastion"), "allow");
                problems.push(
                    Diagnostic::new(
                        format!("{allow}[{index}]"),
                        format_args!("`{net}` is in the VPC, {}, and clients of the bastion are outside", self.cidr),
                    )
                    .and(allow)
                    .and(&cidr)
                    .hint("name the public addresses that you log in from, such as \"203.0.113.7/32\""),
                );
            }
        }
        // The range of `zones` has already reported a wrong number.
        let count = self.zones.count().clamp(1, 6);
        if let Err(error) = layout(self.cidr, count) {
            let problem = Diagnostic::new(cidr, &error);
            problems.push(match error {
                LayoutError::TooSmall { .. } => problem.and(zones),
                _ => problem,
            });
        }
    }
}

impl Rules for Bastion {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        instance_type(&self.instance, join(at, "instance"), problems);
        let allow = join(at, "allow");
        for (index, net) in self.allow.iter().enumerate() {
            let at = format!("{allow}[{index}]");
            if net.prefix_len() == 0 {
                problems.push(
                    Diagnostic::new(
                        &at,
                        format_args!("`{net}` opens the bastion to the whole internet"),
                    )
                    .and(&allow)
                    .hint("name the addresses that you log in from, such as \"203.0.113.7/32\""),
                );
            } else if let Some(problem) = host_bits(*net, &at) {
                problems.push(problem.and(&allow));
            } else if !is_public(*net) {
                problems.push(
                    Diagnostic::new(
                        &at,
                        format_args!("`{net}` is private, and clients reach the bastion over the internet"),
                    )
                    .and(&allow)
                    .hint("name the public addresses that you log in from, such as \"203.0.113.7/32\"; `curl https://checkip.amazonaws.com` shows yours"),
                );
            }
        }
    }
}

impl Rules for LoadBalancer {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let Some(certificate) = &self.certificate else {
            return;
        };
        let (at, port) = (join(at, "certificate"), join(at, "port"));
        if !is_certificate(certificate) {
            problems.push(
                Diagnostic::new(
                    &at,
                    format_args!("`{certificate}` is not the ARN of a certificate"),
                )
                .hint("ACM shows it: \"arn:aws:acm:eu-central-1:123456789012:certificate/…\""),
            );
        }
        if self.port == super::https() {
            problems.push(
                Diagnostic::new(port, "port 443 serves HTTPS if there is a certificate")
                    .and(at)
                    .hint("`port` redirects HTTP to HTTPS; the default is 80"),
            );
        }
    }
}

impl Rules for Single {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let allow = join(at, "allow");
        if self.allow.is_empty() {
            problems.push(
                Diagnostic::new(&allow, "no address may connect to the service").hint(
                    "list addresses, such as \"203.0.113.0/24\", or remove the key to allow every address",
                ),
            );
        }
        for (index, net) in self.allow.iter().enumerate() {
            let at = format!("{allow}[{index}]");
            problems.extend(host_bits(*net, at).map(|problem| problem.and(&allow)));
        }
    }
}

impl Rules for Local {
    fn rules(&self, _: &str, _: &mut Vec<Diagnostic>) {}
}

impl Rules for Service {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        instance_type(&self.instance, join(at, "instance"), problems);
        if let Some((fault, hint)) = self.route.as_deref().and_then(route::fault) {
            problems.push(Diagnostic::new(join(at, "route"), fault).hint(hint));
        }
        let (env, secrets) = (join(at, "env"), join(at, "secrets"));
        for name in self.env.keys() {
            variable(name, join(&env, name), problems);
        }
        for name in self.secrets.keys() {
            variable(name, join(&secrets, name), problems);
            if self.env.contains_key(name) {
                problems.push(
                    Diagnostic::new(
                        join(&secrets, name),
                        format_args!("`{name}` is in `env` as well"),
                    )
                    .and(join(&env, name))
                    .hint("keep one of them"),
                );
            }
        }
        for (name, value) in &self.env {
            if value.contains('\0') {
                problems.push(Diagnostic::new(
                    join(&env, name),
                    "an environment variable cannot hold a zero character",
                ));
            }
        }
    }
}

/// The name of an environment variable that a service may set.
fn variable(name: &str, at: String, problems: &mut Vec<Diagnostic>) {
    let good = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        problems.push(
            Diagnostic::new(
                at,
                format_args!("`{name}` is not the name of an environment variable"),
            )
            .hint("letters, digits and underscores, no digit first"),
        );
    } else if name == "PORT" {
        problems.push(
            Diagnostic::new(at, "`PORT` is set from the service's `port`")
                .hint("leave it out, and set `port` in the service's table"),
        );
    } else if name.starts_with("LANDFALL_") {
        problems.push(
            Diagnostic::new(
                at,
                format_args!("`{name}`: names that start with LANDFALL_ are set by the provider"),
            )
            .hint("give it another name"),
        );
    }
}

impl Rules for ImageSource {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        for (index, command) in self.before.0.iter().enumerate() {
            if command.trim().is_empty() {
                let before = join(at, "before");
                problems.push(
                    Diagnostic::new(format!("{before}[{index}]"), "this command is empty")
                        .and(before)
                        .hint("leave it out"),
                );
            }
        }
        for (key, path) in [("context", &self.context), ("dockerfile", &self.dockerfile)] {
            if path.as_os_str().is_empty() {
                problems.push(
                    Diagnostic::new(join(at, key), "this path is empty").hint("leave it out"),
                );
            }
        }
    }
}

impl ImageSource {
    /// Records a missing context or Dockerfile. Relative paths start at `directory`.
    pub(crate) fn missing_files(&self, directory: &Path, at: &str) -> Option<Diagnostic> {
        let context: PathBuf = directory.join(&self.context).components().collect();
        let (key, place) = (join(at, "context"), join(at, "dockerfile"));
        if !context.is_dir() {
            let what = if context.exists() {
                "is not a directory"
            } else {
                "does not exist"
            };
            return Some(
                Diagnostic::new(
                    key,
                    format_args!("the build context {} {what}", context.display()),
                )
                .hint("`context` is relative to the file"),
            );
        }
        let dockerfile = context.join(&self.dockerfile);
        // Whether it is a regular file is checked when it is read.
        (!dockerfile.exists()).then(|| {
            Diagnostic::new(
                place,
                format_args!("there is no Dockerfile at {}", dockerfile.display()),
            )
            .hint("`dockerfile` is relative to `context`")
        })
    }
}

impl Rules for Health {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let path = join(at, "path");
        if !self.path.starts_with('/') {
            problems.push(
                Diagnostic::new(
                    &path,
                    format_args!("the path `{}` does not start with a slash", self.path),
                )
                .hint(hints::for_path(&self.path)),
            );
        } else if self.path.len() > 1024 || !self.path.bytes().all(|b| b.is_ascii_graphic()) {
            problems.push(
                Diagnostic::new(
                    &path,
                    "a path has at most 1024 printable ASCII characters and no spaces",
                )
                .hint("write other characters percent-encoded: %20 is a space"),
            );
        }
        if self.timeout >= self.interval {
            problems.push(
                Diagnostic::new(
                    join(at, "timeout"),
                    format_args!(
                        "the timeout ({} s) is not less than the interval ({} s)",
                        self.timeout, self.interval
                    ),
                )
                .and(join(at, "interval"))
                .hint("a check must end before the next one starts"),
            );
        }
        if !is_matcher(&self.matcher) {
            problems.push(
                Diagnostic::new(
                    join(at, "matcher"),
                    format_args!("`{}` is not a list of status codes", self.matcher),
                )
                .hint("write codes from 200 to 499: \"200\", \"200,302\" or \"200-299\""),
            );
        }
    }
}

/// An ARN of ACM or IAM: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscertificatemanager.html>
fn is_certificate(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "acm", region, account, name] => {
            partition.starts_with("aws")
                && !region.is_empty()
                && !account.is_empty()
                && name.starts_with("certificate/")
        }
        ["arn", partition, "iam", "", account, name] => {
            partition.starts_with("aws")
                && !account.is_empty()
                && name.starts_with("server-certificate/")
        }
        _ => false,
    }
}

/// A comma-separated list of codes and ranges of codes between 200 and 499.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Matcher.html>
fn is_matcher(text: &str) -> bool {
    let code = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|code| digits && (200..500).contains(code))
    };
    text.split(',').all(|part| match part.split_once('-') {
        None => code(part).is_some(),
        Some((from, to)) => code(from)
            .zip(code(to))
            .is_some_and(|(from, to)| from <= to),
    })
}

impl Rules for Scale {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let (min, desired, max) = (join(at, "min"), join(at, "desired"), join(at, "max"));
        let order = format!(
            "min ({}), desired ({}) and max ({}) must be in ascending order",
            self.min, self.desired, self.max
        );
        let hint = "the defaults are min = 1, desired = 2, max = 4";
        if self.min > self.max {
            problems.push(Diagnostic::new(min, order).and(max).and(desired).hint(hint));
        } else if self.min > self.desired || self.desired > self.max {
            problems.push(Diagnostic::new(desired, order).and(min).and(max).hint(hint));
        }
    }
}

/// Records a block whose address is not its first one.
pub(crate) fn host_bits(net: Ipv4Net, at: impl Into<String>) -> Option<Diagnostic> {
    (net != net.trunc()).then(|| {
        Diagnostic::new(at, format_args!("`{net}` has host bits set")).hint(format_args!(
            "the network is \"{}\"; for one address write \"{}/32\"",
            net.trunc(),
            net.addr()
        ))
    })
}

/// The form of AWS: a family and a size, `t3.micro`.
fn instance_type(text: &str, at: String, problems: &mut Vec<Diagnostic>) {
    let part = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !text
        .split_once('.')
        .is_some_and(|(family, size)| part(family) && part(size))
    {
        problems.push(
            Diagnostic::new(at, format_args!("`{text}` is not an instance type"))
                .hint("a family and a size, such as \"t3.micro\""),
        );
    }
}
