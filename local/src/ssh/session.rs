//! A client's connection: authentication and requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, Pty, Sig};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::cut::UntilCut;
use super::host::Inside;
use super::{LOGIN_WITHIN, SshHost};
use landfall_kernel::accept::Newcomer;
use landfall_sandbox::{Entered, Feed, Further, Handle, Size};

/// The size of the buffer for a command's input, in bytes. A client that sends more has to wait, with
/// all channels of its connection.
const WAITING: usize = 64 << 20;

/// The exit code of a command that cannot be executed, as in shells.
const NOT_FOUND: u32 = 127;

/// Serves a client until it disconnects, its login times out, or the host ends.
pub(super) async fn serve(
    config: Arc<Config>,
    stream: TcpStream,
    machine: Arc<SshHost>,
    newcomer: Newcomer,
    machine_ends: &CancellationToken,
) {
    let cut = machine_ends.child_token();
    let _cut_at_the_end = cut.clone().drop_guard();
    let logged_in = CancellationToken::new();
    let client = Client {
        machine,
        waiting: HashMap::new(),
        logged_in: logged_in.clone(),
    };
    let stream = UntilCut::new(stream, cut);
    let session = async {
        // After an error the connection is closed; the client reports it.
        if let Ok(session) = russh::server::run_stream(config, stream, client).await {
            drop(session.await);
        }
    };
    let given_up = async {
        if newcomer
            .within(LOGIN_WITHIN, logged_in.cancelled())
            .await
            .is_some()
        {
            drop(newcomer);
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = session => {}
        () = given_up => {}
        () = machine_ends.cancelled() => {}
    }
}

/// A client.
struct Client {
    machine: Arc<SshHost>,
    /// The open channels without a command.
    waiting: HashMap<ChannelId, Waiting>,
    logged_in: CancellationToken,
}

/// The settings of a command that arrive before its request.
struct Waiting {
    channel: Channel<Msg>,
    terminal: Option<Size>,
    env: BTreeMap<String, String>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.admit(user, offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.admit(user, key.public_key))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.logged_in.cancel();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let waiting = Waiting {
            terminal: None,
            env: BTreeMap::new(),
            channel,
        };
        self.waiting.insert(waiting.channel.id(), waiting);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let (machine, host) = (Arc::clone(&self.machine), host.to_owned());
        // A connect may be slow, and must not delay the other channels.
        tokio::spawn(async move {
            match machine.connect(&host, port).await {
                Ok(mut stream) => {
                    reply.accept().await;
                    let mut channel = channel.into_stream();
                    // Either side may end it.
                    drop(tokio::io::copy_bidirectional(&mut channel, &mut stream).await);
                }
                Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.waiting.get_mut(&channel) {
            Some(waiting) => {
                waiting.terminal = Some(size(columns, rows));
                waiting.env.insert("TERM".to_owned(), term.to_owned());
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // Like sshd on Amazon Linux: AcceptEnv LANG LC_*
        let accepted = name == "LANG" || name.starts_with("LC_");
        match self.waiting.get_mut(&channel).filter(|_| accepted) {
            Some(waiting) => {
                waiting.env.insert(name.to_owned(), value.to_owned());
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.begin(channel, session, Asked::Shell)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let line = String::from_utf8_lossy(data).into_owned();
        self.begin(channel, session, Asked::Line(line))
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match name {
            "sftp" => self.begin(channel, session, Asked::Files),
            _ => session.channel_failure(channel),
        }
    }
}

/// The request of a client.
#[derive(Debug)]
enum Asked {
    Shell,
    Line(String),
    Files,
}

impl Client {
    fn admit(&self, user: &str, key: &russh::keys::PublicKey) -> Auth {
        match self.machine.admits(user, key) {
            true => Auth::Accept,
            false => Auth::reject(),
        }
    }

    /// Starts the request of a channel in a task of its own.
    fn begin(
        &mut self,
        id: ChannelId,
        session: &mut Session,
        asked: Asked,
    ) -> Result<(), russh::Error> {
        let Some(waiting) = self.waiting.remove(&id) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let machine = Arc::clone(&self.machine);
        tokio::spawn(async move {
            let (reader, writer) = waiting.channel.split();
            let started = start(&machine, asked, waiting.terminal, waiting.env).await;
            let code = match started {
                Ok(entered) => carry(entered, reader, &writer).await,
                Err(Refusal { text, code }) => {
                    // On a terminal, lines end with CR LF.
                    let text = text.replace('\n', "\r\n");
                    let _ = writer.extended_data_bytes(1, text.into_bytes()).await;
                    code
                }
            };
            // The client has disconnected.
            let _ = writer.exit_status(code).await;
            let _ = writer.eof().await;
            let _ = writer.close().await;
        });
        Ok(())
    }
}

/// The reason why no command runs, and the exit code for the client.
struct Refusal {
    text: String,
    code: u32,
}

async fn start(
    machine: &SshHost,
    asked: Asked,
    terminal: Option<Size>,
    env: BTreeMap<String, String>,
) -> Result<Entered, Refusal> {
    let name = machine.name();
    let Inside::Container(running) = machine.inside() else {
        let text = format!(
            "{name} is for jumping on: `ssh -J {name} …` or `landfall ssh SERVICE` goes through it to an \
             instance. On this machine it has no shell and no files.\n"
        );
        return Err(Refusal { text, code: 1 });
    };
    let Some(running) = running() else {
        let text = format!("no container runs in {name}\n");
        return Err(Refusal { text, code: 1 });
    };
    let is_shell = matches!(asked, Asked::Shell);
    let further = match asked {
        Asked::Files => Further::Files,
        Asked::Shell => Further::Command {
            argv: vec!["/bin/sh".to_owned()],
            otherwise: None,
            env,
            terminal,
        },
        Asked::Line(line) => Further::Command {
            // Without a shell in the image, a command of plain words can still run.
            otherwise: shlex::split(&line),
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
            env,
            terminal,
        },
    };
    landfall_sandbox::enter(&running, further).await.map_err(|error| {
        let mut text = match error {
            landfall_sandbox::Error::Sandbox { reason, .. } => format!("{name}: {reason}\n"),
            error => format!("{name}: {error}\n"),
        };
        if is_shell {
            text.push_str(
                "Without a shell, commands that the image has can be run, `ssh HOST COMMAND`, and files copied with \
                 scp.\n",
            );
        }
        Refusal {
            text,
            code: NOT_FOUND,
        }
    })
}

/// Forwards a command's streams until it ends; returns its exit code.
async fn carry(
    entered: Entered,
    reader: ChannelReadHalf,
    writer: &russh::ChannelWriteHalf<Msg>,
) -> u32 {
    let Entered {
        input,
        output,
        errors,
        handle,
    } = entered;
    let heard = hear(reader, Feed::new(input, WAITING), &handle);
    let said = async {
        let output = landfall_sandbox::pump(output, handle.wait(), |bytes| async {
            writer.data_bytes(bytes).await.is_ok()
        });
        let errors = async {
            if let Some(errors) = errors {
                landfall_sandbox::pump(errors, handle.wait(), |bytes| async {
                    writer.extended_data_bytes(1, bytes).await.is_ok()
                })
                .await;
            }
        };
        tokio::join!(output, errors);
        handle.wait().await
    };
    tokio::select! {
        exit = said => landfall_sandbox::shell_code(exit).into(),
        // The client has disconnected: the end of this task hangs up.
        () = heard => 0,
    }
}

/// Reads the client's messages until it disconnects.
async fn hear(mut reader: ChannelReadHalf, mut feed: Feed, handle: &Handle) {
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => feed.give(data).await,
            ChannelMsg::Eof => feed.end(),
            ChannelMsg::Close => return,
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                ..
            } => handle.resize(size(col_width, row_height)),
            ChannelMsg::Signal { signal } => {
                if let Some(number) = number(&signal) {
                    handle.signal(number);
                }
            }
            _ => {}
        }
    }
}

fn size(columns: u32, rows: u32) -> Size {
    let cells = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Size {
        columns: cells(columns),
        rows: cells(rows),
    }
}

/// The number of a signal by its SSH name.
fn number(signal: &Sig) -> Option<u8> {
    use nix::sys::signal::Signal;
    let signal = match signal {
        Sig::ABRT => Signal::SIGABRT,
        Sig::ALRM => Signal::SIGALRM,
        Sig::HUP => Signal::SIGHUP,
        Sig::INT => Signal::SIGINT,
        Sig::KILL => Signal::SIGKILL,
        Sig::PIPE => Signal::SIGPIPE,
        Sig::QUIT => Signal::SIGQUIT,
        Sig::TERM => Signal::SIGTERM,
        Sig::USR1 => Signal::SIGUSR1,
        _ => return None,
    };
    u8::try_from(signal as i32).ok()
}
