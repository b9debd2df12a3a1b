//! The balancer beside nginx, under `wrk`, in one cloud: `cargo xtask bench balancer` runs this and shows it.
//!
//! Both proxies stand in the same public subnet, with the same security group, and have the same two
//! instances behind them. Each is asked at a public address, by `wrk` on the internet; so every packet of
//! either takes the same way through internet gateway, network ACLs and security groups. Each has one worker:
//! the balancer's node is one thread, and nginx gets one worker process. The instances are nginx too, with an
//! answer from memory, so that they are not what is waited for.
//!
//! Standard output is one line of JSON: `{"landfall": […], "nginx": […]}`, requests per second by round.

#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::print_stdout,
        clippy::print_stderr,
        reason = "this program's result is what it prints"
    )
)]

#[cfg(target_os = "linux")]
mod bed;
#[cfg(target_os = "linux")]
mod nginx;
#[cfg(target_os = "linux")]
mod wrk;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // The cloud is this program, executed again: so it is built as this is, with optimisations.
    landfall_local::hook();
    // `cargo test --all-targets` executes benches too; only `cargo bench` says this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return std::process::ExitCode::SUCCESS;
    }
    match linux::run() {
        Ok(line) => {
            println!("{line}");
            std::process::ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench: {why}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use serde::Serialize;

    use crate::bed::Bed;
    use crate::wrk::Wrk;

    /// What is measured before it counts: connections are opened, and caches filled.
    const WARM_UP: Duration = Duration::from_secs(1);

    /// Requests per second, by round.
    #[derive(Default, Serialize)]
    struct Rounds {
        landfall: Vec<f64>,
        nginx: Vec<f64>,
    }

    /// Deploys, measures in alternating rounds, and gives the line to print.
    pub(crate) fn run() -> Result<String, Box<dyn Error>> {
        let rounds = option("--rounds")?.unwrap_or(5);
        let duration = Duration::from_secs(option("--seconds")?.unwrap_or(5));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let bed = Bed::new()?;
        let proxies = runtime.block_on(bed.deploy())?;
        let wrk = Wrk::on_the_internet(&bed.run_dir())?;
        let mut measured = Rounds::default();
        for proxy in [proxies.landfall, proxies.nginx] {
            wrk.requests_per_second(proxy, WARM_UP)?;
        }
        for round in 0..rounds {
            let landfall = |measured: &mut Rounds| -> Result<(), Box<dyn Error>> {
                measured
                    .landfall
                    .push(ask("landfall", &wrk, proxies.landfall, duration)?);
                Ok(())
            };
            let nginx = |measured: &mut Rounds| -> Result<(), Box<dyn Error>> {
                measured
                    .nginx
                    .push(ask("nginx", &wrk, proxies.nginx, duration)?);
                Ok(())
            };
            // Whoever comes second finds a warmer machine.
            if round % 2 == 0 {
                landfall(&mut measured)?;
                nginx(&mut measured)?;
            } else {
                nginx(&mut measured)?;
                landfall(&mut measured)?;
            }
        }
        Ok(serde_json::to_string(&measured)?)
    }

    fn ask(
        name: &str,
        wrk: &Wrk,
        proxy: Ipv4Addr,
        duration: Duration,
    ) -> Result<f64, Box<dyn Error>> {
        let rate = wrk.requests_per_second(proxy, duration)?;
        eprintln!("{name:<8} {rate:>8.0} requests/s");
        Ok(rate)
    }

    /// The number of an option: `--rounds=5`.
    fn option(name: &str) -> Result<Option<u64>, String> {
        let given = std::env::args().find_map(|argument| {
            let value = argument.strip_prefix(name)?.strip_prefix('=')?;
            Some(value.to_owned())
        });
        let Some(given) = given else { return Ok(None) };
        match given.parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(format!("{name}={given}: not a number from 1")),
        }
    }
}
