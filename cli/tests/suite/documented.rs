//! The command blocks of README.md and docs/*.md, run as they are printed, in one local cloud; and their output compared
//! with what is printed below them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Project, Ran};

/// Commands that are not run here, by how they start, and why.
const NOT_RUN: [(&str, &str); 9] = [
    ("AWS_PROFILE=sandbox ", "AWS"),
    ("landfall deploy --provider aws", "AWS"),
    ("aws ", "AWS"),
    (
        "landfall plan",
        "its network has been changed in several ways",
    ),
    (
        "landfall exec web/2 -- env",
        "the image has no such program; tests in `access`",
    ),
    (
        "landfall ssh",
        "needs a bastion and keys; tests in `access`",
    ),
    ("scp ", "as above"),
    ("rsync ", "as above"),
    (
        "landfall explain --live bastion",
        "needs a bastion; tests in `explain`",
    ),
];

/// A block of commands: its page, its first command, and the preparation of the project.
type Chapter = (&'static str, &'static str, fn(&Project));

/// The blocks, in the order in which they run.
const STORY: [Chapter; 9] = [
    ("README.md", "cargo xtask deploy", |it| file(it, "")),
    ("README.md", "cargo xtask status", |_| {}),
    ("README.md", "landfall deploy --json", |_| {}),
    ("docs/plan.md", "landfall plan --out", |it| {
        file(it, "GREETING = 'two'")
    }),
    ("docs/access.md", "landfall logs", |_| {}),
    ("docs/releases.md", "landfall deploy", |it| {
        afresh(it);
        file(it, "LISTEN = '9000'");
    }),
    ("docs/releases.md", "landfall releases", |it| {
        afresh(it);
        file(it, "FAIL = 'exit'");
        it.landfall(&["deploy"]).ended_with(1);
        file(it, "GREETING = 'three'");
        it.landfall(&["deploy"]).ended_with(0);
    }),
    ("docs/releases.md", "landfall rollback", |it| {
        file(it, "GREETING = 'four'");
        it.landfall(&["deploy"]).ended_with(0);
    }),
    ("docs/single.md", "landfall deploy", |it| {
        it.landfall(&["destroy", "--yes"]).ended_with(0);
        it.write(
            "landfall.toml",
            "stack = \"digipay\"\nmode = \"single\"\n\n[service.web]\nport = 8000\n",
        );
    }),
];

/// Blocks that need no stack, and the file that they are about.
const ABOUT_FILES: [(&str, &str, &str); 3] = [
    ("docs/aws.md", "landfall iam-policy", "landfall.toml"),
    (
        "docs/reachability.md",
        "landfall explain internet lb:80   ",
        "landfall.toml",
    ),
    (
        "docs/reachability.md",
        "landfall explain internet lb:80",
        "examples/mistakes/3-closed-balancer/landfall.toml",
    ),
];

fn file(project: &Project, env: &str) {
    let text = format!(
        "stack = \"digipay\"\n\n[service.web]\nport = 8000\nderegistration-delay = 1\nenv = {{ {env} }}\n\
         health = {{ interval = 5, timeout = 2, unhealthy-threshold = 2, deadline = 15 }}\n"
    );
    project.write("landfall.toml", &text);
}

/// The stack with its first release.
fn afresh(project: &Project) {
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    file(project, "");
    project.landfall(&["deploy"]).ended_with(0);
}

/// Commands that stand together, each with the output that is printed below it.
struct Block {
    page: String,
    line: usize,
    commands: Vec<(String, Vec<String>)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The blocks of all pages, page by page.
fn blocks() -> Vec<Block> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = docs
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    pages.push("README.md".to_owned());
    pages.sort();
    let mut blocks: Vec<Block> = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        let mut is_open = false;
        for (line, number) in text.lines().zip(1..) {
            if let Some(kind) = line.trim_start().strip_prefix("```") {
                is_open = !is_open && kind == "console";
                if is_open {
                    let (page, commands) = (page.clone(), Vec::new());
                    blocks.push(Block {
                        page,
                        line: number,
                        commands,
                    });
                }
            } else if is_open && let Some(block) = blocks.last_mut() {
                match (line.strip_prefix("$ "), block.commands.last_mut()) {
                    (Some(command), _) => block.commands.push((command.to_owned(), Vec::new())),
                    (None, Some((_, output))) => output.push(line.to_owned()),
                    (None, None) => panic!("{page}:{number}: output of no command"),
                }
            }
        }
    }
    blocks
}

/// A line without what differs from run to run: ids, digests, times, durations, ports, people.
fn stable(line: &str) -> String {
    let is_hex = |text: &str| text.len() == 12 && text.bytes().all(|it| it.is_ascii_hexdigit());
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_end_matches(',');
        let word = match bare {
            "s" | "ms" | "min" if words.last().is_some_and(|it| it.parse::<f64>().is_ok()) => {
                words.pop();
                "TIME".to_owned()
            }
            // Two may end at the same time.
            "instances" if line.contains(" in a row ") => {
                words.pop();
                "INSTANCES".to_owned()
            }
            _ if bare.starts_with("i-0") => "ID".to_owned(),
            _ if bare.starts_with("sha256:") => "DIGEST".to_owned(),
            "-" => "COMMIT".to_owned(),
            _ if is_hex(bare.trim_end_matches("-dirty")) => "COMMIT".to_owned(),
            // A user who has no name is shown as the machine.
            _ if words.last().is_some_and(|it| it == "WHEN") => "WHO".to_owned(),
            _ if bare.len() == 20 && bare.ends_with('Z') => "WHEN".to_owned(),
            _ if bare.starts_with("10.") => "ADDRESS".to_owned(),
            _ => match bare
                .split_once("localhost:")
                .or(bare.split_once("127.0.0.1:"))
            {
                Some((before, _)) if before.starts_with("http") => format!("{before}HOST"),
                _ => word.to_owned(),
            },
        };
        words.push(word);
    }
    words.join(" ")
}

/// A shell in which `landfall` and `cargo xtask` are this program.
struct Shell {
    project: Project,
    bin: PathBuf,
}

impl Shell {
    fn new(project: Project) -> Self {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let bin = project.directory().join("../bin");
        std::fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_landfall"), bin.join("landfall")).unwrap();
        let cargo = bin.join("cargo");
        std::fs::write(&cargo, "#!/bin/sh\nshift\nexec landfall \"$@\"\n").unwrap();
        std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
        Self { project, bin }
    }

    fn run(&self, line: &str) -> Ran {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).stdin(Stdio::null());
        shell.current_dir(self.project.directory());
        let like = self.project.command(&[]);
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("PATH", path).output().unwrap().into()
    }

    /// Runs a block's commands, and compares what they write with what is printed: the printed lines have to come in
    /// their order, and others may come between them.
    fn check(&self, block: &Block, wrong: &mut Vec<String>) {
        for (command, printed) in &block.commands {
            if NOT_RUN.iter().any(|(start, _)| is(command, start)) {
                continue;
            }
            // What reads the output is another program, and a log that is followed has no end.
            let own = command.split(" | ").next().unwrap().trim_end_matches(" -f");
            let ran = self.run(own);
            let fails = printed
                .iter()
                .any(|line| line.starts_with("error: ") || line.ends_with("  not reachable"));
            let at = format!("{}:{}: {command}", block.page, block.line);
            if ran.code != Some(fails.into()) {
                wrong.push(format!("{at}: {ran:#?}"));
                continue;
            }
            let written = format!("{}\n{}", ran.stderr, ran.stdout);
            let mut written = written.lines().map(stable);
            for line in printed {
                let expected = stable(line);
                // The example says more of itself than the service here.
                let found = written.any(|it| match expected.starts_with('{') {
                    true => it.starts_with('{'),
                    false => it == expected,
                });
                if !found {
                    wrong.push(format!("{at}: no line `{expected}` in its place: {ran:#?}"));
                    break;
                }
            }
        }
    }
}

fn is(command: &str, start: &str) -> bool {
    match command.strip_prefix(start) {
        // `landfall plan` alone is another command than one with options.
        Some(rest) => {
            rest.is_empty() || start.ends_with(' ') || start.contains("ssh") || start.contains(" -")
        }
        None => false,
    }
}

#[test]
fn printed_commands_do_what_is_printed() {
    let project = Project::with_busy_service("");
    let shell = Shell::new(project);
    let mut blocks = blocks();
    let mut take = |page: &str, start: &str| {
        let at = blocks
            .iter()
            .position(|it| it.page == page && it.commands[0].0.starts_with(start));
        blocks.remove(at.unwrap_or_else(|| panic!("{page} has no block `{start}`")))
    };
    let mut wrong = Vec::new();
    for (page, start, prepare) in STORY {
        let block = take(page, start);
        prepare(&shell.project);
        shell.check(&block, &mut wrong);
    }
    for (page, start, file) in ABOUT_FILES {
        let block = take(page, start);
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        // The stack is still there, and is destroyed under its own name.
        shell.project.write("landfall.toml", &text);
        shell.check(&block, &mut wrong);
    }
    for block in &blocks {
        for (command, _) in &block.commands {
            if !NOT_RUN.iter().any(|(start, _)| is(command, start)) {
                wrong.push(format!(
                    "{}:{}: nobody runs {command}",
                    block.page, block.line
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let destroy = ["destroy", "--stack", "digipay", "--yes"];
    shell.project.landfall(&destroy).ended_with(0);
    shell.project.nothing_is_left();
}
