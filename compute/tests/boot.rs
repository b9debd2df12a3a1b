//! The very script that instances get, on a real engine: Debian's `docker-registry` stands for ECR, a few lines for
//! the `aws` command, and a listener for the instance's metadata.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use landfall_compute::{Workload, boot};
use landfall_provider::{ImageId, Input, Port};
use landfall_testkit::engines::{PrivateEngine, Program};
use landfall_testkit::registry::{self, Registry};

/// The registry's one user, as ECR has it; the hash is of `ecr-token`, in bcrypt.
const HTPASSWD: &str = "AWS:$2y$05$1yrVauaE2j6G17HOG2l4Zu7LM6wuXMjSbtbX4TyESJl5HZsIQ8jXO\n";

/// The first two questions find no way out, as while the NAT gateway is pending.
const AWS: &str = r#"#!/bin/bash
echo "$*" >>"$SCENE/asked"
if (($(wc -l <"$SCENE/asked") < 3)); then
  echo 'Could not connect to the endpoint URL: "https://api.ecr.ap-south-1.amazonaws.com/"' >&2
  exit 255
fi
case "$*" in
  'ecr get-login-password --region ap-south-1') echo ecr-token ;;
  'ssm get-parameter --region ap-south-1 --name /digipay/url --with-decryption --query Parameter.Value --output text')
    echo "postgres://app:p'a\$s#s @db/app" ;;
  'ssm get-parameter '*'--name /digipay/key '*) printf 'BEGIN\n$HOME\nEND\n' ;;
  'secretsmanager get-secret-value --region ap-south-1 --secret-id digipay/api --query SecretString --output text')
    echo '{"user": "ana", "key": "hunter2"}' ;;
  *) echo "An error occurred (ParameterNotFound) when calling the GetParameter operation" >&2; exit 254 ;;
esac
"#;

/// How long anything may take; the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance: an engine, a registry that it may pull from, and what it asks for.
struct Scene {
    engine: PrivateEngine,
    metadata: String,
    directory: tempfile::TempDir,
    _registry: Registry,
}

impl Scene {
    fn new() -> Self {
        let engine = Program::Docker
            .start()
            .unwrap_or_else(|reason| panic!("{reason}"));
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(&engine, directory.path(), HTPASSWD).unwrap();
        let listener = engine.listen_inside().unwrap();
        let metadata = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || serve_metadata(&listener));
        let aws = directory.path().join("aws");
        std::fs::write(&aws, AWS).unwrap();
        std::fs::set_permissions(&aws, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            engine,
            metadata,
            directory,
            _registry: registry,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn docker(&self, args: &[&str]) -> Output {
        let mut docker = Command::new("docker");
        docker
            .args(args)
            .env("DOCKER_HOST", self.engine.docker_host())
            .env("DOCKER_CONFIG", self.path("config"));
        docker.output().unwrap()
    }

    /// What a docker command prints that has to succeed.
    fn docker_says(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Puts an image into the registry that runs this shell command, takes it off the engine, and gives its id.
    fn publish(&self, command: &str) -> ImageId {
        let root = self.path("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("www")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox"))
            .expect("/bin/busybox is there (Debian: apt-get install busybox-static)");
        std::fs::write(root.join("www/index.html"), "hello").unwrap();
        let archive = self.path("root.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        let change = format!("CMD [\"/bin/busybox\", \"sh\", \"-c\", \"{command}\"]");
        let name = format!("{}/digipay/web", registry::ADDRESS);
        self.docker_says(&[
            "import",
            "--change",
            &change,
            archive.to_str().unwrap(),
            &name,
        ]);
        // It listens a moment after it was started.
        let login = [
            "login",
            "--username=AWS",
            "--password=ecr-token",
            registry::ADDRESS,
        ];
        until("the registry answers", || {
            self.docker(&login).status.success()
        });
        self.docker_says(&["push", "--quiet", &name]);
        let id = self.docker_says(&["inspect", "--format={{index .RepoDigests 0}}", &name]);
        self.docker_says(&["rmi", "--force", &name]);
        ImageId::from(id)
    }

    /// Boots an instance with this workload.
    fn boot(&self, workload: &Workload) -> (bool, String) {
        let script = self.path("user-data");
        std::fs::write(&script, boot::user_data("ap-south-1", workload).unwrap()).unwrap();
        let path = std::env::var("PATH").unwrap();
        let output = self
            .engine
            .command_inside("env")
            .arg("--ignore-environment")
            .arg(format!("PATH={}:{path}", self.directory.path().display()))
            .arg(format!("SCENE={}", self.directory.path().display()))
            .arg(format!("DOCKER_HOST={}", self.engine.docker_host()))
            .arg(format!(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT={}",
                self.metadata
            ))
            .arg("bash")
            .arg(script)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(told).unwrap())
    }

    /// What the instance answers on its port.
    fn answer(&self) -> Option<String> {
        let mut curl = self.engine.command_inside("curl");
        let output = curl.args([
            "--silent",
            "--fail",
            "--max-time",
            "5",
            "http://127.0.0.1:8000/",
        ]);
        let output = output.output().unwrap();
        let answered = output.status.success();
        answered.then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn variable(&self, name: &str) -> String {
        let print = format!("echo \"${name}\"");
        self.docker_says(&["exec", "landfall", "/bin/busybox", "sh", "-c", &print])
    }
}

/// Answers as the instance metadata service does, version 2: nothing without a token.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>
fn serve_metadata(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let head: Vec<String> = BufReader::new(&stream)
            .lines()
            .map(Result::unwrap)
            .take_while(|line| !line.is_empty())
            .collect();
        let has = |header: &str| head.iter().any(|line| line.eq_ignore_ascii_case(header));
        let answer = match head[0].strip_suffix(" HTTP/1.1").unwrap() {
            "PUT /latest/api/token" if has("x-aws-ec2-metadata-token-ttl-seconds: 300") => {
                "token-1"
            }
            _ if !has("x-aws-ec2-metadata-token: token-1") => "",
            "GET /latest/meta-data/instance-id" => "i-0123456789abcdef0",
            "GET /latest/meta-data/placement/availability-zone" => "ap-south-1b",
            _ => "",
        };
        let status = if answer.is_empty() {
            "401 Unauthorized"
        } else {
            "200 OK"
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        )
        .unwrap();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn workload(image: ImageId) -> Workload {
    Workload {
        image: Input::Known(image),
        port: Port::new(8000).unwrap(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        logs: None,
    }
}

#[test]
fn needs_docker_an_instance_answers_and_answers_again_after_a_second_run_and_after_a_crash() {
    let scene = Scene::new();
    let image = scene.publish("exec httpd -f -p $PORT -h /www");
    let motto = "it's \"$HOME\"\n`and` more \\";
    let mut workload = workload(image);
    workload.env.insert("MOTTO".to_owned(), motto.to_owned());
    for (name, reference) in [
        ("DATABASE_URL", "ssm:/digipay/url"),
        ("PRIVATE_KEY", "ssm:/digipay/key"),
        ("API_KEY", "secretsmanager:digipay/api#key"),
    ] {
        let reference = reference.parse().unwrap();
        workload.secrets.insert(name.to_owned(), reference);
    }

    let (well, told) = scene.boot(&workload);
    assert!(well, "{told}");
    assert!(
        told.contains("Could not connect") && told.contains("trying again"),
        "{told}"
    );
    assert!(told.trim_end().ends_with("runs on port 8000"), "{told}");
    assert_eq!(scene.answer().as_deref(), Some("hello"));
    let secrets = [
        "postgres://app:p'a$s#s @db/app",
        "BEGIN\n$HOME\nEND",
        "hunter2",
    ];
    for (name, value) in [
        ("PORT", "8000"),
        ("LANDFALL_INSTANCE_ID", "i-0123456789abcdef0"),
        ("LANDFALL_ZONE", "ap-south-1b"),
        ("MOTTO", motto),
        ("DATABASE_URL", secrets[0]),
        ("PRIVATE_KEY", secrets[1]),
        ("API_KEY", secrets[2]),
    ] {
        assert_eq!(scene.variable(name), value, "{name}");
    }
    let script = std::fs::read_to_string(scene.path("user-data")).unwrap();
    for text in [&told, &script] {
        assert!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "{text}"
        );
        assert!(!text.contains("ecr-token"), "{text}");
    }

    let first = scene.docker_says(&["inspect", "--format={{.Id}}", "landfall"]);
    let (well, told) = scene.boot(&workload);
    assert!(well, "{told}");
    assert_eq!(scene.answer().as_deref(), Some("hello"));
    let second = scene.docker_says(&["inspect", "--format={{.Id}}", "landfall"]);
    assert_ne!(first, second);
    assert_eq!(
        scene
            .docker_says(&["ps", "--all", "--quiet"])
            .lines()
            .count(),
        1
    );

    let process = scene.docker_says(&["inspect", "--format={{.State.Pid}}", "landfall"]);
    let killed = Command::new("kill").args(["-9", &process]).status();
    assert!(killed.unwrap().success());
    until("it answers after a crash", || {
        let now = scene.docker_says(&["inspect", "--format={{.State.Pid}}", "landfall"]);
        now != process && scene.answer().as_deref() == Some("hello")
    });
}

#[test]
fn needs_docker_what_keeps_an_instance_from_running_is_on_its_console() {
    let scene = Scene::new();
    let image = scene.publish("echo no database; exit 3");
    let (well, told) = scene.boot(&workload(image.clone()));
    assert!(!well, "{told}");
    for part in [
        "the container failed: it ended with code 3",
        "landfall: | no database",
    ] {
        assert!(told.contains(part), "{told}");
    }

    let mut secret = workload(image.clone());
    let reference = "ssm:/digipay/none".parse().unwrap();
    secret.secrets.insert("TOKEN".to_owned(), reference);
    let (well, told) = scene.boot(&secret);
    assert!(!well, "{told}");
    assert!(
        told.contains("reading the parameter /digipay/none failed"),
        "{told}"
    );

    let (name, _) = image.as_ref().split_once('@').unwrap();
    let missing = format!("{name}@sha256:{}", "00".repeat(32));
    let (well, told) = scene.boot(&workload(ImageId::from(missing)));
    assert!(!well, "{told}");
    assert!(
        told.contains("pulling") && told.contains("manifest unknown"),
        "{told}"
    );
}
