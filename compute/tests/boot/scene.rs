//! An instance: an engine, a registry, its programs, and its requests.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use landfall_compute::boot::{self, Booted, booted};
use landfall_compute::{Limits, Workload};
use landfall_provider::{ImageId, Input, Port};
use landfall_testkit::engines::{Down, PrivateEngine, Program};
use landfall_testkit::registry::{self, Registry};

use crate::metadata::Metadata;

/// The registry's only user, as in ECR; the hash is of `ecr-token`, in bcrypt.
const HTPASSWD: &str = "AWS:$2y$05$1yrVauaE2j6G17HOG2l4Zu7LM6wuXMjSbtbX4TyESJl5HZsIQ8jXO\n";

/// The first two calls find no route, as while the NAT gateway is pending, and all fail without a
/// network.
const AWS: &str = r#"#!/bin/bash
PATH=/usr/bin:/bin
echo "$*" >>"$SCENE/asked"
if [ -e "$SCENE/no-network" ] || (($(wc -l <"$SCENE/asked") < 3)); then
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

/// The programs of an instance, besides an engine and `aws`.
const PROGRAMS: &[&str] = &["curl", "mktemp", "python3", "rm", "sed", "sleep", "tr"];

/// A service that returns a greeting on its port.
pub(crate) const SERVICE: &str = "exec httpd -f -p $PORT -h /www";

/// The time limit of each wait; the machine may be busy.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    pub(crate) engine: PrivateEngine,
    pub(crate) metadata: Metadata,
    program: Program,
    /// Gone after a reboot.
    registry: Option<Registry>,
    directory: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(Program::Docker, &[])
    }

    /// An instance with this engine, and with options of its daemon.
    pub(crate) fn with(program: Program, options: &[&str]) -> Self {
        let engine = program
            .start_with(options)
            .unwrap_or_else(|reason| panic!("{reason}"));
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(&engine, directory.path(), HTPASSWD).unwrap();
        let scene = Self {
            metadata: Metadata::start(&engine),
            engine,
            program,
            registry: Some(registry),
            directory,
        };
        std::fs::create_dir(scene.path("bin")).unwrap();
        for program in PROGRAMS {
            symlink(found(program), scene.path("bin").join(program)).unwrap();
        }
        scene.install("aws", AWS);
        scene.install_engine();
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Installs a script as a program of the instance.
    pub(crate) fn install(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    fn install_engine(&self) {
        match self.program {
            Program::Docker => symlink(found("docker"), self.path("bin/docker")).unwrap(),
            Program::Podman => {
                // It would use a registry without TLS only with this option.
                let insecure = format!(
                    "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
                    registry::ADDRESS
                );
                std::fs::write(self.path("registries.conf"), insecure).unwrap();
                let podman = self.engine.podman();
                let mut script =
                    "#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\n".to_owned();
                let registries = self.path("registries.conf");
                script += &format!(
                    "export CONTAINERS_REGISTRIES_CONF='{}'\n",
                    registries.display()
                );
                for (name, value) in podman.get_envs() {
                    let value = value.unwrap().to_str().unwrap();
                    script += &format!("export {}='{value}'\n", name.to_str().unwrap());
                }
                script += "exec nsenter";
                for arg in podman.get_args() {
                    script += &format!(" '{}'", arg.to_str().unwrap());
                }
                self.install("podman", &format!("{script} \"$@\"\n"));
            }
        }
    }

    /// Runs the engine's command line, like a user on the instance.
    pub(crate) fn engine(&self, args: &[&str]) -> Output {
        let client = match self.program {
            Program::Docker => found("docker"),
            Program::Podman => self.path("bin/podman"),
        };
        let mut command = Command::new(client);
        command
            .args(args)
            .env("DOCKER_HOST", self.engine.docker_host())
            .env("DOCKER_CONFIG", self.path("config"))
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"));
        command.output().unwrap()
    }

    /// The output of an engine command that must succeed.
    pub(crate) fn engine_says(&self, args: &[&str]) -> String {
        let output = self.engine(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Publishes an image that runs this shell command in the registry, removes it from the engine,
    /// and returns its id.
    pub(crate) fn publish(&self, command: &str) -> ImageId {
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
        let archive = archive.to_str().unwrap();
        self.engine_says(&["import", "--change", &change, archive, &name]);
        // It listens a moment after its start.
        let login = [
            "login",
            "--username=AWS",
            "--password=ecr-token",
            registry::ADDRESS,
        ];
        until("the registry answers", || {
            self.engine(&login).status.success()
        });
        self.engine_says(&["push", "--quiet", &name]);
        self.engine_says(&["rmi", "--force", &name]);
        let digest = self.digest();
        ImageId::from(format!("{name}@{digest}"))
    }

    /// The registry's digest of the last pushed image.
    fn digest(&self) -> String {
        let mut curl = self.engine.command_inside("curl");
        let asked = curl
            .args(["--silent", "--fail", "--head", "--user", "AWS:ecr-token"])
            .args([
                "--header",
                "Accept: application/vnd.docker.distribution.manifest.v2+json",
                "--header",
                "Accept: application/vnd.oci.image.manifest.v1+json",
            ])
            .arg(format!(
                "http://{}/v2/digipay/web/manifests/latest",
                registry::ADDRESS
            ));
        let head = String::from_utf8(asked.output().unwrap().stdout).unwrap();
        let digest = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("docker-content-digest")
                .then(|| value.trim())
        });
        digest.unwrap_or_else(|| panic!("{head}")).to_owned()
    }

    /// Boots an instance with this workload; returns the result and the console output.
    fn boot(&self, workload: &Workload) -> (bool, String) {
        let script = self.path("user-data");
        std::fs::write(&script, boot::user_data("ap-south-1", workload).unwrap()).unwrap();
        let output = self
            .engine
            .command_inside("env")
            .arg("--ignore-environment")
            .arg(format!("PATH={}", self.path("bin").display()))
            .arg(format!("SCENE={}", self.directory.path().display()))
            .arg(format!("DOCKER_HOST={}", self.engine.docker_host()))
            .arg("/bin/bash")
            .arg(script)
            .output()
            .unwrap();
        let reported = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8(reported).unwrap(),
        )
    }

    /// Boots an instance that must start.
    pub(crate) fn boots(&self, workload: &Workload) -> String {
        let (well, reported) = self.boot(workload);
        assert!(well, "{reported}");
        assert_eq!(booted(&lines(&reported)), Booted::Runs, "{reported}");
        assert_eq!(self.answer().as_deref(), Some("hello"));
        reported
    }

    /// Boots an instance that must fail; returns the parsed reason, and the whole console.
    pub(crate) fn fails(&self, workload: &Workload) -> (String, String) {
        let (well, reported) = self.boot(workload);
        assert!(!well, "{reported}");
        match booted(&lines(&reported)) {
            Booted::Failed(why) => (why, reported),
            other => panic!("{other:?}: {reported}"),
        }
    }

    /// The instance reboots. Its network is lost: neither the registry nor AWS is reachable.
    pub(crate) fn reboot(&mut self, down: Down) {
        std::fs::write(self.path("no-network"), "").unwrap();
        self.registry = None;
        self.engine
            .reboot(down)
            .unwrap_or_else(|reason| panic!("{reason}"));
        self.engine.bring_up_loopback().unwrap();
        if self.program == Program::Podman {
            // It contains the engine's namespaces.
            self.install_engine();
            // Podman's podman-restart.service does this.
            self.engine_says(&["start", "--all", "--filter", "restart-policy=always"]);
        }
    }

    /// AWS is reachable again, except the registry.
    pub(crate) fn reconnect(&mut self) {
        std::fs::remove_file(self.path("no-network")).unwrap();
        self.metadata = Metadata::start(&self.engine);
    }

    /// The calls of the `aws` command so far.
    pub(crate) fn asked(&self) -> String {
        std::fs::read_to_string(self.path("asked")).unwrap_or_default()
    }

    /// The instance's answer on its port.
    pub(crate) fn answer(&self) -> Option<String> {
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

    /// The process of the container.
    pub(crate) fn process(&self) -> u32 {
        let process = self.engine_says(&["inspect", "--format={{.State.Pid}}", "landfall"]);
        process.parse().unwrap()
    }

    /// Checks that the container has these environment variables.
    pub(crate) fn has_environment(&self, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            let print = format!("echo \"${name}\"");
            let args = ["exec", "landfall", "/bin/busybox", "sh", "-c", &print];
            assert_eq!(self.engine_says(&args), *value, "{name}");
        }
    }
}

fn lines(reported: &str) -> Vec<String> {
    reported.lines().map(str::to_owned).collect()
}

/// The program's own file. An installed program precedes a version manager's shim.
fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    ["/usr/bin", "/bin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn workload(image: ImageId) -> Workload {
    Workload {
        image: Input::Known(image),
        port: Port::new(8000).unwrap(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        logs: None,
        limits: Limits::default(),
        init: false,
    }
}

/// A text with many special characters of the shell.
const MOTTO: &str = "it's \"$HOME\"\n`and` more \\";

/// The values of the secrets of [`furnished`].
pub(crate) const SECRETS: [&str; 3] = [
    "postgres://app:p'a$s#s @db/app",
    "BEGIN\n$HOME\nEND",
    "hunter2",
];

/// A workload with an environment and secrets, and the expected environment of its container.
pub(crate) fn furnished(image: ImageId) -> (Workload, [(&'static str, &'static str); 7]) {
    let mut workload = workload(image);
    workload.env.insert("MOTTO".to_owned(), MOTTO.to_owned());
    for (name, reference) in [
        ("DATABASE_URL", "ssm:/digipay/url"),
        ("PRIVATE_KEY", "ssm:/digipay/key"),
        ("API_KEY", "secretsmanager:digipay/api#key"),
    ] {
        let reference = reference.parse().unwrap();
        workload.secrets.insert(name.to_owned(), reference);
    }
    let environment = [
        ("PORT", "8000"),
        ("LANDFALL_INSTANCE_ID", crate::metadata::INSTANCE),
        ("LANDFALL_ZONE", "ap-south-1b"),
        ("MOTTO", MOTTO),
        ("DATABASE_URL", SECRETS[0]),
        ("PRIVATE_KEY", SECRETS[1]),
        ("API_KEY", SECRETS[2]),
    ];
    (workload, environment)
}
