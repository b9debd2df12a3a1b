//! A private AWS emulator for tests: a moto server of a pinned version, with the lifetime of its
//! test.
//!
//! It runs in a Python environment in cargo's target directory that is created on first use, from
//! the hashes in `testkit/moto/requirements.txt`. It needs `python3` with its `venv`, and PyPI for
//! the first use. Tests that need it are named `needs_moto_…`.
//!
//! It optionally evaluates IAM policies, with the resources and actions that
//! `testkit/moto/permissions.py` adds.
//!
//! moto completes operations at once and accepts many invalid calls; a [scripted
//! endpoint](crate::scripted) in front of it tests the rest, and counts the calls.
//! <https://docs.getmoto.org/en/latest/docs/server_mode.html>

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::http::{self, Answer};

/// The time limit for creating the environment: mostly a download of 40 MB.
const MAKE: Duration = Duration::from_secs(300);
/// The time limit for a server's start. A machine that compiles at the same time needs much of it.
const START: Duration = Duration::from_secs(60);

/// The account for which a moto server accepts any credentials.
pub const ACCOUNT: &str = "123456789012";
/// A key that moto accepts unless [`Moto::enforce_iam`] was called.
pub const ACCESS_KEY: (&str, &str) = ("AKIAIOSFODNN7EXAMPLE", "not-a-secret");
/// The region of tests, except tests of regions.
pub const REGION: &str = "eu-central-1";

/// A moto server without resources, except the default VPC of each region.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    python: PathBuf,
    dir: tempfile::TempDir,
    /// Killed on drop; exits when its standard input closes, if the test is killed.
    _server: Child,
}

impl Moto {
    /// Starts a server, after creating its environment if necessary.
    ///
    /// # Errors
    /// When Python or PyPI are missing, or the server does not start; the text is their output.
    pub async fn start() -> io::Result<Self> {
        let python = environment().await?;
        let dir = tempfile::Builder::new().prefix("lf-moto-").tempdir()?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut server = Command::new(&python)
            .arg(sources().join("serve.py"))
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .env("MOTO_ENABLE_AMI_VALIDATION", "true")
            .env("MOTO_ENABLE_KEYPAIR_VALIDATION", "true")
            // Not the test's directory, because an image of the sources is read-only.
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = server.stdout.take().expect("it was piped");
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = tokio::time::timeout(START, stdout.read_line(&mut line));
        let port: Option<u16> = match read.await {
            Ok(read) => {
                read?;
                line.trim().parse().ok()
            }
            Err(_) => None,
        };
        let Some(port) = port else {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            return Err(io::Error::other(format!("moto did not come up:\n{log}")));
        };
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            python,
            dir,
            _server: server,
        })
    }

    /// Its URL for every service, as in AWS_ENDPOINT_URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address, for an endpoint in front of it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The environment variables for a program whose AWS SDKs must use this server and no other.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let nowhere = self.dir.path().join("none").display().to_string();
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.0.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.1.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", nowhere.clone()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere),
        ]
    }

    /// From the next call on, checks signatures and evaluates IAM policies.
    ///
    /// <https://docs.getmoto.org/en/latest/docs/iam.html>
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn enforce_iam(&self) -> io::Result<()> {
        self.enforce_iam_after("0")
    }

    /// Reverts [`enforce_iam`](Self::enforce_iam).
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn trust_everybody(&self) -> io::Result<()> {
        self.enforce_iam_after("inf")
    }

    fn enforce_iam_after(&self, calls: &str) -> io::Result<()> {
        match http::post(&self.endpoint(), "/moto-api/reset-auth", calls)? {
            Answer { status: 200, .. } => Ok(()),
            refused => Err(io::Error::other(format!("reset-auth: {refused:?}"))),
        }
    }

    /// Runs a Python program with boto3 against this server and returns its output: an observer
    /// that shares no code with Landfall.
    ///
    /// # Errors
    /// When it fails; the text is its output.
    pub async fn python(&self, program: &str) -> io::Result<String> {
        succeeded(self.command(program).output().await?)
    }

    /// Starts a Python program with boto3 that answers each input line with one output line.
    ///
    /// # Errors
    /// When it does not start.
    pub fn converse(&self, program: &str) -> io::Result<Conversation> {
        let mut command = self.command(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn()?;
        Ok(Conversation {
            to: program.stdin.take().expect("it was piped"),
            from: BufReader::new(program.stdout.take().expect("it was piped")),
            _program: program,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .args(["-c", program])
            .envs(self.env())
            .current_dir(self.dir.path())
            .kill_on_drop(true);
        command
    }
}

/// A Python program that answers line by line; it is killed with this value.
#[derive(Debug)]
pub struct Conversation {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    _program: Child,
}

impl Conversation {
    /// Sends a line and returns the answer.
    ///
    /// # Errors
    /// When the program has exited; its standard error has the reason.
    pub async fn ask(&mut self, line: &str) -> io::Result<String> {
        self.to.write_all(format!("{line}\n").as_bytes()).await?;
        self.to.flush().await?;
        let mut answer = String::new();
        match self.from.read_line(&mut answer).await? {
            0 => Err(io::Error::other("the program has ended")),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }
}

/// Creates the environment unless it exists, and returns its python.
async fn environment() -> io::Result<PathBuf> {
    let mut make = Command::new("python3");
    make.arg(sources().join("make.py"))
        .arg(target())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(MAKE, make.output())
        .await
        .map_err(|_| io::Error::other("making moto's environment takes too long"))??;
    Ok(succeeded(output)?.trim().into())
}

fn succeeded(output: Output) -> io::Result<String> {
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(io::Error::other)
    } else {
        Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/moto"))
}

/// Cargo's target directory, where the environment outlives the tests.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn needs_moto_answers_and_turns_strangers_away_when_asked_to() {
        let moto = Moto::start().await.unwrap();
        let zones = "import boto3; print(len(boto3.client('ec2').describe_availability_zones()['AvailabilityZones']))";
        assert_eq!(moto.python(zones).await.unwrap().trim(), "3");
        moto.enforce_iam().unwrap();
        let refused = moto.python(zones).await.unwrap_err().to_string();
        assert!(refused.contains("AuthFailure"), "{refused}");
        moto.trust_everybody().unwrap();
        assert_eq!(moto.python(zones).await.unwrap().trim(), "3");
    }

    #[tokio::test]
    async fn needs_moto_evaluates_policies_with_resources() {
        let moto = Moto::start().await.unwrap();
        let program = r#"
import boto3, json, sys
iam = boto3.client("iam")
iam.create_user(UserName="ana")
key = iam.create_access_key(UserName="ana")["AccessKey"]
mine = boto3.Session(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
allowed = {"ec2:CreateVpc": "*", "iam:GetRole": "arn:*:iam::*:role/our/*", "iam:CreateRole": "arn:*:iam::*:role/our/*",
           "ssm:GetParameter": ["arn:*:ssm:*:*:parameter/our/*", "arn:*:ssm:*::parameter/aws/service/ami-*"]}
iam.put_user_policy(UserName="ana", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": [action], "Resource": on} for action, on in allowed.items()]}))
print(sys.stdin.readline().strip(), flush=True)
sys.stdin.readline()
def outcome(service, action, **asked):
    try:
        getattr(mine.client(service), action)(**asked)
        return "fine"
    except Exception as error:
        return str(error).split(" operation: ")[1].removeprefix("You are not authorized to perform this operation. ")
tags = [{"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}]}]
print(json.dumps([
    outcome("ec2", "create_vpc", CidrBlock="10.0.0.0/16"),
    outcome("ec2", "create_vpc", CidrBlock="10.0.0.0/16", TagSpecifications=tags),
    outcome("iam", "create_role", RoleName="r", Path="/our/", AssumeRolePolicyDocument="{}"),
    outcome("iam", "get_role", RoleName="r"),
    outcome("iam", "get_role", RoleName="s"),
    outcome("iam", "create_role", RoleName="s", AssumeRolePolicyDocument="{}"),
    outcome("ssm", "get_parameter", Name="/our/x"),
    outcome("ssm", "get_parameter", Name="/theirs/x"),
]), flush=True)
"#;
        let mut program = moto.converse(program).unwrap();
        assert_eq!(
            program.ask("are you there?").await.unwrap(),
            "are you there?"
        );
        moto.enforce_iam().unwrap();
        let outcomes = program.ask("go on").await.unwrap();
        let outcomes: Vec<String> = serde_json::from_str(&outcomes).unwrap();
        let refused = |action: &str, resource: &str| {
            format!(
                "User: arn:aws:iam::{ACCOUNT}:user/ana is not authorized to perform: {action} on resource: {resource} \
                 because no identity-based policy allows the {action} action"
            )
        };
        let theirs = format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/theirs/x");
        let expected = [
            "fine".to_owned(),
            refused("ec2:CreateTags", "*"),
            "fine".to_owned(),
            "fine".to_owned(),
            refused("iam:GetRole", "role s"),
            refused("iam:CreateRole", "role s"),
            "Parameter /our/x not found.".to_owned(),
            refused("ssm:GetParameter", &theirs),
        ];
        assert_eq!(outcomes, expected);
    }

    #[tokio::test]
    async fn needs_moto_ends_when_nobody_holds_it_any_more() {
        let mut moto = Moto::start().await.unwrap();
        // The kernel does the same when the test is killed.
        drop(moto._server.stdin.take());
        let ended = tokio::time::timeout(START, moto._server.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }
}
