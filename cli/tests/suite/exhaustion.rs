//! A cloud with too few file descriptors, or with clients that open connections and send nothing.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Ran;
use crate::support::{Project, get};

fn file(stack: &str) -> String {
    format!(
        "stack = \"{stack}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n"
    )
}

/// Deploys in a session with this limit of open files.
fn deploy_with_files(project: &Project, files: u32) -> Ran {
    let inner = project.command(&["deploy"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap().into()
}

#[test]
fn few_files_are_refused_before_anything_is_made() {
    let project = Project::with_service(&file("files-few"));
    let ran = deploy_with_files(&project, 64).ended_with(1).saying(&[
        "64 files",
        "needs 256",
        "ulimit",
        "nothing was changed",
    ]);
    assert!(!ran.stderr.contains("created"), "{ran:#?}");
    project.nothing_is_left();
}

#[test]
fn silent_clients_lock_nobody_out() {
    let project = Project::with_service(&file("files-silent"));
    let ran = deploy_with_files(&project, 512).ended_with(0);
    let url = ran.stdout.lines().last().unwrap();
    let socket = project.runtime_dir().join("cloud.sock");
    // More than the cloud's limit of open files.
    let silent: Vec<UnixStream> = (0..800)
        .map_while(|_| UnixStream::connect(&socket).ok())
        .collect();
    assert!(silent.len() > 600, "{}", silent.len());
    let began = Instant::now();
    project.landfall(&["status"]).ended_with(0);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(get(url, "/").unwrap().0, 200);
    drop(silent);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn idle_connections_to_the_port_leave_the_cloud_its_files() {
    let project = Project::with_service(&file("files-idle"));
    let ran = deploy_with_files(&project, 512).ended_with(0);
    let url = ran.stdout.lines().last().unwrap();
    let port = url.trim_end_matches('/').rsplit_once(':').unwrap().1;
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let wait = Duration::from_millis(500);
    let idle: Vec<std::net::TcpStream> = (0..600)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, wait).ok())
        .collect();
    assert!(idle.len() > 60, "{}", idle.len());
    let began = Instant::now();
    project.landfall(&["status"]).ended_with(0);
    project.landfall(&["logs", "web"]).ended_with(0);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(idle);
    assert_eq!(get(url, "/").unwrap().0, 200);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
