//! A container's output in a log group of CloudWatch Logs.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use landfall_testkit::engines::{Down, Program};
use landfall_testkit::moto::Moto;

use crate::metadata::INSTANCE;
use crate::scene::{Scene, WAIT_TIMEOUT, until, workload};

/// The engine's address of CloudWatch Logs: every port is free in its network.
const ENDPOINT: &str = "127.0.0.1:4586";

/// Forwards connections out of the engine's network, until the test's process ends.
fn forward(listener: TcpListener, to: SocketAddr) {
    let copy = |from: &TcpStream, to: &TcpStream| {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    std::thread::spawn(move || {
        for inside in listener.incoming().flatten() {
            let outside = TcpStream::connect(to).unwrap();
            copy(&inside, &outside);
            copy(&outside, &inside);
        }
    });
}

/// An instance whose Docker uses moto as CloudWatch Logs: the endpoint is a default of the daemon,
/// which is added to the options of a container with the same driver.
fn scene(moto: &Moto) -> Scene {
    let endpoint = format!("--log-opt=awslogs-endpoint=http://{ENDPOINT}");
    // A default without a group is refused; the container's own overrides it.
    let options = [
        "--log-driver=awslogs",
        "--log-opt=awslogs-group=none",
        &endpoint,
    ];
    let scene = Scene::with(Program::Docker, &options);
    connect(&scene, moto);
    scene
}

fn connect(scene: &Scene, moto: &Moto) {
    let listener = scene.engine.listen_inside(ENDPOINT.parse().unwrap());
    forward(listener.unwrap(), moto.address());
}

/// Every stream of every group with its content, as boto3 reports it.
async fn events(moto: &Moto) -> String {
    let program = "
import boto3
logs = boto3.client('logs', region_name='ap-south-1')
for group in logs.describe_log_groups()['logGroups']:
    named = {'logGroupName': group['logGroupName']}
    for stream in logs.describe_log_streams(**named)['logStreams']:
        name = stream['logStreamName']
        events = logs.get_log_events(**named, logStreamName=name, startFromHead=True)['events']
        print(group['logGroupName'], name, *(event['message'] for event in events))
";
    moto.python(program).await.unwrap()
}

/// Waits until the groups have exactly this content.
async fn shows(moto: &Moto, expected: &str) {
    let deadline = tokio::time::Instant::now() + WAIT_TIMEOUT;
    loop {
        let shown = events(moto).await;
        if shown == expected {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {shown}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Prints two lines when it starts.
const SERVICE: &str = "echo one; echo two; exec httpd -f -p $PORT -h /www";

#[tokio::test]
async fn needs_docker_and_moto_log_group_survives_a_reboot() {
    let moto = Moto::start().await.unwrap();
    let mut scene = scene(&moto);
    let mut workload = workload(scene.publish(SERVICE));
    workload.logs = Some("/digipay/web".parse().unwrap());
    scene.boots(&workload);
    let stream = format!("/digipay/web {INSTANCE}");
    shows(&moto, &format!("{stream} one two\n")).await;
    // With the instance's role, and on the instance itself as well.
    let role = "GET /latest/meta-data/iam/security-credentials/web".to_owned();
    assert!(scene.metadata.asked().contains(&role));
    assert_eq!(scene.engine_says(&["logs", "landfall"]), "one\ntwo");

    // Without a network it does not wait for CloudWatch Logs, which gets the lines later.
    scene.reboot(Down::PowerCut);
    until("it answers after a reboot", || {
        scene.answer().as_deref() == Some("hello")
    });
    scene.reconnect();
    connect(&scene, &moto);
    shows(&moto, &format!("{stream} one two one two\n")).await;
}

#[tokio::test]
async fn needs_docker_and_moto_failed_container_logs_to_the_console() {
    let moto = Moto::start().await.unwrap();
    let scene = scene(&moto);
    let mut workload = workload(scene.publish("echo no database; exit 3"));
    workload.logs = Some("/digipay/web".parse().unwrap());
    let (_, reported) = scene.fails(&workload);
    assert!(reported.contains("landfall: | no database"), "{reported}");
}
