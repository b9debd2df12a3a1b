//! `exec`: a command in an instance, with its streams on the client's connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_compute::Instance;
use landfall_provider::{Error, ErrorKind, InstanceId, Resource, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use crate::daemon::runtime::cloud::{Cloud, Inner};
use crate::frames::{Frame, FrameReader, FrameWriter};
use crate::inside::TerminalKind;
use crate::wire::Entering;
use landfall_sandbox::{Entered, Feed, Further, Running, Size};

/// The size of the buffer for a command's input, in bytes.
const WAITING: usize = 256 << 10;

/// The container of an instance, if it runs.
///
/// # Errors
/// When the instance does not exist, or its container does not run.
pub(super) fn running(inner: &Inner, id: &InstanceId) -> Result<Arc<Running>> {
    if !inner.state.machines.contains_key(id) {
        return Err(Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", Instance::KIND),
        ));
    }
    let running = inner
        .containers
        .get(id)
        .and_then(|container| container.running());
    running
        .filter(|running| running.exited().is_none())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                format_args!("no container runs in {id}"),
            )
        })
}

/// Starts the command. The inner `Err` is the reason why it cannot be executed.
///
/// # Errors
/// When no process can be started in the instance.
pub(super) async fn start(
    cloud: &Cloud,
    id: &InstanceId,
    argv: Vec<String>,
    terminal: Option<TerminalKind>,
) -> Result<(Entering, Option<Entered>)> {
    let running = running(&cloud.lock(), id)?;
    let env: BTreeMap<String, String> = terminal
        .iter()
        .map(|terminal| ("TERM".to_owned(), terminal.term.clone()))
        .collect();
    let further = Further::Command {
        argv,
        otherwise: None,
        env,
        terminal: terminal.map(|terminal| Size {
            columns: terminal.columns,
            rows: terminal.rows,
        }),
    };
    match landfall_sandbox::enter(&running, further).await {
        Ok(entered) => Ok((Entering::Runs, Some(entered))),
        Err(landfall_sandbox::Error::Sandbox { reason, .. }) => {
            Ok((Entering::Impossible(reason), None))
        }
        Err(error) => Err(Error::new(
            ErrorKind::Other,
            format_args!("the command cannot be started in {id}"),
        )
        .caused_by(error)),
    }
}

/// Forwards the command's streams until it ends. A client that disconnects hangs up on it.
pub(super) async fn carry(
    entered: Entered,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let Entered {
        input,
        output,
        errors,
        handle,
    } = entered;
    let mut writer = FrameWriter::new(writer);
    let mut reader = FrameReader::new(reader);
    let (said, mut frames) = mpsc::channel(4);
    let hand_on = |stream, frame: fn(Bytes) -> Frame| {
        let said = said.clone();
        tokio::spawn(landfall_sandbox::pump(
            stream,
            handle.wait(),
            move |bytes| {
                let said = said.clone();
                async move { said.send(frame(bytes)).await.is_ok() }
            },
        ));
    };
    hand_on(output, Frame::Output);
    if let Some(errors) = errors {
        hand_on(errors, Frame::Errors);
    }
    drop(said);
    // In a task of its own: a command may write before it reads its input.
    let heard = async {
        let mut feed = Feed::new(input, WAITING);
        loop {
            match reader.next().await? {
                Some(Frame::Input(bytes)) => feed.give(bytes).await,
                Some(Frame::InputEnds) => feed.end(),
                Some(Frame::Resize { columns, rows }) => handle.resize(Size { columns, rows }),
                Some(Frame::Signal(number)) => handle.signal(number),
                Some(_) => {}
                None => return std::io::Result::Ok(()),
            }
        }
    };
    tokio::pin!(heard);
    loop {
        tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => writer.send(frame).await?,
                None => break,
            },
            gone = &mut heard => return gone,
        }
    }
    // A command may close its output and continue.
    let exit = tokio::select! {
        exit = handle.wait() => exit,
        gone = &mut heard => return gone,
    };
    writer
        .send(Frame::Exited(landfall_sandbox::shell_code(exit)))
        .await
}
