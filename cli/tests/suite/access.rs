//! Access to instances: their output, commands in them, and the system's ssh, scp and rsync through
//! the bastion.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Project, Ran, get};

/// A stack with a bastion that allows this machine, and with the project's own key.
fn with_bastion(name: &str, allow: &str) -> String {
    format!(
        "stack = \"{name}\"\n\n[network.bastion]\nallow = [\"{allow}\"]\nkey = \"key.pub\"\n\n\
         [service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n"
    )
}

/// This machine's address on the local provider's internet.
const ME: &str = "203.0.113.250/32";

/// The system's clients, with the project's key and configuration.
struct Clients<'a> {
    project: &'a Project,
    config: PathBuf,
}

impl<'a> Clients<'a> {
    fn new(project: &'a Project) -> Self {
        let config = project.directory().join("ssh_config");
        let clients = Self { project, config };
        clients.learn();
        clients
    }

    /// Writes the present output of `ssh-config`.
    fn learn(&self) {
        let printed = self.project.landfall(&["ssh-config", "-i", "key"]);
        std::fs::write(&self.config, printed.ended_with(0).stdout).unwrap();
    }

    /// Runs a client as the user of the program.
    fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = self.project.as_its_user(program);
        command.arg("-F").arg(&self.config).args(args);
        command.output().unwrap().into()
    }

    fn ssh(&self, args: &[&str]) -> Ran {
        self.run("ssh", args)
    }

    fn rsync(&self, args: &[&str]) -> Ran {
        let mut command = self.project.as_its_user("rsync");
        let shell = format!("ssh -F {}", self.config.display());
        command.args(["-a", "-e", &shell]).args(args);
        command.output().unwrap().into()
    }
}

/// A key pair beside the file.
fn make_key(project: &Project) {
    let made = project
        .as_its_user("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "key"])
        .output();
    Ran::from(made.unwrap()).ended_with(0);
}

/// Adds a program of this machine, with its libraries, to the image.
fn add_program(project: &Project, program: &str) {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    let found = PathBuf::from(String::from_utf8(found.unwrap().stdout).unwrap().trim());
    let needed = Command::new("ldd").arg(&found).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let libraries = needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    let root = project.directory().join("root");
    for file in libraries.chain([found]) {
        let copy = root.join(file.strip_prefix("/").unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(&file, copy).unwrap();
    }
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY root /\nCOPY service /service\nENTRYPOINT [\"/service\"]\n",
    );
    project.write(".dockerignore", "*\n!service\n!root\n");
}

fn piped(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Concurrent with reading: the output is as long as the input.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

fn noise(length: usize) -> Vec<u8> {
    // Not compressible, and every byte matters.
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

const SHOP: &str =
    "stack = \"NAME\"\n\n[service.web]\nport = 8000\nhealth = { path = \"/healthz\" }\n";

#[test]
fn needs_busybox_exec_returns_the_exit_code() {
    in_the_container(Project::with_service(&SHOP.replace("NAME", "exec-root")));
}

#[test]
fn needs_busybox_exec_as_an_ordinary_user() {
    let project = Project::with_service(&SHOP.replace("NAME", "exec-user"));
    in_the_container(project.by_an_ordinary_user());
}

fn in_the_container(project: Project) {
    add_busybox(&project);
    project.landfall(&["deploy"]).ended_with(0);
    let sh = |script: &str| project.landfall(&["exec", "web/2", "--", "/bin/sh", "-c", script]);

    let ran = sh("echo out; echo err >&2; exit 7").ended_with(7);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("out\n", "err\n")
    );
    // The service's own root, environment, user, network and processes.
    assert_eq!(sh("echo $PORT $LANDFALL_ZONE").stdout, "8000 local-1b\n");
    assert_eq!(
        sh("ls /").stdout,
        "bin\ndev\netc\nproc\nservice\nsys\ntmp\n"
    );
    assert_eq!(sh("/bin/busybox id -u").stdout, "0\n");
    assert_eq!(sh("cat /proc/1/comm").stdout, "service\n");
    let powers = sh("grep CapEff /proc/self/status").stdout;
    let service = sh(
        "for p in /proc/[0-9]*; do grep -q '^Name:.service' $p/status && grep CapEff $p/status; done",
    );
    assert_eq!(powers, service.stdout);
    let health = sh("wget -q -O - http://127.0.0.1:8000/healthz").ended_with(0);
    assert!(health.stdout.ends_with(" local-1b hello\n"), "{health:?}");

    let killed = sh("kill -TERM $$").ended_with(128 + 15);
    assert_eq!(killed.stdout, "");
    project
        .landfall(&["exec", "web", "--", "/bin/nothing"])
        .ended_with(127)
        .saying(&["web/1: exec \"/bin/nothing\": no such file in the image"]);

    let megabytes = noise(3 << 20);
    let echoed = piped(
        project.command(&["exec", "web", "--", "/bin/busybox", "cat"]),
        &megabytes,
    );
    assert!(echoed.status.success());
    assert!(echoed.stdout == megabytes, "every byte comes back");

    let json = project
        .landfall(&[
            "exec",
            "web",
            "--json",
            "--",
            "/bin/sh",
            "-c",
            "echo hi; exit 3",
        ])
        .ended_with(3)
        .json();
    assert_eq!(json["result"], "exec");
    assert_eq!(
        (&json["exit_code"], &json["stdout"]),
        (&3.into(), &"hi\n".into())
    );
    assert_eq!(json["instance"]["name"], "web/1");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

fn add_busybox(project: &Project) {
    let busybox = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output()
        .unwrap();
    let busybox = String::from_utf8(busybox.stdout).unwrap();
    std::fs::copy(busybox.trim(), project.directory().join("busybox")).unwrap();
    let links =
        ["sh", "ls", "cat", "grep", "wget"].map(|name| format!("COPY busybox /bin/{name}\n"));
    project.write(
        "Dockerfile",
        &format!(
            "FROM scratch\nCOPY service /service\nCOPY busybox /bin/busybox\n{}ENTRYPOINT [\"/service\"]\n",
            links.concat()
        ),
    );
    project.write(".dockerignore", "*\n!service\n!busybox\n");
}

#[test]
fn logs_are_those_of_every_instance_and_follow_what_comes() {
    let project = Project::with_service(&SHOP.replace("NAME", "shop-logs"));
    project.landfall(&["deploy"]).ended_with(0);
    let all = project.landfall(&["logs", "web"]).ended_with(0).stdout;
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "web/1 | starting in mode well",
            "web/2 | starting in mode well"
        ]
    );
    let one = project.landfall(&["logs", "web/2", "-t"]).ended_with(0);
    let (at, text) = one.stdout.split_once(' ').unwrap();
    assert!(at.ends_with('Z') && at.len() == 24, "{at}");
    assert_eq!(text, "starting in mode well\n");
    let json = project.landfall(&["logs", "web/1", "--json"]).ended_with(0);
    let json = json.json();
    assert_eq!(json["event"], "log");
    assert_eq!(
        (&json["name"], &json["stream"]),
        (&"web/1".into(), &"stdout".into())
    );

    // Earlier output is too old by then, and following ends with the instances.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !project
        .landfall(&["logs", "web", "--since", "1s"])
        .ended_with(0)
        .stdout
        .is_empty()
    {
        assert!(
            Instant::now() < deadline,
            "a line stays younger than a second"
        );
    }
    let mut followed = project.spawn(&["logs", "web", "-f"]);
    let mut lines = BufReader::new(followed.stdout.take().unwrap()).lines();
    let mut first: Vec<String> = lines.by_ref().take(2).map(Result::unwrap).collect();
    first.sort_unstable();
    assert_eq!(
        first,
        [
            "web/1 | starting in mode well",
            "web/2 | starting in mode well"
        ]
    );
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    assert_eq!(lines.count(), 0, "nothing more was written");
    Ran::from(followed.wait_with_output().unwrap()).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn needs_ssh_the_systems_clients_go_through_the_bastion() {
    through_the_bastion(Project::with_service(&with_bastion("ssh-root", ME)));
}

#[test]
fn needs_ssh_an_ordinary_user_goes_through_the_bastion_too() {
    let project = Project::with_service(&with_bastion("ssh-user", ME));
    through_the_bastion(project.by_an_ordinary_user());
}

fn through_the_bastion(project: Project) {
    make_key(&project);
    let stack = stack_of(&project);
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let clients = Clients::new(&project);
    let (one, bastion) = (format!("{stack}-web-1"), format!("{stack}-bastion"));

    // The image has no shell: files can be copied nevertheless, and its programs can be run.
    let up = noise(200_000);
    std::fs::write(project.directory().join("up"), &up).unwrap();
    let there = format!("{one}:/tmp/there");
    clients.run("scp", &["-q", "up", &there]).ended_with(0);
    clients.run("scp", &["-q", &there, "down"]).ended_with(0);
    let down = std::fs::read(project.directory().join("down")).unwrap();
    assert!(down == up, "the file comes back as it went");
    let missing = clients.run("scp", &["-q", &format!("{one}:/tmp/none"), "none"]);
    missing.ended_with(1).saying(&["No such file or directory"]);

    let ran = project.landfall(&["ssh", "web/1", "-i", "key", "--", "/bin/nothing"]);
    ran.ended_with(127).saying(&["no such file in the image"]);
    clients
        .ssh(&[&one])
        .ended_with(127)
        .saying(&["Without a shell"]);
    clients
        .ssh(&[&bastion])
        .ended_with(1)
        .saying(&["is for jumping on"]);

    // No other access works: by another name, with another key, or around the bastion.
    clients
        .ssh(&["-l", "root", &one])
        .ended_with(255)
        .saying(&["Permission denied (publickey)"]);
    let stranger = ["-q", "-t", "ed25519", "-N", "", "-f", "other"];
    let made = project.as_its_user("ssh-keygen").args(stranger).output();
    Ran::from(made.unwrap()).ended_with(0);
    // The bastion checks the key first.
    let other = project.landfall(&["ssh-config", "-i", "other"]).stdout;
    project.write("other_config", &other);
    let refused = project
        .as_its_user("ssh")
        .args(["-F", "other_config", &one])
        .output()
        .unwrap();
    Ran::from(refused)
        .ended_with(255)
        .saying(&["Permission denied (publickey)"]);
    let past = clients.ssh(&["-o", "ProxyJump=none", "-o", "ConnectTimeout=2", &one]);
    past.ended_with(255);

    // A host with another key than the provider reported is not trusted.
    let known = project
        .config_dir()
        .join(format!("ssh/local-{stack}/known_hosts"));
    let honest = std::fs::read_to_string(&known).unwrap();
    let mut keys: Vec<&str> = honest.lines().collect();
    let (first, rest) = keys.split_first_mut().unwrap();
    let names = [
        first.split(' ').next().unwrap(),
        rest[0].split(' ').next().unwrap(),
    ];
    let swapped = format!(
        "{} {}\n{} {}\n",
        names[0],
        rest[0].split_once(' ').unwrap().1,
        names[1],
        first.split_once(' ').unwrap().1
    );
    std::fs::write(&known, swapped).unwrap();
    clients
        .ssh(&[&one])
        .ended_with(255)
        .saying(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]);
    std::fs::write(&known, honest).unwrap();

    // A forwarded port reaches the instance's destinations.
    let mut forward = project.as_its_user("ssh");
    forward.arg("-F").arg(&clients.config);
    forward.args(["-W", "127.0.0.1:8000", &one]);
    let answer = Ran::from(piped(forward, b"GET / HTTP/1.1\r\n\r\n")).ended_with(0);
    assert!(answer.stdout.starts_with("HTTP/1.1 200 OK"), "{answer:?}");

    // The bastion does not answer a denied address; open connections stay open.
    project.write("landfall.toml", &with_bastion(&stack, "203.0.113.77/32"));
    project
        .landfall(&["deploy"])
        .ended_with(0)
        .saying(&["203.0.113.250/32 may connect to the bastion no longer"]);
    clients
        .ssh(&[&one])
        .ended_with(255)
        .saying(&["does not answer 203.0.113.250"]);
    // This machine is allowed as long as the flag is used.
    project.landfall(&["deploy", "--my-address"]).ended_with(0);
    clients.run("scp", &["-q", &there, "again"]).ended_with(0);
    assert_eq!(get(url.trim_end(), "/").unwrap().0, 200);

    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

fn stack_of(project: &Project) -> String {
    let file = std::fs::read_to_string(project.directory().join("landfall.toml")).unwrap();
    let name = file.lines().next().unwrap().strip_prefix("stack = \"");
    name.unwrap().trim_end_matches('"').to_owned()
}

#[test]
fn needs_rsync_tree_survives_a_round_trip() {
    let project = Project::with_service(&with_bastion("shop-rsync", ME));
    make_key(&project);
    add_program(&project, "rsync");
    project.landfall(&["deploy"]).ended_with(0);
    let clients = Clients::new(&project);
    let tree = project.directory().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("a/b/noise"), noise(300_000)).unwrap();
    std::fs::write(tree.join("text"), "here\n").unwrap();
    std::os::unix::fs::symlink("a/b/noise", tree.join("link")).unwrap();
    clients
        .rsync(&["tree", "shop-rsync-web-2:/tmp/"])
        .ended_with(0);
    clients
        .rsync(&["shop-rsync-web-2:/tmp/tree/", "back"])
        .ended_with(0);
    assert_eq!(
        listed(&tree),
        listed(&project.directory().join("back")),
        "the tree comes back as it went"
    );
    // The second time, only differences are transferred. Whole seconds are compared, and a fast
    // machine is here within the same second.
    std::fs::write(tree.join("text"), "changed\n").unwrap();
    let text = std::fs::File::options().write(true).open(tree.join("text"));
    let earlier = SystemTime::now() - Duration::from_secs(3600);
    text.unwrap().set_modified(earlier).unwrap();
    let again = clients.rsync(&["--itemize-changes", "tree", "shop-rsync-web-2:/tmp/"]);
    assert_eq!(again.ended_with(0).stdout, "<f.st...... tree/text\n");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

/// Every entry below a directory, with its content.
fn listed(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                found.push((name, target.into_os_string().into_encoded_bytes()));
            } else if path.is_dir() {
                left.push(path);
            } else {
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn needs_ssh_a_key_is_made_for_whoever_has_none_and_found_again() {
    let toml = with_bastion("shop-keys", ME).replace("key = \"key.pub\"\n", "");
    let project = Project::with_service(&toml);
    project
        .landfall(&["deploy"])
        .ended_with(0)
        .saying(&["no key found; created one in"]);
    let made = project.config_dir().join("ssh/id_ed25519");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&made).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    project
        .landfall(&["ssh", "web", "--", "/bin/nothing"])
        .ended_with(127);
    // A user with another key gets a message before ssh is run.
    std::fs::remove_file(made).unwrap();
    project
        .landfall(&["ssh", "web"])
        .ended_with(2)
        .saying(&["is neither in the agent nor in ~/.ssh", "ssh-add FILE"]);
    // It does not remove another user's key.
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
}

#[test]
fn what_cannot_be_got_at_is_answered_with_what_can() {
    let project = Project::with_service(&SHOP.replace("NAME", "shop-wrong"));
    for command in [
        &["exec", "web", "--", "id"][..],
        &["logs", "web"],
        &["ssh", "web"],
        &["ssh-config"],
    ] {
        project
            .landfall(command)
            .ended_with(1)
            .saying(&["there is no stack shop-wrong"]);
    }
    project.landfall(&["deploy"]).ended_with(0);
    for (command, said) in [
        (
            &["exec", "wep", "--", "id"][..],
            &["no service `wep`", "did you mean `web`?"][..],
        ),
        (
            &["logs", "web/3"],
            &["no instance web/3", "there are web/1 to web/2"],
        ),
        (
            &["ssh", "web"],
            &["shop-wrong has no bastion", "[network.bastion]", ME],
        ),
        (&["ssh-config"], &["shop-wrong has no bastion"]),
        (&["exec", "web"], &["COMMAND"]),
        (
            &["deploy", "--my-address"],
            &["--my-address needs a bastion, and the stack has none"],
        ),
        (&["deploy", "--my-address=0.0.0.0/0"], &["whole internet"]),
        (&["logs", "web", "--since", "soon"], &["--since"]),
    ] {
        project.landfall(command).ended_with(2).saying(said);
    }
    // Missing programs on the system.
    project.write("landfall.toml", &with_bastion("shop-wrong", ME));
    make_key(&project);
    project.landfall(&["deploy"]).ended_with(0);
    let without = project
        .command(&["ssh", "web", "-i", "key"])
        .env("PATH", "/nonexistent")
        .output();
    Ran::from(without.unwrap())
        .ended_with(2)
        .saying(&["there is no program `ssh`", "openssh-client"]);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
