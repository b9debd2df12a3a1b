//! A service under load while it is released and scaled, beside slow clients and a hostile
//! neighbour stack.
//!
//! A test run ends after every attack has run once; `cargo xtask soak --minutes 10` runs longer, by
//! [`MINUTES`].

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use landfall_testkit::load::Load;

use crate::support::{Project, get_within};

/// The environment variable with the duration in minutes.
const MINUTES: &str = "LANDFALL_SOAK_MINUTES";

/// Requests per second to the service.
const RATE: u32 = 150;

/// Connections that send one byte each second and never finish a request.
const SLOW_CLIENTS: usize = 50;

/// The resources that the neighbour's instances use without limit.
const ATTACKS: [&str; 5] = ["memory", "processes", "disk", "files", "output"];

/// How much the cloud may grow in MiB, however long it lasts: by what it learns once, and by the records of releases.
const MAX_GROWTH: u64 = 30;

fn file(greeting: &str) -> String {
    format!(
        "stack = \"soak\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\", interval = 5, timeout = 4 }}\n\
         env = {{ GREETING = \"{greeting}\" }}\n"
    )
}

const NEIGHBOUR: &str = "stack = \"hostile\"\n\n[service.web]\nport = 8000\n\
    memory = \"96 MiB\"\nprocesses = 100\ndisk = \"32 MiB\"\n\
    health = { path = \"/healthz\", interval = 5, timeout = 4 }\n";

fn port(url: &str) -> u16 {
    let authority = url.trim_end().trim_end_matches('/');
    authority.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Repeats an action on a thread until the end of the test.
struct Background {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn start(mut work: impl FnMut(usize) + Send + 'static) -> Self {
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                work(counted.fetch_add(1, Ordering::Relaxed));
            }
        });
        Self {
            stop,
            count,
            thread: Some(thread),
        }
    }

    /// The number of repetitions.
    fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.count.load(Ordering::Relaxed)
    }
}

/// One byte from each slow client. A connection that the balancer closed is reopened.
fn drip(port: u16, clients: &mut Vec<TcpStream>, closed: &AtomicUsize) {
    clients.retain_mut(|client| {
        let mut byte = [0];
        let is_open = match client.read(&mut byte) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        let is_open = is_open && client.write_all(b"x").is_ok();
        closed.fetch_add(usize::from(!is_open), Ordering::Relaxed);
        is_open
    });
    while clients.len() < SLOW_CLIENTS {
        let Ok(mut client) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            break;
        };
        client.set_nonblocking(true).unwrap();
        let _ = client.write_all(b"GET / HTTP/1.1\r\nX-Slow: ");
        clients.push(client);
    }
    std::thread::sleep(Duration::from_secs(1));
}

/// The resident memory of the cloud's processes, in MiB.
fn resident(project: &Project) -> u64 {
    let processes = project.processes();
    let kib = processes.iter().filter_map(|process| {
        let path = process.split(' ').next()?;
        let status = std::fs::read_to_string(format!("{path}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    kib.sum::<u64>() / 1024
}

/// Clients of the neighbour's balancer, whose instances answer them with interim responses without an end.
fn interim_floods(neighbour: &str, clients: usize, pause: Duration) -> Vec<Background> {
    let flood = |_| {
        let neighbour = neighbour.to_owned();
        Background::start(move |_| {
            // There may be no healthy instance at the moment.
            let _ = get_within(&neighbour, "/interim", Duration::from_secs(5));
            std::thread::sleep(pause);
        })
    };
    (0..clients).map(flood).collect()
}

#[test]
fn interim_floods_stop_nobody_else() {
    let project = Project::with_busy_service(&file("0"));
    project.write("hostile.toml", NEIGHBOUR);
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let neighbour = project
        .landfall(&["deploy", "--config", "hostile.toml"])
        .ended_with(0)
        .stdout;
    let floods = interim_floods(neighbour.trim_end(), 4, Duration::ZERO);
    let load = Load::start(url.trim_end(), "/slow/3", RATE).unwrap();
    while floods
        .iter()
        .any(|flood| flood.count.load(Ordering::Relaxed) < 3)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    project.landfall(&["status"]).ended_with(0);
    let counts = load.finish().unwrap();
    let floods: usize = floods.into_iter().map(Background::finish).sum();
    println!("{floods} interim floods\n{counts}");
    assert!(counts.failed() == 0, "{counts}");
    project
        .landfall(&["destroy", "--stack", "hostile", "--yes"])
        .ended_with(0);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn no_request_fails_beside_a_hostile_stack() {
    let length =
        std::env::var(MINUTES).map(|text| Duration::from_secs(60 * text.parse::<u64>().unwrap()));
    let project = Project::with_busy_service(&file("0"));
    project.write("hostile.toml", NEIGHBOUR);
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let url = url.trim_end().to_owned();
    let neighbour = project
        .landfall(&["deploy", "--config", "hostile.toml"])
        .ended_with(0)
        .stdout;

    let load = Load::start(&url, "/slow/3", RATE).unwrap();
    let began = Instant::now();
    let before = resident(&project);
    let closed = Arc::<AtomicUsize>::default();
    let slow = {
        let (port, closed, mut clients) = (port(&url), Arc::clone(&closed), Vec::new());
        Background::start(move |_| drip(port, &mut clients, &closed))
    };
    let attacks = {
        let neighbour = neighbour.trim_end().to_owned();
        Background::start(move |turn| {
            let path = format!("/attack/{}", ATTACKS[turn % ATTACKS.len()]);
            // No instance may be healthy at the moment.
            let _ = get_within(&neighbour, &path, Duration::from_secs(5));
            std::thread::sleep(Duration::from_secs(2));
        })
    };
    let floods = interim_floods(neighbour.trim_end(), 1, Duration::from_millis(500));
    let mut rounds = 0;
    loop {
        rounds += 1;
        project.write("landfall.toml", &file(&rounds.to_string()));
        project.landfall(&["deploy"]).ended_with(0);
        project.landfall(&["scale", "web=3"]).ended_with(0);
        project.landfall(&["scale", "web=2"]).ended_with(0);
        let is_over = match &length {
            Ok(length) => began.elapsed() >= *length,
            // Every attack has run once.
            Err(_) => attacks.count.load(Ordering::Relaxed) > ATTACKS.len(),
        };
        if is_over {
            break;
        }
    }
    let attacks = attacks.finish();
    let floods: usize = floods.into_iter().map(Background::finish).sum();
    let turns = slow.finish();
    let after = resident(&project);
    let counts = load.finish().unwrap();
    println!(
        "{rounds} releases, {} scalings, {attacks} attacks, {floods} interim floods, {turns} turns of {SLOW_CLIENTS} slow clients ({} closed by the balancer), \
         cloud {before} MiB before and {after} MiB after, in {:.0} s\n{counts}",
        2 * rounds,
        closed.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
    );
    assert!(
        counts.kept > 0 && counts.fresh > 0 && counts.failed() == 0,
        "{counts}"
    );
    // What is kept of an instance that nobody can ask about any more was 180 KiB and a file.
    assert!(
        after < before + MAX_GROWTH,
        "{before} MiB, then {after} MiB"
    );
    project
        .landfall(&["destroy", "--stack", "hostile", "--yes"])
        .ended_with(0);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
