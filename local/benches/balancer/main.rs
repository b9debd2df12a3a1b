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
    use std::time::Duration;

    use serde::Serialize;
    use tokio::signal::unix::{SignalKind, signal};

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

    /// Deploys, measures in alternating rounds, and gives the line to print. Interrupted, it leaves nothing
    /// either.
    pub(crate) fn run() -> Result<String, Box<dyn Error>> {
        let rounds = option("--rounds")?.unwrap_or(5);
        let duration = Duration::from_secs(option("--seconds")?.unwrap_or(5));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let bed = Bed::new()?;
        let measured = runtime.block_on(async {
            let mut terminated = signal(SignalKind::terminate())?;
            tokio::select! {
                measured = measure(&bed, rounds, duration) => measured,
                _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
                _ = terminated.recv() => Err("terminated".into()),
            }
        })?;
        Ok(serde_json::to_string(&measured)?)
    }

    async fn measure(bed: &Bed, rounds: u64, duration: Duration) -> Result<Rounds, Box<dyn Error>> {
        let proxies = bed.deploy().await?;
        let wrk = Wrk::on_the_internet(&bed.run_dir())?;
        for proxy in [proxies.landfall, proxies.nginx] {
            wrk.requests_per_second(proxy, WARM_UP).await?;
        }
        let mut measured = Rounds::default();
        for round in 0..rounds {
            let mut turns = [
                ("landfall", proxies.landfall, &mut measured.landfall),
                ("nginx", proxies.nginx, &mut measured.nginx),
            ];
            // Whoever comes second finds a warmer machine.
            if round % 2 == 1 {
                turns.reverse();
            }
            for (name, proxy, rates) in turns {
                let rate = wrk.requests_per_second(proxy, duration).await?;
                eprintln!("{name:<8} {rate:>8.0} requests/s");
                rates.push(rate);
            }
        }
        Ok(measured)
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
