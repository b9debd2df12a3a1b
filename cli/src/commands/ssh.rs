//! `ssh`, `ssh-config`: access to an instance by the system's ssh; and `exec` and `logs` through
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall_compute::{HostKey, KeyPair, PublicKey};
use landfall_pipeline::Host;
use landfall_provider::{InstanceId, Live, Provider};
use serde::Serialize;

use super::inside::Inside;
use crate::args::{Ssh, SshConfig};
use crate::cli_error::CliError;
use crate::output;
use crate::selected_provider::SelectedProvider;
use crate::ssh::config::{Way, alias, quoted};
use crate::ssh::{folder, keys};

/// The last line of JSON of a configuration.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    config: &'a str,
    known_hosts: &'a Path,
    hosts: Vec<Named<'a>>,
}

/// A host and its name for ssh.
#[derive(Serialize)]
struct Named<'a> {
    alias: String,
    host: &'a Host,
    host_keys: &'a [HostKey],
}

/// Logs in, and returns the exit code of the remote command.
pub(crate) async fn ssh(args: &Ssh) -> Result<u8, CliError> {
    let inside = Inside::open(&args.on).await?;
    let host = inside.running(&args.instance)?;
    run(
        &inside,
        host,
        args.identity.as_deref(),
        &Asked {
            terminal: false,
            words: &args.command,
        },
    )
    .await
}

/// Prints the configuration.
pub(crate) async fn config(args: &SshConfig) -> Result<(), CliError> {
    let inside = Inside::open(&args.on).await?;
    let hosts = everybody(&inside)?;
    let reported = landfall_pipeline::host_keys(inside.place.cloud(), &hosts);
    let keys = inside.ask(reported).await?;
    let prepared = prepare(&inside, &keys, args.identity.as_deref()).await?;
    for host in &hosts {
        if keys[&host.id].is_empty() {
            output::message(&format!(
                "{} is omitted: its host key is not known yet\n",
                host.name
            ));
        }
    }
    if args.on.common.json {
        let hosts = hosts.iter().map(|host| Named {
            alias: alias(&inside.access, host),
            host,
            host_keys: &keys[&host.id],
        });
        output::json_line(&Line {
            result: "ssh-config",
            config: &prepared.config,
            known_hosts: &prepared.known_hosts,
            hosts: hosts.collect(),
        });
    } else {
        output::result(&prepared.config);
    }
    Ok(())
}

/// The bastion and all instances behind it.
fn everybody(inside: &Inside) -> Result<Vec<&Host>, CliError> {
    let bastion = bastion(inside)?;
    let behind = inside.access.services.values().flatten();
    let behind = behind.filter(|host| host.is_there());
    Ok(std::iter::once(bastion).chain(behind).collect())
}

fn bastion(inside: &Inside) -> Result<&Host, CliError> {
    let stack = &inside.access.stack;
    let me = match &inside.place {
        SelectedProvider::Local(_) => format!("\"{}/32\"", landfall_local::OPERATOR),
        #[cfg(feature = "aws")]
        SelectedProvider::Aws(_) => "\"203.0.113.7/32\"".to_owned(),
    };
    match &inside.access.bastion {
        Some(bastion) if bastion.is_there() => Ok(bastion),
        Some(_) => Err(CliError::usage(
            format!("the bastion of {stack} does not exist"),
            Some("`deploy` creates it again"),
        )),
        None if inside.access.is_single => Err(CliError::usage(
            format!("{stack} is a single instance, which has no bastion to log in through"),
            Some(
                "`landfall exec` runs a command in its container, `landfall logs` shows its output",
            ),
        )),
        None => Err(CliError::Usage {
            message: format!("{stack} has no bastion, so its instances cannot be reached"),
            hint: Some(format!(
                "add it to landfall.toml, with the addresses that you log in from, and deploy:\n\n    \
                 [network.bastion]\n    allow = [{me}]"
            )),
        }),
    }
}

/// The prepared files and options for ssh.
struct Prepared {
    config: String,
    known_hosts: PathBuf,
    folder: PathBuf,
}

/// Writes the host keys, and returns the options for ssh.
async fn prepare(
    inside: &Inside,
    keys: &BTreeMap<InstanceId, Vec<HostKey>>,
    identity: Option<&Path>,
) -> Result<Prepared, CliError> {
    let stack = &inside.access.stack;
    let folder = folder::folder()?
        .join("ssh")
        .join(format!("{}-{stack}", inside.place.word()));
    let unwritten = |error: std::io::Error| {
        CliError::usage(
            format!("{} cannot be written: {error}", folder.display()),
            Some("set LANDFALL_CONFIG_DIR to a directory of yours"),
        )
    };
    folder::make(&folder).map_err(unwritten)?;
    let identity = match identity {
        Some(file) if file.is_file() => file.to_owned(),
        Some(file) => {
            return Err(CliError::usage(
                format!("there is no file {}", file.display()),
                Some("--identity names the file of a private key"),
            ));
        }
        None => {
            let key = found_key(inside).await?;
            match key.private {
                Some(private) => private,
                // A key in an agent is identified by its public key.
                None => {
                    let file = folder.join("operator.pub");
                    folder::write(&file, &format!("{}\n", key.public)).map_err(unwritten)?;
                    file
                }
            }
        }
    };
    let known_hosts = folder.join("known_hosts");
    let way = Way {
        access: &inside.access,
        keys,
        identity: std::path::absolute(&identity).unwrap_or(identity),
        known_hosts: known_hosts.clone(),
        proxy: proxy(&inside.place)?,
    };
    folder::write(&known_hosts, &way.known_hosts()).map_err(unwritten)?;
    Ok(Prepared {
        config: way.config(),
        known_hosts,
        folder,
    })
}

/// The operator's key for the stack.
async fn found_key(inside: &Inside) -> Result<keys::Key, CliError> {
    let stack = &inside.access.stack;
    let listed = Provider::<KeyPair>::list(inside.place.cloud(), stack);
    let pairs: Vec<Live<KeyPair>> = inside.ask(listed).await?;
    let theirs: Vec<PublicKey> = pairs.into_iter().map(|pair| pair.spec.public_key).collect();
    if theirs.is_empty() {
        return Err(CliError::usage(
            format!(
                "no key gives access to the instances of {stack}: the stack was deployed without a key"
            ),
            Some("deploy it again: Landfall finds a key in the agent or in ~/.ssh, or creates one"),
        ));
    }
    let mine = keys::all();
    match keys::choose(&mine, &theirs).filter(|key| theirs.contains(&key.public)) {
        Some(key) => Ok(key.clone()),
        None => {
            let theirs: Vec<&str> = theirs.iter().map(PublicKey::as_str).collect();
            Err(CliError::Usage {
                message: format!(
                    "the key of the instances of {stack} is neither in the agent nor in ~/.ssh: {}",
                    theirs.join(", ")
                ),
                hint: Some(
                    "`ssh-add FILE` adds it to the agent, --identity FILE selects it; or deploy with your own key, \
                     which replaces the bastion"
                        .to_owned(),
                ),
            })
        }
    }
}

/// The proxy to the local provider's internet: this program.
fn proxy(place: &SelectedProvider) -> Result<Option<String>, CliError> {
    match place {
        SelectedProvider::Local(local) => {
            let me = std::env::current_exe().map_err(|error| {
                CliError::usage(
                    format!("cannot find the file of this program: {error}"),
                    None,
                )
            })?;
            let dir = std::path::absolute(local.dir()).unwrap_or_else(|_| local.dir().to_owned());
            Ok(Some(format!(
                "{} dial --runtime-dir {} %h %p",
                quoted(&me),
                quoted(&dir)
            )))
        }
        #[cfg(feature = "aws")]
        SelectedProvider::Aws(_) => Ok(None),
    }
}

/// The remote command.
struct Asked<'a> {
    /// Whether the command needs a terminal.
    terminal: bool,
    words: &'a [String],
}

/// Replaces this process by ssh, or returns its exit code.
async fn run(
    inside: &Inside,
    host: &Host,
    identity: Option<&Path>,
    asked: &Asked<'_>,
) -> Result<u8, CliError> {
    let mut command = command(inside, host, identity, asked).await?;
    become_it(&mut command).map_err(|error| no_ssh(&error))
}

async fn command(
    inside: &Inside,
    host: &Host,
    identity: Option<&Path>,
    asked: &Asked<'_>,
) -> Result<Command, CliError> {
    let bastion = bastion(inside)?;
    let mut hosts = vec![bastion];
    if host.id != bastion.id {
        hosts.push(host);
    }
    let reported = landfall_pipeline::host_keys(inside.place.cloud(), &hosts);
    let keys = inside.ask(reported).await?;
    for host in &hosts {
        if keys[&host.id].is_empty() {
            return Err(unknown(inside, host));
        }
    }
    let prepared = prepare(inside, &keys, identity).await?;
    // The user's own settings follow: in ssh the first value applies. SendEnv is the exception,
    // because its values add up; so they are removed at the end, except for the language.
    let own = folder::home().map_or_else(
        || "~/.ssh/config".to_owned(),
        |home| quoted(&home.join(".ssh/config")),
    );
    let config = format!(
        "{}\nHost *\nInclude {own}\nInclude /etc/ssh/ssh_config\nHost *\n  SendEnv -*\n  SendEnv LANG LC_*\n",
        prepared.config
    );
    let file = prepared.folder.join(format!("config-{}", host.id));
    folder::write(&file, &config).map_err(|error| {
        CliError::usage(
            format!("{} cannot be written: {error}", file.display()),
            None,
        )
    })?;
    let mut command = Command::new("ssh");
    command.arg("-F").arg(&file);
    // Also the forwardings in the user's own configuration.
    command.args(["-o", "ClearAllForwardings=yes"]);
    if asked.terminal {
        command.arg("-t");
    }
    command.arg(alias(&inside.access, host));
    if !asked.words.is_empty() {
        command.arg("--").args(asked.words);
    }
    Ok(command)
}

fn unknown(inside: &Inside, host: &Host) -> CliError {
    let hint = match &inside.place {
        SelectedProvider::Local(_) => {
            "it has no SSH server: it has no key, or its service uses port 22"
        }
        #[cfg(feature = "aws")]
        SelectedProvider::Aws(_) => {
            "an instance writes its host keys to its console when it boots, and AWS shows them some minutes later: \
             try again then"
        }
    };
    CliError::usage(
        format!("the host key of {} is not known", host.name),
        Some(hint),
    )
}

fn no_ssh(error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::NotFound => CliError::usage(
            "there is no program `ssh`",
            Some("install OpenSSH's client: apt-get install openssh-client"),
        ),
        _ => CliError::usage(format!("`ssh` cannot be run: {error}"), None),
    }
}

#[cfg(unix)]
fn become_it(command: &mut Command) -> std::io::Result<u8> {
    Err(std::os::unix::process::CommandExt::exec(command))
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> std::io::Result<u8> {
    let status = command.status()?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(crate::exit::FAILED))
}

/// `exec` on AWS: in the instance's container, through ssh.
#[cfg(feature = "aws")]
pub(super) async fn exec(
    inside: &Inside,
    host: &Host,
    args: &crate::args::Exec,
) -> Result<u8, CliError> {
    no_json(args.on.common.json, "exec")?;
    let terminal = crate::terminal::here().is_some();
    let line = [crate::ssh::remote::exec(&args.command, terminal)];
    let asked = Asked {
        terminal,
        words: &line,
    };
    run(inside, host, None, &asked).await
}

/// `logs` on AWS: the output kept by the instances' engines, through ssh.
#[cfg(feature = "aws")]
pub(super) async fn logs(
    inside: &Inside,
    hosts: &[&Host],
    args: &crate::args::Logs,
) -> Result<u8, CliError> {
    use std::io::{BufRead, BufReader};
    no_json(args.on.common.json, "logs")?;
    let line = [crate::ssh::remote::logs(
        args.follow,
        args.since,
        args.timestamps,
    )];
    let asked = Asked {
        terminal: false,
        words: &line,
    };
    if let [host] = hosts {
        return run(inside, host, None, &asked).await;
    }
    let mut followed = Vec::new();
    for host in hosts {
        let mut command = command(inside, host, None, &asked).await?;
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped());
        let mut child = command.spawn().map_err(|error| no_ssh(&error))?;
        let name = host.name.clone();
        let lines = child.stdout.take().map(|out| {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    output::result(&format!("{name} | {line}\n"));
                }
            })
        });
        followed.push((child, lines));
    }
    let mut worst = 0;
    for (mut child, lines) in followed {
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(lines) = lines {
                drop(lines.join());
            }
            child.wait()
        });
        let code = ended.await.ok().and_then(Result::ok);
        let code = code.and_then(|status| status.code()).unwrap_or(255);
        worst = worst.max(u8::try_from(code).unwrap_or(u8::MAX));
    }
    Ok(worst)
}

#[cfg(feature = "aws")]
fn no_json(json: bool, command: &str) -> Result<(), CliError> {
    match json {
        false => Ok(()),
        true => Err(CliError::usage(
            format!(
                "`{command} --json` works only with the local provider: on AWS, the output comes from ssh"
            ),
            None,
        )),
    }
}
