//! Derives the cause of an unhealthy instance, in one clause, and the hint from the observations.

use landfall_lb::HealthReason;
use landfall_provider::ResourceName;

use crate::config::Service;

/// The cause why an instance serves no requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// A clause for the end of a headline.
    pub(crate) text: String,
    /// The hint, if one is known.
    pub(crate) advice: Option<String>,
}

impl Cause {
    fn new(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            advice: Some(advice.into()),
        }
    }

    /// An instance whose container ended unexpectedly, or never started.
    pub(crate) fn ended(how: &str) -> Self {
        let advice = if how.starts_with("did not start: ") {
            (how.contains("exec \"") && !how.contains("CRLF"))
                .then_some("correct ENTRYPOINT or CMD in the Dockerfile, or the file they name")
        } else if how == "exited with code 0" {
            Some("the container's command must stay in the foreground while the service runs")
        } else {
            None
        };
        Self {
            text: how.to_owned(),
            advice: advice.map(str::to_owned),
        }
    }

    /// An unhealthy target. An observed fact has priority over the reason code: a deadline may end while a
    /// target's state is still `initial`, with the reason for its failing checks in the description.
    pub(crate) fn of_target(
        reason: Option<HealthReason>,
        seen: Option<&str>,
        name: &ResourceName,
        service: &Service,
    ) -> Option<Self> {
        let seen = seen.unwrap_or_default();
        let at = At { name, service };
        if let Some(instead) = seen.split("the service listens on ").nth(1) {
            return Some(at.listens(instead.trim_end_matches(')')));
        }
        if let Some(status) = status_of(seen, reason) {
            return Some(at.answers(status));
        }
        let port = service.port;
        Some(match reason? {
            HealthReason::Timeout => at.silent(),
            _ if seen.contains("timed out") => at.silent(),
            _ if seen.to_lowercase().contains("connection refused") => at.refuses(),
            HealthReason::FailedHealthChecks => Self::new(
                match seen
                    .trim_start_matches("Health checks failed")
                    .trim_start_matches(": ")
                {
                    "" => format!("port {port} does not answer in HTTP"),
                    how => format!("port {port} does not answer in HTTP: {how}"),
                },
                format!("the service must use HTTP/1.1 on port {port}, without TLS"),
            ),
            HealthReason::ResponseCodeMismatch => Self::new(
                format!(
                    "GET {} does not answer with {}",
                    service.health.path, service.health.matcher
                ),
                at.see("`path` and `matcher`"),
            ),
            HealthReason::RegistrationInProgress => Self::new("it is still starting", at.longer()),
            HealthReason::InitialHealthChecking => {
                Self::new("its health checks are still running", at.longer())
            }
            HealthReason::InvalidState => Self::new(
                "its instance does not run",
                "check the instance in the provider's console",
            ),
            HealthReason::NotInUse => Self::new(
                "no listener sends requests to its target group",
                "deploy again, which mends the listener's rules",
            ),
            HealthReason::InternalError => {
                Self::new("the balancer has an internal error", "try again")
            }
            HealthReason::NotRegistered | HealthReason::DeregistrationInProgress => return None,
        })
    }

    /// A response with a status that the file does not accept.
    pub(crate) fn of_status(status: u16, name: &ResourceName, service: &Service) -> Self {
        At { name, service }.answers(status)
    }

    /// A port on which nothing listens.
    pub(crate) fn of_refusal(name: &ResourceName, service: &Service) -> Self {
        At { name, service }.refuses()
    }
}

/// A service in the file.
struct At<'a> {
    name: &'a ResourceName,
    service: &'a Service,
}

impl At<'_> {
    fn see(&self, keys: &str) -> String {
        format!("see {keys} in [service.{}.health]", self.name)
    }

    fn longer(&self) -> String {
        format!(
            "a longer `deadline` in [service.{}.health] may be all it needs",
            self.name
        )
    }

    /// The listening sockets that the provider observed: `port 3000`, `127.0.0.1:8000 only`, `no port`.
    fn listens(&self, instead: &str) -> Cause {
        let (name, port) = (self.name, self.service.port);
        if instead.ends_with(" only") {
            return Cause::new(
                format!("it listens on {instead}"),
                format!(
                    "let the service listen on 0.0.0.0:{port}: 127.0.0.1 is reached from inside its container only"
                ),
            );
        }
        match instead.strip_prefix("port ") {
            Some(other) => Cause::new(
                format!("it listens on port {other} instead of {port}"),
                format!(
                    "let the service listen on the port in PORT, or write `port = {other}` in [service.{name}]"
                ),
            ),
            None if instead == "no port" => Cause::new(
                "it listens on no port",
                format!(
                    "let the service listen on 0.0.0.0 and the port in PORT, which is {port}; if it only starts \
                     slowly, write a longer `deadline` in [service.{name}.health]"
                ),
            ),
            None => Cause::new(
                format!("it listens on {instead} instead of {port}"),
                "let the service listen on the port in PORT, or write one of these into `port`",
            ),
        }
    }

    fn silent(&self) -> Cause {
        let health = &self.service.health;
        let (port, path, timeout) = (self.service.port, &health.path, health.timeout);
        Cause::new(
            format!("no answer to GET {path} on port {port} within {timeout} s"),
            format!(
                "the service hangs or is slower than `timeout` in [service.{}.health], or a rule of the network drops \
                 its packets: `landfall explain --live lb {}`",
                self.name, self.name
            ),
        )
    }

    fn refuses(&self) -> Cause {
        let port = self.service.port;
        Cause::new(
            format!("nothing listens on port {port}"),
            format!("let the service listen on 0.0.0.0 and the port in PORT, which is {port}"),
        )
    }

    fn answers(&self, status: u16) -> Cause {
        let health = &self.service.health;
        let (path, matcher) = (&health.path, &health.matcher);
        let advice = match status {
            500.. => "the error is inside the service: check its last output".to_owned(),
            404 => format!(
                "let `path` in [service.{}.health] name a page that the service has",
                self.name
            ),
            401 | 403 => format!(
                "health checks bring no credentials: let `path` in [service.{}.health] name a page that needs none",
                self.name
            ),
            400 => "the check's Host header is the instance's address: let the service accept any host there (Django: \
                    ALLOWED_HOSTS)"
                .to_owned(),
            _ => format!(
                "let `path` in [service.{}.health] name a page that answers with {matcher}, or write \
                 `matcher = \"{matcher},{status}\"`",
                self.name
            ),
        };
        Cause::new(
            format!("GET {path} answers with status {status} instead of {matcher}"),
            advice,
        )
    }
}

/// The status in a description: `Health checks failed with these codes: [500]`.
fn status_of(seen: &str, reason: Option<HealthReason>) -> Option<u16> {
    let from = match seen.split_once("these codes: [") {
        Some((_, codes)) => codes,
        None if reason == Some(HealthReason::ResponseCodeMismatch) => seen,
        None => return None,
    };
    let mut numbers = from.split(|c: char| !c.is_ascii_digit());
    numbers.find_map(|number| {
        let status = number.parse().ok();
        status.filter(|status| (100..600).contains(status))
    })
}

#[cfg(test)]
mod tests;
