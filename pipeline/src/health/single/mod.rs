//! Waits until a single instance answers, and diagnoses one that does not.

mod ask;

use std::time::Duration;

use ipnet::Ipv4Net;
use landfall_compute::{SingleInstance, SingleInstanceState};
use landfall_lb::{TargetHealth, TargetState};
use landfall_provider::{
    ApplyOptions, Error, ErrorKind, Event, InstanceId, Key, Operation, Port, ResourceName, kind,
};
use tokio::time::Instant;

use self::ask::Answer;
use super::Cause;
use crate::cloud::Cloud;
use crate::config::{Config, Service};
use crate::outcome::{Failure, Stage, UnhealthyTarget, millis};

/// A container has failed after this many consecutive ends.
const HOPELESS: u32 = 3;

/// The number of consecutive requests without an answer that count as unreachable.
const SILENT: u32 = 3;

/// The number of quoted lines per instance.
const QUOTED: usize = 20;

/// The minimum interval of observations: a shorter one would slow down the start of the service.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The result of a deploy of a single instance.
#[derive(Debug, Clone)]
pub(crate) struct ServingTarget {
    /// The URL for browsers.
    pub(crate) url: String,
    /// The host of the URL.
    pub(crate) host: String,
    /// The instance, as a target of requests.
    pub(crate) target: TargetHealth,
}

/// An instance that should answer.
struct Watched<'a> {
    id: &'a InstanceId,
    name: &'a ResourceName,
    service: &'a Service,
    /// Whether every address may connect, including this machine.
    is_open: bool,
}

/// An observation.
enum Seen {
    Answers,
    /// It runs, but its answers are not visible from this machine; the text says why.
    Runs(&'static str),
    NotYet(String),
    /// It has failed; the text says why.
    Hopeless(String),
}

/// Waits until the service answers its health path, at most until its deadline. A stopped instance is started.
pub(crate) async fn wait<P: Cloud + ?Sized>(
    cloud: &P,
    config: &Config,
    id: &InstanceId,
    options: &ApplyOptions,
) -> Result<ServingTarget, Box<Failure>> {
    let Some((name, service)) = config.service.first_key_value() else {
        return Err(Failure::new(
            Stage::Health,
            "there is no service to wait for",
        ));
    };
    let watched = Watched {
        id,
        name,
        service,
        is_open: config.single.allow.iter().any(|net| *net == everybody()),
    };
    let key = Key::new(kind::INSTANCE, name.clone());
    let start = Instant::now();
    let deadline = start + Duration::from_secs(service.health.deadline.into());
    let mut pause = options.poll_interval.first.max(SHORTEST_PAUSE);
    let mut last_reason: Option<String> = None;
    let mut look = InstanceObservation::default();
    let failure = loop {
        let why = match look.at(cloud, &watched).await {
            Ok((standing, seen)) => match seen {
                Seen::Answers | Seen::Runs(_) => {
                    if last_reason.is_some() {
                        options.events.emit(Event::Done {
                            key,
                            verb: Operation::Await,
                            id: id.to_string(),
                            took_ms: millis(start.elapsed()),
                        });
                    }
                    return answering(&watched, &standing, seen);
                }
                Seen::NotYet(why) => why,
                Seen::Hopeless(why) => {
                    break diagnose(cloud, &watched, &look, &standing, why).await;
                }
            },
            Err(error) if error.kind().is_transient() => error.to_string(),
            Err(error) => {
                let doing = format!("cannot find out whether {name} answers");
                break Failure::of(Stage::Health, &doing, error);
            }
        };
        if Instant::now() >= deadline {
            let waited = service.health.deadline;
            let message = format!("the service {name} did not answer within {waited} s: {why}");
            let standing = cloud.standing(id, service.port).await.ok().flatten();
            break match standing {
                Some(standing) => diagnose(cloud, &watched, &look, &standing, message).await,
                None => Failure::new(Stage::Health, message),
            };
        }
        if last_reason.is_none() {
            options.events.emit(Event::Started {
                key: key.clone(),
                verb: Operation::Await,
            });
        }
        if last_reason.as_ref() != Some(&why) {
            options.events.emit(Event::Waiting {
                key: key.clone(),
                id: id.to_string(),
                why: why.clone(),
            });
            last_reason = Some(why);
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline.min(Instant::now() + pause)) => {}
            () = options.stop.cancelled() => {
                let message = format!("interrupted while {name} was becoming healthy");
                return Err(Failure::new(Stage::Interrupted, message));
            }
        }
        pause = (pause * 3 / 2).min(options.poll_interval.longest.max(SHORTEST_PAUSE));
    };
    options.events.emit(Event::Failed {
        key,
        verb: Operation::Await,
        error: failure.message.clone(),
    });
    Err(failure)
}

/// The state between two observations.
#[derive(Default)]
struct InstanceObservation {
    /// The number of consecutive requests without an answer.
    silences: u32,
    /// Whether this run has started the instance.
    started: bool,
    /// The last result.
    last: Option<Answer>,
}

impl InstanceObservation {
    async fn at<P: Cloud + ?Sized>(
        &mut self,
        cloud: &P,
        watched: &Watched<'_>,
    ) -> Result<(SingleInstance, Seen), Error> {
        let (id, port) = (watched.id, watched.service.port);
        let gone = || {
            Error::new(
                ErrorKind::NotFound,
                format_args!("{id} is not there any more"),
            )
        };
        let standing = cloud.standing(id, port).await?.ok_or_else(gone)?;
        let seen = match &standing.state {
            SingleInstanceState::Stopped => {
                self.started = true;
                cloud.start(id).await?;
                Seen::NotYet("it was stopped, and is starting".to_owned())
            }
            SingleInstanceState::Stopping => Seen::NotYet("it is being stopped".to_owned()),
            SingleInstanceState::Pending => Seen::NotYet("it is starting".to_owned()),
            SingleInstanceState::Ended { how } => Seen::Hopeless(format!("{id} has ended: {how}")),
            SingleInstanceState::Failing { how, times } if *times >= HOPELESS => {
                let name = watched.name;
                Seen::Hopeless(format!("the service {name} does not stay up: it {how}"))
            }
            SingleInstanceState::Failing { how, .. } => {
                Seen::NotYet(format!("it {how}, and is started again"))
            }
            SingleInstanceState::Booting | SingleInstanceState::Up => {
                self.asked(watched, &standing).await
            }
        };
        Ok((standing, seen))
    }

    async fn asked(&mut self, watched: &Watched<'_>, standing: &SingleInstance) -> Seen {
        let health = &watched.service.health;
        let (Some(door), Some(url)) = (standing.door, &standing.url) else {
            return match standing.url {
                Some(_) => Seen::Runs("it cannot be reached from here at all"),
                None => Seen::NotYet("it has no address yet".to_owned()),
            };
        };
        let request_timeout = Duration::from_secs(health.timeout.into());
        let answer = ask::ask(door, authority(url), &health.path, request_timeout).await;
        let path = &health.path;
        if answer != Answer::Silence {
            self.silences = 0;
        }
        self.last = Some(answer.clone());
        match answer {
            Answer::Status(status) if ask::is_good(&health.matcher, status) => Seen::Answers,
            Answer::Status(status) => {
                let matcher = &health.matcher;
                Seen::NotYet(format!("{path} gives status {status} instead of {matcher}"))
            }
            Answer::Refused => Seen::NotYet(format!(
                "nothing listens on port {} yet",
                watched.service.port
            )),
            Answer::Violation(_) if !watched.is_open => self.unseen(standing),
            Answer::Violation(how) => {
                Seen::NotYet(format!("the connection ends without a response ({how})"))
            }
            Answer::Silence if !watched.is_open => self.unseen(standing),
            Answer::Silence => Seen::NotYet("no response".to_owned()),
        }
    }

    /// No answer, and not every address may connect: probably this machine may not.
    fn unseen(&mut self, standing: &SingleInstance) -> Seen {
        self.silences += 1;
        let runs = standing.state == SingleInstanceState::Up || self.started;
        if self.silences >= SILENT && runs {
            return Seen::Runs(
                "no response here; the address of this machine may not be in `allow`",
            );
        }
        Seen::NotYet("no response here, and the container is not known to run yet".to_owned())
    }
}

fn answering(
    watched: &Watched<'_>,
    standing: &SingleInstance,
    seen: Seen,
) -> Result<ServingTarget, Box<Failure>> {
    let url = standing.url.clone().unwrap_or_default();
    let host = authority(&url);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let (state, description) = match seen {
        Seen::Runs(why) => (TargetState::Unused, Some(format!("it runs; {why}"))),
        _ => (TargetState::Healthy, None),
    };
    Ok(ServingTarget {
        host: host.to_owned(),
        target: TargetHealth {
            id: watched.id.to_string(),
            address: socket(standing, watched.service.port),
            zone: standing.zone.clone(),
            state,
            since: None,
            reason: None,
            description,
        },
        url,
    })
}

fn socket(standing: &SingleInstance, port: Port) -> Option<std::net::SocketAddrV4> {
    let address = standing.private_address?;
    Some(std::net::SocketAddrV4::new(address, port.get()))
}

/// The authority of the URL: `203.0.113.9:8000`.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.trim_end_matches('/')
}

fn everybody() -> Ipv4Net {
    Ipv4Net::new_assert([0, 0, 0, 0].into(), 0)
}

/// The diagnosis of the instance, and the probable cause.
async fn diagnose<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    look: &InstanceObservation,
    standing: &SingleInstance,
    message: String,
) -> Box<Failure> {
    let Watched { name, service, .. } = watched;
    let port = service.port;
    let advice = match (&standing.state, &look.last) {
        (SingleInstanceState::Booting, _) => Some(format!(
            "it is still installing or starting its container: a longer `deadline` in [service.{name}.health] may be \
             all it needs"
        )),
        (SingleInstanceState::Up, Some(Answer::Status(status))) => {
            Cause::of_status(*status, name, service).advice
        }
        (SingleInstanceState::Up, Some(Answer::Refused)) => Cause::of_refusal(name, service).advice,
        // A forwarder on the way also closes the connection if nothing listens behind it.
        (SingleInstanceState::Up, Some(Answer::Violation(_))) => Some(format!(
            "the service listens on another port than {port}, or only on 127.0.0.1, or does not use HTTP/1.1 without TLS"
        )),
        (SingleInstanceState::Up, Some(Answer::Silence)) => Some(format!(
            "the service hangs or is slower than `timeout` in [service.{name}.health]"
        )),
        (SingleInstanceState::Failing { how, .. }, _) => Cause::ended(how).advice,
        _ => None,
    };
    let mut failure = Failure::new(Stage::Health, message);
    failure.targets = vec![UnhealthyTarget {
        service: watched.name.to_string(),
        id: watched.id.to_string(),
        zone: standing.zone.clone(),
        state: standing.state.word().to_owned(),
        reason: None,
        seen: match &standing.state {
            SingleInstanceState::Failing { how, times } => {
                Some(format!("{how}, {times} times in a row"))
            }
            _ => None,
        },
        cause: None,
        advice,
    }];
    failure.output = cloud
        .last_output(watched.id, QUOTED)
        .await
        .unwrap_or_default();
    failure
}
