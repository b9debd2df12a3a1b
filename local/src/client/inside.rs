//! `logs`, `exec` and `dial`: the inside of instances.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, InstanceId, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::{Connection, Local};
use crate::frames::{CHUNK, Frame, FrameReader, FrameWriter};
use crate::inside::{ExecEvent, LogLine, Reached, TerminalKind};
use crate::wire::{Call, Entering};

/// The output of an instance, line by line.
#[derive(Debug)]
pub struct Logs {
    client: Local,
    connection: Option<Connection>,
}

impl Logs {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the cloud has ended or is stopped, or sends an invalid line.
    pub async fn next(&mut self) -> Result<Option<LogLine>> {
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        let mut line = String::new();
        let read = connection.read_line(&mut line);
        match self.client.unless_silent(read).await? {
            // The cloud marks the end.
            Ok(0) | Err(_) => Err(self.client.lost()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| {
                Error::new(ErrorKind::Other, "a line of output is not understood").caused_by(error)
            }),
        }
    }
}

/// The input of a command in an instance.
#[derive(Debug)]
pub struct ExecInput(FrameWriter<WriteHalf<Connection>>);

impl ExecInput {
    /// Sends input.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn input(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK) {
            self.0
                .send(Frame::Input(Bytes::copy_from_slice(chunk)))
                .await?;
        }
        Ok(())
    }

    /// Closes the input.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn input_ends(&mut self) -> io::Result<()> {
        self.0.send(Frame::InputEnds).await
    }

    /// Sends a signal to the command and its child processes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn signal(&mut self, number: u8) -> io::Result<()> {
        self.0.send(Frame::Signal(number)).await
    }

    /// Changes the size of its terminal.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> io::Result<()> {
        self.0.send(Frame::Resize { columns, rows }).await
    }
}

/// The events of a command in an instance.
#[derive(Debug)]
pub struct ExecOutput {
    client: Local,
    frames: FrameReader<ReadHalf<Connection>>,
}

impl ExecOutput {
    /// The next event, until the command has exited.
    ///
    /// # Errors
    /// When the cloud has ended or is stopped, or sends an invalid frame.
    pub async fn next(&mut self) -> Result<ExecEvent> {
        loop {
            let frame = self.client.unless_silent(self.frames.next()).await?;
            return Ok(match frame {
                Ok(Some(Frame::Output(bytes))) => ExecEvent::Output(bytes.into()),
                Ok(Some(Frame::Errors(bytes))) => ExecEvent::Errors(bytes.into()),
                Ok(Some(Frame::Exited(code))) => ExecEvent::Exited(code),
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) if !self.client.listens().await => {
                    return Err(self.client.lost());
                }
                Ok(None) => return Err(unfinished()),
                Err(error) => return Err(unfinished().caused_by(error)),
            });
        }
    }
}

fn unfinished() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the connection to the command ended before the command did",
    )
}

/// A connection into the cloud's network.
#[derive(Debug)]
pub struct Dialled {
    client: Local,
    connection: Connection,
}

impl Dialled {
    /// Sends the incoming data to the other side, and its answers to `take`, until the other side is closed.
    ///
    /// # Errors
    /// When the cloud has ended or is stopped.
    pub async fn carry(
        self,
        mut input: mpsc::Receiver<Vec<u8>>,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<()> {
        let Self { client, connection } = self;
        let (mut reader, mut writer) = tokio::io::split(connection);
        let up = async {
            while let Some(bytes) = input.recv().await {
                writer.write_all(&bytes).await?;
            }
            writer.shutdown().await?;
            std::future::pending::<io::Result<()>>().await
        };
        let down = async {
            let mut buffer = vec![0; CHUNK];
            loop {
                match reader.read(&mut buffer).await? {
                    0 => return Ok(()),
                    length => take(&buffer[..length])?,
                }
            }
        };
        let both = async {
            tokio::select! {
                lost = up => lost,
                said = down => said,
            }
        };
        // Either side may close the connection; ssh reports it.
        let _ = client.unless_silent(both).await?;
        match client.listens().await {
            true => Ok(()),
            false => Err(client.lost()),
        }
    }
}

impl Local {
    /// Connects from a host on the simulated internet, and returns the result.
    ///
    /// # Errors
    /// When no cloud runs.
    pub async fn dial(
        &self,
        address: Ipv4Addr,
        port: u16,
        time_limit: Duration,
    ) -> Result<(Reached, Option<Dialled>)> {
        let call = Call::Dial {
            address,
            port,
            timeout_ms: u64::try_from(time_limit.as_millis()).unwrap_or(u64::MAX),
        };
        let reported: Option<(Reached, Connection)> = self.talk(call).await?;
        let (reached, connection) =
            reported.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no local cloud"))?;
        let dialled = (reached == Reached::Open).then(|| Dialled {
            client: self.clone(),
            connection,
        });
        Ok((reached, dialled))
    }

    /// The output of an instance: all of it that is kept, or from `since_ms` on (milliseconds since
    /// 1970); with `follow`, also its further output until it ends.
    ///
    /// # Errors
    /// When there is no such instance.
    pub async fn logs(
        &self,
        instance: &InstanceId,
        since_ms: Option<u64>,
        follow: bool,
    ) -> Result<Logs> {
        let call = Call::Logs {
            instance: instance.clone(),
            since_ms,
            follow,
        };
        let reported: Option<((), _)> = self.talk(call).await?;
        Ok(Logs {
            client: self.clone(),
            connection: reported.map(|((), connection)| connection),
        })
    }

    /// Runs a command in an instance with the files, user and environment of its container. The inner
    /// `Err` is the reason why it cannot be executed.
    ///
    /// # Errors
    /// When there is no such instance, or nothing runs in it.
    pub async fn exec(
        &self,
        instance: &InstanceId,
        argv: Vec<String>,
        terminal: Option<TerminalKind>,
    ) -> Result<std::result::Result<(ExecInput, ExecOutput), String>> {
        let call = Call::Exec {
            instance: instance.clone(),
            argv,
            terminal,
        };
        let reported: Option<(Entering, Connection)> = self.talk(call).await?;
        let (entering, connection) =
            reported.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no local cloud"))?;
        Ok(match entering {
            Entering::Impossible(why) => Err(why),
            Entering::Runs => {
                let (reader, writer) = tokio::io::split(connection);
                Ok((
                    ExecInput(FrameWriter::new(writer)),
                    ExecOutput {
                        client: self.clone(),
                        frames: FrameReader::new(reader),
                    },
                ))
            }
        })
    }
}
