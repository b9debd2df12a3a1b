//! The configuration of a balancer: listeners, rules, target groups, health checks and targets.
//!
//! The names and defaults are those of an AWS Application Load Balancer, so a spec means the same on both.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a whole balancer.
///
/// Source: "Application Load Balancer attributes" in the Elastic Load Balancing user guide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// How long a connection, to a client or to a target, may stay without a byte in either direction.
    /// AWS: `idle_timeout.timeout_seconds`, default 60 s.
    pub idle_timeout: Duration,
    /// How long the head of a request may take from its first byte to its last. AWS has only the idle timeout, which
    /// any byte renews. Envoy's documentation recommends 10 s at the edge.
    pub head_timeout: Duration,
    /// The balancer's DNS name. It replaces the missing Host of HTTP/1.0 requests, as on AWS.
    pub dns_name: String,
    /// How long a target may take to accept a connection. Fixed at 10 s on AWS.
    pub connect_timeout: Duration,
    /// Whether the request to the target omits headers whose names contain other characters than letters, digits and
    /// hyphens. AWS: `routing.http.drop_invalid_header_fields.enabled`.
    pub drop_invalid_header_fields: bool,
    /// The maximum number of client connections that one node serves at a time; more wait in the kernel's accept
    /// queue. AWS has no such limit. It bounds the memory and files of this process.
    pub max_connections: usize,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(10),
            dns_name: "localhost".into(),
            connect_timeout: Duration::from_secs(10),
            drop_invalid_header_fields: true,
            max_connections: 4096,
        }
    }
}

/// One port that every node of the balancer listens on (HTTP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The TCP port, 1–65535.
    pub port: u16,
    /// Rules; of those that match, the one with the lowest priority decides.
    pub rules: Vec<Rule>,
    /// The target group for requests that match no rule.
    pub default_group: String,
}

/// A listener rule: all its conditions must match.
///
/// Source: "Listener rules for your Application Load Balancer".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Lower numbers are evaluated first. AWS allows 1–50000, each once per listener.
    pub priority: u32,
    /// All of these must match.
    pub conditions: Vec<Condition>,
    /// The target group for matching requests.
    pub group: String,
}

/// One condition of a rule; one of its patterns must match.
///
/// In a pattern `*` stands for any number of characters and `?` for exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The request's host name without its port, case-insensitive.
    HostHeader(Vec<String>),
    /// The request's path without its query, case-sensitive.
    PathPattern(Vec<String>),
}

/// A target group: targets with the same health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroupConfig {
    /// The name that listeners and registrations refer to.
    pub name: String,
    /// How targets are checked.
    pub health_check: HealthCheckConfig,
    /// How long a deregistered target may take to finish its requests.
    /// AWS: `deregistration_delay.timeout_seconds`, 0–3600 s, default 300 s.
    pub deregistration_delay: Duration,
}

/// How targets are checked.
///
/// Source: "Health checks for Application Load Balancer target groups".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckConfig {
    /// The path of the GET request, default `/`.
    pub path: String,
    /// The port of the health check; `None` is the port of the target's traffic.
    pub port: Option<u16>,
    /// From the start of one check to the start of the next; AWS allows 5–300 s, default 30 s.
    pub interval: Duration,
    /// How long one check may take; AWS allows 2–120 s, default 5 s.
    pub timeout: Duration,
    /// Passes in a row that make an unhealthy target healthy, 2–10, default 5.
    pub healthy_threshold: u32,
    /// Failures in a row that make a target unhealthy, 2–10, default 2.
    pub unhealthy_threshold: u32,
    /// The status codes that pass, default 200.
    pub matcher: Matcher,
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self {
            path: "/".into(),
            port: None,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: Matcher(vec![(200, 200)]),
        }
    }
}

/// The status codes that pass a health check, such as `200`, `200,302` or `200-299`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Vec<(u16, u16)>);

impl Matcher {
    /// Parses codes and ranges of codes, separated by commas, each within 200–499 as on AWS.
    ///
    /// # Errors
    /// A sentence that names the invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        let code = |part: &str| -> Result<u16, String> {
            match part.trim().parse::<u16>() {
                Ok(code @ 200..=499) => Ok(code),
                _ => Err(format!(
                    "`{}` in the health check's codes `{text}` is not a status code from 200 to 499",
                    part.trim()
                )),
            }
        };
        text.split(',')
            .map(|part| match part.split_once('-') {
                None => code(part).map(|code| (code, code)),
                Some((low, high)) => match (code(low)?, code(high)?) {
                    (low, high) if low <= high => Ok((low, high)),
                    (low, high) => Err(format!(
                        "the range {low}-{high} in the health check's codes ends before it starts"
                    )),
                },
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether this status code passes.
    pub fn matches(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|&(low, high)| (low..=high).contains(&status))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (low, high)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
        }
        Ok(())
    }
}

/// An address that serves requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The instance's id.
    pub id: String,
    /// The address and port of the service.
    pub addr: SocketAddr,
    /// The availability zone it is in.
    pub zone: String,
}
