//! The control socket: one call per connection.

mod dial;
mod exec;
mod logs;
mod reach;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use landfall_provider::{Error, ErrorKind, Holder, Kind, Probe, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span, debug, info_span, warn};

use super::controllers::{autoscaling_group, hooks, instance, load_balancer, scaling_policy};
use super::records::rollout;
use super::runtime::cloud::Cloud;
use super::runtime::container;
use crate::wire::{Answer, Call, PROTOCOL, Request};
use landfall_kernel::accept::{AcceptErrors, Newcomer, Newcomers};
use landfall_kernel::descriptors::Budget;

/// The maximum size of a call, in bytes. Specs are small; the limit protects the memory.
const LONGEST_CALL: u64 = 4 << 20;

/// The time that a call waits for a free place when the limit of concurrent calls is reached.
const ROOM_WITHIN: Duration = Duration::from_secs(3);

/// The maximum number of connections without a call. One more closes the oldest.
const MOST_NEWCOMERS: usize = 256;

/// The time limit for a client to send its call.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// A cloud without a call in this time exits.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(10);

/// A probe of a pending resource waits this long for a change before it answers.
const GLANCE: Duration = Duration::from_millis(200);

/// Serves until SIGTERM, or until the cloud is empty and no client is connected.
pub(super) async fn serve(
    cloud: Arc<Cloud>,
    listener: std::os::unix::net::UnixListener,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let connections = Arc::new(AtomicUsize::new(0));
    let served = Arc::new(AtomicBool::new(false));
    let idle = Arc::new(Notify::new());
    // The process that started this one may have died.
    let first_call = tokio::time::sleep(FIRST_CALL_WITHIN).fuse();
    tokio::pin!(first_call);
    let most = Budget::now().control();
    let room = Arc::new(Semaphore::new(most));
    let newcomers = Newcomers::new((most / 2).min(MOST_NEWCOMERS));
    let mut errors = AcceptErrors::new("control socket");
    cloud.outer.ready()?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        errors.failed(&error).await;
                        continue;
                    }
                };
                errors.passed();
                connections.fetch_add(1, Ordering::SeqCst);
                let newcomer = newcomers.enter();
                let room = Arc::clone(&room);
                let (cloud, connections) = (Arc::clone(&cloud), Arc::clone(&connections));
                let (served, idle) = (Arc::clone(&served), Arc::clone(&idle));
                tokio::spawn(async move {
                    let heard = match converse(&cloud, stream, newcomer, &room).await {
                        Ok(heard) => heard,
                        Err(error) => {
                            warn!("a client's connection failed: {error}");
                            true
                        }
                    };
                    connections.fetch_sub(1, Ordering::SeqCst);
                    // Before the first call, a client that only checked whether the cloud exists may
                    // be about to send it.
                    if served.fetch_or(heard, Ordering::SeqCst) || heard {
                        idle.notify_one();
                    }
                });
            }
            () = &mut first_call => {
                served.store(true, Ordering::SeqCst);
                idle.notify_one();
            }
            () = idle.notified() => {
                let is_alone = connections.load(Ordering::SeqCst) == 0;
                if is_alone && cloud.lock().state.is_empty() {
                    return Ok(());
                }
            }
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Reads one call and answers it; false when there was none.
async fn converse(
    cloud: &Arc<Cloud>,
    stream: UnixStream,
    newcomer: Newcomer,
    room: &Semaphore,
) -> io::Result<bool> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_CALL));
    let mut line = String::new();
    match newcomer
        .within(CALL_WITHIN, reader.read_line(&mut line))
        .await
    {
        // No call, or not in time.
        None | Some(Ok(0)) => return Ok(false),
        Some(read) => read?,
    };
    drop(newcomer);
    // Most calls are short; some last as long as a command runs.
    let Ok(_place) = timeout(ROOM_WITHIN, room.acquire()).await else {
        let full =
            "the local cloud serves as many clients at once as its limit of open files allows";
        let refusal = Error::new(ErrorKind::Limit, full)
            .hint("end some of the `logs -f`, `exec`, `ssh` and other commands that run");
        answer(&mut writer, Err(refusal)).await?;
        return Ok(true);
    };
    let request: Request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let refusal = Error::new(
                ErrorKind::Invalid,
                "the local cloud does not understand the call",
            )
            .caused_by(error);
            answer(&mut writer, Err(refusal)).await?;
            return Ok(true);
        }
    };
    if request.protocol != PROTOCOL {
        let refusal = Error::new(
            ErrorKind::Invalid,
            format_args!("the local cloud speaks version {PROTOCOL} of its protocol, this program {}", request.protocol),
        )
        .hint("destroy its stacks with the program that made them, or end the process `landfall-cloud`");
        answer(&mut writer, Err(refusal)).await?;
        return Ok(true);
    }
    let span = request_span(&request.call);
    serve_call(cloud, request.call, reader, writer)
        .instrument(span)
        .await?;
    Ok(true)
}

/// The span of a control request: its call, and the resource or group that the call names.
fn request_span(call: &Call) -> Span {
    match call {
        Call::Create {
            kind, stack, name, ..
        } => info_span!("create", %kind, %stack, %name),
        Call::Update { kind, id, .. } => info_span!("update", %kind, %id),
        Call::Delete { kind, id } => info_span!("delete", %kind, %id),
        call => info_span!("request", call = call.name()),
    }
}

/// Carries out a call, and answers it.
async fn serve_call(
    cloud: &Arc<Cloud>,
    call: Call,
    mut reader: BufReader<Take<OwnedReadHalf>>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let begun = Instant::now();
    debug!("received");
    match call {
        Call::Lock { stack, holder } => match cloud.locks.take(stack, holder) {
            Ok(_held) => {
                answer(&mut writer, to_value(&None::<Holder>)).await?;
                // The lock is held until the client closes the connection or dies.
                let mut rest = Vec::new();
                let _ = reader.read_to_end(&mut rest).await;
            }
            Err(holder) => answer(&mut writer, to_value(&Some(holder))).await?,
        },
        Call::Logs {
            instance,
            since_ms,
            follow,
        } => match logs::tail(cloud, &instance) {
            Ok(tail) => {
                answer(&mut writer, Ok(Value::Null)).await?;
                let reported =
                    logs::write(cloud, &instance, tail, since_ms, follow, reader, writer).await;
                // A client ends by closing the connection.
                drop(reported);
            }
            Err(error) => answer(&mut writer, Err(error)).await?,
        },
        Call::Dial {
            address,
            port,
            timeout_ms,
        } => {
            let time_limit = Duration::from_millis(timeout_ms);
            match dial::dial(cloud, (address, port).into(), time_limit).await {
                Ok((reached, stream)) => {
                    answer(&mut writer, to_value(&reached)).await?;
                    if let Some(stream) = stream {
                        reader.get_mut().set_limit(u64::MAX);
                        // Either side may end it.
                        drop(dial::carry(stream, reader, writer).await);
                    }
                }
                Err(error) => answer(&mut writer, Err(error)).await?,
            }
        }
        Call::Exec {
            instance,
            argv,
            terminal,
        } => match exec::start(cloud, &instance, argv, terminal).await {
            Ok((entering, entered)) => {
                answer(&mut writer, to_value(&entering)).await?;
                if let Some(entered) = entered {
                    // The input of a command has no limit.
                    reader.get_mut().set_limit(u64::MAX);
                    // A client that disconnects hangs up on its command.
                    drop(exec::carry(entered, reader, writer).await);
                }
            }
            Err(error) => answer(&mut writer, Err(error)).await?,
        },
        call => {
            let result = carry_out(cloud, call).await;
            answer(&mut writer, result).await?;
        }
    }
    debug!(elapsed = ?begun.elapsed(), "done");
    Ok(())
}

async fn answer(
    writer: &mut (impl AsyncWriteExt + Unpin),
    result: Result<Value>,
) -> io::Result<()> {
    let answer = match result {
        Ok(value) => Answer::Ok(value),
        Err(error) => {
            debug!("failed: {error}");
            Answer::Err(error)
        }
    };
    let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

async fn carry_out(cloud: &Arc<Cloud>, call: Call) -> Result<Value> {
    match call {
        Call::List { kind, stack } => cloud.lock().state.list(&kind, &stack),
        Call::Create {
            kind,
            stack,
            name,
            spec,
            extras,
        } => {
            let made = cloud.change(|state| state.create(&kind, &stack, &name, &spec, &extras))?;
            let id = made.id;
            if made.is_new
                && let Err(error) = hooks::created(cloud, &kind, &id).await
            {
                // The deletion of the record also stops what already runs.
                let _ = hooks::delete(cloud, &kind, &id).await;
                return Err(error);
            }
            Ok(Value::String(id))
        }
        Call::Update {
            kind,
            id,
            spec,
            extras,
        } => {
            cloud.change(|state| state.update(&kind, &id, &spec, &extras))?;
            hooks::updated(cloud, &kind, &id).await?;
            Ok(Value::Null)
        }
        Call::Probe { kind, id } => probe(cloud, &kind, &id).await,
        Call::Delete { kind, id } => {
            hooks::delete(cloud, &kind, &id).await?;
            Ok(Value::Null)
        }
        Call::TargetHealth { group } => {
            to_value(&load_balancer::target_health(&cloud.lock(), &group)?)
        }
        Call::GroupInstances { group } => {
            to_value(&autoscaling_group::instances(&cloud.lock(), &group)?)
        }
        Call::Roll {
            group,
            template,
            version,
        } => {
            let now = Instant::now();
            cloud.change(|state| rollout::roll(state, &group, &template, version, now))?;
            Ok(Value::Null)
        }
        Call::RollBack { group, why } => {
            cloud.change(|state| rollout::roll_back(state, &group, &why))?;
            Ok(Value::Null)
        }
        Call::Rolling { group } => {
            let inner = cloud.lock();
            to_value(&match autoscaling_group::standing(&inner, &group) {
                Some(standing) => rollout::rolling(&inner.state, &group, &standing)?,
                None => Probe::Absent,
            })
        }
        Call::Releases { template, group } => {
            to_value(&rollout::releases(&cloud.lock().state, &template, &group)?)
        }
        Call::Capacity { group } => {
            to_value(&scaling_policy::capacity(&cloud.lock().state, &group)?)
        }
        Call::Scale { group, desired } => {
            scaling_policy::set(cloud, &group, desired, "asked for")?;
            Ok(Value::Null)
        }
        Call::LastScaling { group } => {
            to_value(&scaling_policy::last(&cloud.lock().state, &group)?)
        }
        Call::LastOutput { instance, lines } => {
            to_value(&container::last_output(&cloud.lock(), &instance, lines)?)
        }
        Call::Standing { instance } => {
            to_value(&instance::standing(&cloud.lock().state, &instance))
        }
        Call::StopInstance { instance } => {
            instance::stop(cloud, &instance)?;
            Ok(Value::Null)
        }
        Call::StartInstance { instance } => {
            instance::start(cloud, &instance)?;
            Ok(Value::Null)
        }
        Call::HostKeys { instance } => to_value(&container::host_keys(&cloud.lock(), &instance)?),
        Call::Reach {
            from,
            to,
            port,
            timeout_ms,
        } => {
            to_value(&reach::reach(cloud, from, to, port, Duration::from_millis(timeout_ms)).await?)
        }
        // A locked stack may be about to get its first resource.
        Call::HoldsSomething => {
            to_value(&(cloud.locks.any_held() || !cloud.lock().state.is_empty()))
        }
        Call::Holder { stack } => to_value(&cloud.locks.holder(&stack)),
        Call::Lock { .. } | Call::Logs { .. } | Call::Exec { .. } | Call::Dial { .. } => Err(
            Error::new(ErrorKind::Invalid, "this call has a connection of its own"),
        ),
    }
}

/// The state of a resource. The answer about a pending one waits briefly for a change, so that clients poll less.
async fn probe(cloud: &Cloud, kind: &Kind, id: &str) -> Result<Value> {
    let mut changes = cloud.changed.subscribe();
    let time_limit = tokio::time::sleep(GLANCE);
    tokio::pin!(time_limit);
    loop {
        changes.mark_unchanged();
        let state = cloud.lock().state.probe(kind, id)?;
        if state.get("pending").is_none() {
            return Ok(state);
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = &mut time_limit => return Ok(state),
        }
    }
}

fn to_value<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| {
        Error::new(ErrorKind::Other, "an answer does not go into JSON").caused_by(error)
    })
}
