//! The throughput of the local balancer, compared with nginx in its place.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::median;
use crate::repo;

/// The required programs, and their Debian packages.
const NEEDED: &[(&str, &str)] = &[("wrk", "wrk"), ("nginx", "nginx-light")];

/// The options of `cargo xtask bench balancer`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each is measured, in turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// For how many seconds at a time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Requests per second by round, as printed by the bench of `landfall-local`.
#[derive(Debug, Deserialize)]
struct Rounds {
    landfall: Vec<f64>,
    nginx: Vec<f64>,
}

/// The medians.
#[derive(Debug, PartialEq, Serialize)]
struct Figures {
    rounds: usize,
    /// The duration of each round in seconds.
    seconds: u32,
    /// Through one node of the balancer, requests per second.
    landfall_per_second: f64,
    /// Through nginx with one worker process, requests per second.
    nginx_per_second: f64,
    /// The ratio of the first to the second.
    ratio: f64,
}

/// Measures and prints.
///
/// # Errors
/// When a program is not installed, or a request was not answered.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    if let Some(remedy) = remedy(repo::installed) {
        return Err(remedy);
    }
    let numbers = [
        format!("--rounds={}", options.rounds),
        format!("--seconds={}", options.seconds),
    ];
    let mut bench = repo::cargo(["bench", "--quiet", "--package", "landfall-local"]);
    bench.args(["--bench", "balancer", "--"]).args(numbers);
    let printed = repo::output_of(&mut bench)?;
    let rounds: Rounds = serde_json::from_str(printed.trim())
        .map_err(|error| format!("the bench's line: {error}: {printed}"))?;
    let figures = figures(rounds, options.seconds);
    if options.json {
        let line = serde_json::to_string(&figures).map_err(|error| error.to_string())?;
        println!("{line}");
    } else {
        println!("{}", table(&figures));
    }
    Ok(())
}

/// The command to run first, if a program is missing.
fn remedy(installed: impl Fn(&str) -> bool) -> Option<String> {
    let (programs, packages): (Vec<&str>, Vec<&str>) = NEEDED
        .iter()
        .filter(|(program, _)| !installed(program))
        .copied()
        .unzip();
    (!programs.is_empty()).then(|| {
        format!(
            "no {}; install it: apt-get install {}",
            programs.join(" and no "),
            packages.join(" ")
        )
    })
}

fn figures(rounds: Rounds, seconds: u32) -> Figures {
    let number = rounds.landfall.len();
    let whole = |rate: f64| rate.round();
    let landfall = median(rounds.landfall);
    let nginx = median(rounds.nginx);
    Figures {
        rounds: number,
        seconds,
        landfall_per_second: whole(landfall),
        nginx_per_second: whole(nginx),
        ratio: (landfall / nginx * 1000.0).round() / 1000.0,
    }
}

fn table(figures: &Figures) -> String {
    format!(
        "requests per second, wrk -c 64 -t 2, medians of {} rounds of {} s\n\
         balancer, one node                         {:>9.0}\n\
         nginx as reverse proxy, one worker         {:>9.0}\n\
         ratio                                      {:>9.2}",
        figures.rounds,
        figures.seconds,
        figures.landfall_per_second,
        figures.nginx_per_second,
        figures.ratio,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert_eq!(remedy(|_| true), None);
        assert_eq!(
            remedy(|program| program == "wrk").unwrap(),
            "no nginx; install it: apt-get install nginx-light"
        );
        assert_eq!(
            remedy(|_| false).unwrap(),
            "no wrk and no nginx; install it: apt-get install wrk nginx-light"
        );
    }

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        let rounds = Rounds {
            landfall: vec![10.0, 90.0, 80.0],
            nginx: vec![100.0, 100.0, 1.0],
        };
        let figures = figures(rounds, 5);
        assert_eq!(figures.landfall_per_second, 80.0);
        assert_eq!(figures.nginx_per_second, 100.0);
        assert_eq!(figures.ratio, 0.8);
    }
}
