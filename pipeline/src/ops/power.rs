//! Stop and start of a single instance. A stopped one costs only its disk and address.

use std::time::Duration;

use landfall_compute::{SingleInstance, SingleInstanceState};
use landfall_provider::{Error, ErrorKind, InstanceId, Key, Port, StackName};
use serde::Serialize;
use tokio::time::Instant;

use super::single::standing_alone;
use crate::cloud::Cloud;
use crate::outcome::{Failure, Stage, millis};
use crate::run::{Options, Run};

/// The time limit for a stop or a start. AWS forces a stop after a few minutes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(600);

/// The result of a stop or start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Powered {
    /// The stack.
    pub stack: StackName,
    /// The instance.
    pub instance: InstanceId,
    /// Whether its state changed.
    pub changed: bool,
    /// Its state.
    pub standing: SingleInstance,
    /// From the call to the answer, in milliseconds.
    pub duration_ms: u64,
}

/// The direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Stop,
    Start,
}

/// Stops the single instance of a stack. Its id, its disk and its address stay.
///
/// # Errors
/// A [`Failure`], also for a stack without a single instance.
pub async fn stop<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
    options: &Options,
) -> Result<Powered, Box<Failure>> {
    let run = Run::new(cloud, stack, options);
    run.locked("stop", power(&run, Way::Stop)).await
}

/// Starts the single instance of a stack again, and waits until it runs. The health of its service is checked by
/// a deploy, which knows the health path.
///
/// # Errors
/// A [`Failure`], also for a stack without a single instance.
pub async fn start<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
    options: &Options,
) -> Result<Powered, Box<Failure>> {
    let run = Run::new(cloud, stack, options);
    run.locked("start", power(&run, Way::Start)).await
}

async fn power<P: Cloud + ?Sized>(run: &Run<'_, P>, way: Way) -> Result<Powered, Box<Failure>> {
    let began = Instant::now();
    let live = run.look().await?;
    let Some((found, spec)) = standing_alone(&live).next() else {
        let word = if way == Way::Stop { "stop" } else { "start" };
        let message = format!("{} has no single instance to {word}", run.stack);
        let hint = "`stop` and `start` are for stacks with mode = \"single\"";
        return Err(Failure::new(Stage::Plan, message).hint(hint));
    };
    let id = InstanceId::from(found.id.clone());
    let port = spec.workload.map_or_else(
        || Port::new(80).expect("80 is a port"),
        |workload| workload.port,
    );
    let failed = |error: Error| {
        let doing = match way {
            Way::Stop => "cannot be stopped",
            Way::Start => "cannot be started",
        };
        Failure::of(Stage::Apply, &format!("{} {doing}", found.key), error)
    };
    let before = looked(run, &id, port).await.map_err(failed)?;
    let changed = !way.is_there(&before.state);
    let mut begun = false;
    let mut pause = run
        .options
        .apply
        .poll_interval
        .first
        .max(Duration::from_millis(10));
    let standing = loop {
        let now = looked(run, &id, port).await.map_err(failed)?;
        if way.is_there(&now.state) {
            break now;
        }
        match (way, &now.state) {
            (_, SingleInstanceState::Ended { how }) => {
                let message = format!("{} has ended: {how}", found.key);
                return Err(Failure::new(Stage::Apply, message).hint("`deploy` creates it again"));
            }
            // EC2 stops only running instances.
            (Way::Stop, SingleInstanceState::Stopping | SingleInstanceState::Pending) => {}
            (Way::Stop, _) if !begun => {
                run.cloud.stop(&id).await.map_err(failed)?;
                begun = true;
            }
            // An instance that is still stopping is started afterwards.
            (Way::Start, SingleInstanceState::Stopped) => {
                run.cloud.start(&id).await.map_err(failed)?;
            }
            _ => {}
        }
        if began.elapsed() > WAIT_TIMEOUT {
            return Err(failed(late(&found.key, &now)));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = run.options.apply.stop.cancelled() => {
                let message = format!("interrupted while {} was {}", found.key, now.state.word());
                return Err(Failure::new(Stage::Interrupted, message));
            }
        }
        pause = (pause * 3 / 2).min(run.options.apply.poll_interval.longest);
    };
    Ok(Powered {
        stack: run.stack.clone(),
        instance: id,
        changed,
        standing,
        duration_ms: millis(began.elapsed()),
    })
}

impl Way {
    fn is_there(self, state: &SingleInstanceState) -> bool {
        match self {
            Self::Stop => *state == SingleInstanceState::Stopped,
            // EC2 reports only that it runs; its container starts by itself.
            Self::Start => matches!(
                state,
                SingleInstanceState::Booting
                    | SingleInstanceState::Up
                    | SingleInstanceState::Failing { .. }
            ),
        }
    }
}

async fn looked<P: Cloud + ?Sized>(
    run: &Run<'_, P>,
    id: &InstanceId,
    port: Port,
) -> Result<SingleInstance, Error> {
    let standing = run.cloud.standing(id, port).await?;
    standing.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("{id} is not there any more"),
        )
    })
}

fn late(key: &Key, standing: &SingleInstance) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format_args!(
            "{key} is still {} after {} s",
            standing.state.word(),
            WAIT_TIMEOUT.as_secs()
        ),
    )
    .hint("run the same command again to continue")
}
