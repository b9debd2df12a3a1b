//! Figures of the fabric, printed and not judged: a busy machine would make them fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{internet, isolated_test, merge, two_zones};
use crate::fabric::Fabric;

isolated_test! {
    #[ignore = "measures, and proves nothing"]
    fn measure_two_zones() {
        let started = Instant::now();
        let mut fabric = Fabric::new().unwrap();
        println!("internet: {:?}", started.elapsed());
        let topology = two_zones("a", 0);
        let started = Instant::now();
        fabric.apply(&topology).unwrap();
        println!("two zones: {:?}", started.elapsed());
        let mut smaller = topology.clone();
        smaller.interfaces.remove(&"eni-a-web-1".into());
        let started = Instant::now();
        fabric.apply(&smaller).unwrap();
        println!("one interface less: {:?}", started.elapsed());
        let started = Instant::now();
        fabric.apply(&topology).unwrap();
        println!("one interface more: {:?}", started.elapsed());

        let web = fabric.namespace(&"eni-a-web-0".into()).unwrap();
        let lb = fabric.namespace(&"eni-a-lb-0".into()).unwrap();
        let listener = web.enter(|| TcpListener::bind("0.0.0.0:8000")).unwrap().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 17];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        // Short messages are echoed, long ones only counted.
                        if length <= 64 && stream.write_all(&buffer[..length]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        for (path, from) in [("through the fabric", lb), ("on loopback", web)] {
            println!("{path}:");
            from.enter(|| measure_connections("10.0.10.6:8000")).unwrap();
        }
        let started = Instant::now();
        fabric.apply(&internet()).unwrap();
        println!("removing everything: {:?}", started.elapsed());
    }
}

isolated_test! {
    #[ignore = "measures, and proves nothing"]
    fn measure_five_stacks() {
        let mut fabric = Fabric::new().unwrap();
        let mut topology = internet();
        for stack in 0..5_u8 {
            let name = format!("s{stack}");
            merge(&mut topology, two_zones(&name, 40 * stack));
            let started = Instant::now();
            fabric.apply(&topology).unwrap();
            println!("stack {stack}: {:?}", started.elapsed());
        }
        let started = Instant::now();
        fabric.apply(&internet()).unwrap();
        println!("removing everything: {:?}", started.elapsed());
    }
}

/// What comes of connecting, asking and sending for a second each.
fn measure_connections(target: &str) {
    let second = Duration::from_secs(1);
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < second {
        let mut stream = TcpStream::connect(target).unwrap();
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        count += 1;
    }
    println!("  connections one after another: {count}/s");
    let mut stream = TcpStream::connect(target).unwrap();
    stream.set_nodelay(true).unwrap();
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < second {
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        count += 1;
    }
    println!("  round trips on one connection: {count}/s");
    let buffer = vec![0; 1 << 17];
    let started = Instant::now();
    let mut bytes = 0;
    while started.elapsed() < second {
        stream.write_all(&buffer).unwrap();
        bytes += buffer.len();
    }
    println!("  one stream: {:.1} Gbit/s", bytes as f64 * 8e-9);
}
