//! What a balancer is told: listeners, rules, target groups, health checks and targets.
//!
//! The names and defaults are those of an AWS Application Load Balancer, so that a spec written for
//! one means the same here.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a whole balancer.
///
/// Source: "Application Load Balancer attributes" in the Elastic Load Balancing user guide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// How long a connection, on either side, may stay without a byte in either direction.
    /// AWS: `idle_timeout.timeout_seconds`, default 60 s.
    pub idle_timeout: Duration,
    /// How long the head of a request may take from its first byte to its last. AWS has only the idle timeout, which
    /// a byte now and then renews; 10 s is what Envoy's documentation advises at the edge.
    pub head_timeout: Duration,
    /// The balancer's DNS name, which stands in for the Host of HTTP/1.0 requests without one, as on AWS.
    pub dns_name: String,
    /// How long a target may take to accept a connection. Fixed at 10 s on AWS.
    pub connect_timeout: Duration,
    /// Whether headers whose names are not made of letters, digits and hyphens are left out of
    /// the request to the target. AWS: `routing.http.drop_invalid_header_fields.enabled`.
    pub drop_invalid_header_fields: bool,
    /// The most client connections that one node serves at a time; more wait in the kernel's
    /// accept queue. AWS has no such number; it bounds the memory and files of this process.
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
    /// Rules; the one with the lowest priority that matches decides.
    pub rules: Vec<Rule>,
    /// The target group that gets the requests that no rule matches.
    pub default_group: String,
}

/// A listener rule: all its conditions have to hold.
///
/// Source: "Listener rules for your Application Load Balancer".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Lower is looked at first. AWS allows 1–50000, each once per listener.
    pub priority: u32,
    /// All of these have to match.
    pub conditions: Vec<Condition>,
    /// The target group that gets the request then.
    pub group: String,
}

/// One condition of a rule; any of its patterns has to match.
///
/// In a pattern `*` stands for any number of characters and `?` for exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The request's host name without its port, compared without regard to case.
    HostHeader(Vec<String>),
    /// The request's path without its query, compared with regard to case.
    PathPattern(Vec<String>),
}

/// A target group: who may get requests, and how it is known that they can serve them.
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
    /// What is asked for with GET, default `/`.
    pub path: String,
    /// The port to ask, or `None` for the one that the target gets its traffic on.
    pub port: Option<u16>,
    /// From the start of one check to the start of the next; AWS allows 5–300 s, default 30 s.
    pub interval: Duration,
    /// How long one check may take; AWS allows 2–120 s, default 5 s.
    pub timeout: Duration,
    /// Passes in a row before an unhealthy target counts as healthy, 2–10, default 5.
    pub healthy_threshold: u32,
    /// Failures in a row before a target counts as unhealthy, 2–10, default 2.
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

/// The status codes that a health check takes as a pass, such as `200`, `200,302` or `200-299`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Vec<(u16, u16)>);

impl Matcher {
    /// Reads codes and ranges of codes separated by commas, each within 200–499 as on AWS.
    ///
    /// # Errors
    /// A sentence that names the part that is wrong.
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

/// Somebody who can serve requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The instance's id.
    pub id: String,
    /// Where it serves.
    pub addr: SocketAddr,
    /// The availability zone it is in.
    pub zone: String,
}
