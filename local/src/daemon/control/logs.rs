//! `logs`: the output of an instance so far, and its further output.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landfall_compute::Instance;
use landfall_provider::{Error, ErrorKind, InstanceId, Resource, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::daemon::runtime::cloud::Cloud;
use crate::inside::LogLine;
use landfall_sandbox::{OutputLine, Stream};

/// The output so far, and a receiver of further output.
pub(super) struct Tail {
    kept: Vec<OutputLine>,
    more: broadcast::Receiver<OutputLine>,
}

/// The end marker after the last line. A connection without it was cut: the cloud has ended.
const END: &[u8] = b"null\n";

/// The output of an instance.
///
/// # Errors
/// When the instance does not exist.
pub(super) fn tail(cloud: &Cloud, id: &InstanceId) -> Result<Tail> {
    let inner = cloud.lock();
    let container = inner.containers.get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", Instance::KIND),
        )
    })?;
    let (kept, more) = container.output().follow();
    Ok(Tail { kept, more })
}

/// Writes the lines as JSON objects; with `follow`, until the instance ends or the client disconnects.
pub(super) async fn write(
    cloud: &Arc<Cloud>,
    id: &InstanceId,
    tail: Tail,
    since_ms: Option<u64>,
    follow: bool,
    mut client: impl AsyncRead + Unpin,
    mut out: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let Tail { kept, mut more } = tail;
    let since = since_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    let recent = |line: &OutputLine| since.is_none_or(|since| line.at >= since);
    let mut text = Vec::new();
    for line in kept.iter().filter(|line| recent(line)) {
        push(&mut text, line)?;
    }
    out.write_all(&text).await?;
    if !follow {
        return out.write_all(END).await;
    }
    let mut changes = cloud.changed.subscribe();
    let mut heard = [0];
    loop {
        changes.mark_unchanged();
        let is_over = !cloud.lock().goes_on(id);
        text.clear();
        loop {
            match more.try_recv() {
                Ok(line) => push(&mut text, &line)?,
                Err(TryRecvError::Lagged(missed)) => push(&mut text, &missed_lines(missed))?,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        out.write_all(&text).await?;
        if is_over {
            return out.write_all(END).await;
        }
        tokio::select! {
            line = more.recv() => {
                text.clear();
                match line {
                    Ok(line) => push(&mut text, &line)?,
                    Err(RecvError::Lagged(missed)) => push(&mut text, &missed_lines(missed))?,
                    Err(RecvError::Closed) => return out.write_all(END).await,
                }
                out.write_all(&text).await?;
            }
            _ = changes.changed() => {}
            // Clients send nothing more: this one has disconnected.
            _ = client.read(&mut heard) => return Ok(()),
        }
    }
}

fn missed_lines(number: u64) -> OutputLine {
    OutputLine {
        at: SystemTime::now(),
        stream: Stream::Stderr,
        text: format!("landfall: {number} lines were dropped, because the output was too fast"),
    }
}

fn push(text: &mut Vec<u8>, line: &OutputLine) -> std::io::Result<()> {
    let since = line.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let reported = LogLine {
        at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        is_error: line.stream == Stream::Stderr,
        text: line.text.clone(),
    };
    serde_json::to_writer(&mut *text, &reported)?;
    text.push(b'\n');
    Ok(())
}
