//! A web service for tests: small, static, and with faults set by its environment.
//!
//! It is compiled by `landfall_testkit::service` with rustc alone, so it uses nothing but std.
//!
//! - `FAIL=exit`: prints a message on standard error and exits with 3 instead of serving.
//! - `HEALTH=503`: the status of `/healthz`; 200 if not set.
//! - `LISTEN=9000`: listens there instead of on `$PORT`.
//! - `/interim`: sends interim responses (103) as fast as the client reads them, and never a final one.
//! - `/whoami`: the instance's id and zone as JSON. `/peer`: the client's address.
//! - `/fetch/10.0.0.1:80`: requests `/` from that address and returns the answer, or 502 with the
//!   reason.
//! - `/exit`: answers, and exits with 4. `/slow/250`: answers after 250 milliseconds. `/busy/250`:
//!   uses 250 milliseconds of processor time before it answers.
//! - `/attack/memory`, `/attack/processes`, `/attack/disk`, `/attack/files`, `/attack/output`:
//!   answers, and uses as much of the resource as it gets.

use std::env::var;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

fn main() {
    println!("service starting, args {:?}", std::env::args().skip(1).collect::<Vec<_>>());
    if var("ATTACK").is_ok() {
        attack("processes");
    }
    if var("FAIL").is_ok_and(|how| how == "exit") {
        eprintln!("cannot find my database, giving up");
        std::process::exit(3);
    }
    let port = var("LISTEN").or_else(|_| var("PORT")).expect("PORT is set");
    let port: u16 = port.parse().expect("PORT is a number");
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
    println!("listening on port {port}");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || serve(stream));
    }
}

fn serve(mut stream: TcpStream) {
    let Ok(peer) = stream.peer_addr() else { return };
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
        }
        if path == "/interim" {
            while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {}
            return;
        }
        let (status, body) = answer(&path, peer);
        let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        if path == "/exit" {
            std::process::exit(4);
        }
    }
}

fn answer(path: &str, peer: SocketAddr) -> (u16, String) {
    let env = |name: &str| var(name).unwrap_or_default();
    match path.split_once('/').map_or(path, |(_, rest)| rest) {
        "healthz" => (var("HEALTH").ok().and_then(|text| text.parse().ok()).unwrap_or(200), "health".to_owned()),
        "whoami" => {
            let (instance, zone) = (env("LANDFALL_INSTANCE_ID"), env("LANDFALL_ZONE"));
            (200, format!(r#"{{"instance":"{instance}","zone":"{zone}","greeting":"{}"}}"#, env("GREETING")))
        }
        "peer" => (200, peer.ip().to_string()),
        rest => match rest.split_once('/') {
            Some(("fetch", address)) => fetch(address).map_or_else(|error| (502, error), |body| (200, body)),
            Some(("slow", millis)) => {
                std::thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
                (200, "slow".to_owned())
            }
            Some(("attack", what)) => {
                let what = what.to_owned();
                std::thread::spawn(move || attack(&what));
                (200, "attacking".to_owned())
            }
            Some(("busy", millis)) => {
                work(Duration::from_millis(millis.parse().unwrap_or(0)));
                (200, "busy".to_owned())
            }
            _ => (200, "hello".to_owned()),
        },
    }
}

/// Uses this much processor time, independent of other processes.
fn work(time: Duration) {
    let used = || {
        // In nanoseconds, of this thread.
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        schedstat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let (start, begun) = (used(), std::time::Instant::now());
    // Without these statistics, do not loop for ever.
    while used() < start + time.as_nanos() as u64 && begun.elapsed() < time * 50 {
        for n in 0..10_000_u64 {
            std::hint::black_box(n);
        }
    }
}

fn fetch(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|error| format!("{error}"))?;
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(said)?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(said)?;
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(said)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.trim().to_owned()))
}

/// Uses as much as it gets, for ever.
fn attack(what: &str) -> ! {
    let mut memory: Vec<Vec<u8>> = Vec::new();
    let mut disk = std::fs::File::create("/tmp/attack").ok();
    for number in 0_u64.. {
        match what {
            "memory" => memory.push(vec![1; 1 << 20]),
            "processes" => drop(std::process::Command::new("/service").env("ATTACK", what).spawn()),
            "disk" => drop(disk.as_mut().map(|file| file.write_all(&[1; 1 << 16]))),
            "files" => drop(std::fs::File::create(format!("/tmp/{number}"))),
            _ => println!("{number}"),
        }
    }
    unreachable!("the numbers last for ever")
}
