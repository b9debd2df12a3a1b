//! Instructions that change only an image's configuration, and no files.

use super::fault::Fault;
use super::form::Command;
use super::parser::Flag;
use crate::config::Healthcheck;

/// The default shell of shell-form instructions, without `SHELL`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A `CMD` or `ENTRYPOINT` as the list in the configuration.
pub(super) fn command(command: &Command, shell: Option<&Vec<String>>) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => {
            let mut list = shell
                .cloned()
                .unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
            list.push(text.clone());
            list
        }
    }
}

/// A `HEALTHCHECK`.
pub(super) fn healthcheck(flags: &[Flag], command: Option<&Command>) -> Result<Healthcheck, Fault> {
    let Some(command) = command else {
        return Ok(Healthcheck {
            test: vec!["NONE".to_owned()],
            ..Healthcheck::default()
        });
    };
    let mut healthcheck = Healthcheck {
        test: match command {
            Command::Exec(words) => std::iter::once("CMD".to_owned())
                .chain(words.iter().cloned())
                .collect(),
            Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
        },
        ..Healthcheck::default()
    };
    for flag in flags {
        let value = flag.value.as_deref().unwrap_or_default();
        // An empty value counts as not given.
        if value.is_empty() {
            continue;
        }
        match flag.name.as_str() {
            "interval" => healthcheck.interval = duration(value)?,
            "timeout" => healthcheck.timeout = duration(value)?,
            "start-period" => healthcheck.start_period = duration(value)?,
            "start-interval" => healthcheck.start_interval = duration(value)?,
            _ => {
                healthcheck.retries = value
                    .parse::<u32>()
                    .map_err(|_| {
                        format!("--retries={value} is not a number of attempts, such as 3")
                    })?
                    .into();
            }
        }
    }
    Ok(healthcheck)
}

/// A duration in Go's notation, `1m30s`, in nanoseconds. Zero means the engine's default; Docker
/// allows no other value below a millisecond.
fn duration(text: &str) -> Result<u64, Fault> {
    let bad = || {
        Fault::problem(format!(
            "\"{text}\" is not a duration such as 30s, 1m30s or 500ms"
        ))
    };
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return Err(bad()),
        };
        rest = &rest[end..];
        total += number * unit;
    }
    // Go stores a duration in 63 bits: 292 years.
    if text.is_empty() || total >= 9.2e18 {
        return Err(bad());
    }
    if total > 0.0 && total < 1e6 {
        return Err(Fault::problem(format!(
            "\"{text}\" is shorter than a millisecond"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and below 2^63"
    )]
    Ok(total as u64)
}

/// The ports in one word of an `EXPOSE`: `80`, `80/udp`, `8000-8010/tcp`.
pub(super) fn ports(word: &str) -> Result<Vec<String>, Fault> {
    let bad = || {
        Fault::problem(format!(
            "\"{word}\" is not a port; write a number from 1 to 65535, or 80/udp, or 8000-8010"
        ))
    };
    // A host's port and address have no meaning for an image; they are parsed and dropped.
    let container = match word.rsplit_once(':') {
        Some((host, container)) => {
            let host_port = host.rsplit(':').next().unwrap_or_default();
            if !host_port.chars().all(|c| c.is_ascii_digit() || c == '-') {
                return Err(bad());
            }
            container
        }
        None => word,
    };
    let (range, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Fault::problem(format!(
            "\"{protocol}\" is not a protocol; there are tcp, udp and sctp"
        )));
    }
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (low, high): (u16, u16) = (
        low.parse().map_err(|_| bad())?,
        high.parse().map_err(|_| bad())?,
    );
    if low == 0 || low > high {
        return Err(bad());
    }
    Ok((low..=high)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// Validates a signal: a number, or a name with or without `SIG`.
pub(super) fn signal(text: &str) -> Result<(), Fault> {
    const NAMES: [&str; 34] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
        "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
    ];
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |name: &str| {
        let offset = |prefix: &str, sign: char, most: u8| match name.strip_prefix(prefix) {
            Some("") => true,
            Some(rest) => rest
                .strip_prefix(sign)
                .and_then(|n| n.parse::<u8>().ok())
                .is_some_and(|n| (1..=most).contains(&n)),
            None => false,
        };
        offset("RTMIN", '+', 15) || offset("RTMAX", '-', 14)
    };
    let number = text
        .parse::<u8>()
        .is_ok_and(|number| (1..=64).contains(&number));
    if number || NAMES.contains(&name) || real_time(name) {
        return Ok(());
    }
    Err(Fault::problem(format!(
        "\"{text}\" is not a signal; write a name such as SIGTERM or a number from 1 to 64"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T>(result: Result<T, Fault>) -> String {
        match result {
            Err(Fault::Problem { problem, .. }) => problem,
            Err(Fault::Other(error)) => error.to_string(),
            Ok(_) => panic!("it was accepted"),
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, want) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("500ms", 500_000_000),
        ] {
            assert_eq!(duration(text).unwrap(), want, "{text}");
        }
        for text in ["", "30", "s", "1x", "-1s", "1s2", "99999999h"] {
            assert_eq!(
                problem(duration(text)),
                format!("\"{text}\" is not a duration such as 30s, 1m30s or 500ms")
            );
        }
        assert_eq!(
            problem(duration("10us")),
            "\"10us\" is shorter than a millisecond"
        );
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        assert_eq!(ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(ports("127.0.0.1:8080:80").unwrap(), ["80/tcp"]);
        assert_eq!(
            ports("8000-8002/tcp").unwrap(),
            ["8000/tcp", "8001/tcp", "8002/tcp"]
        );
        for word in ["", "0", "70000", "http", "9-8", "x:80", "80:"] {
            assert_eq!(
                problem(ports(word)),
                format!(
                    "\"{word}\" is not a port; write a number from 1 to 65535, or 80/udp, or 8000-8010"
                )
            );
        }
        assert_eq!(
            problem(ports("80/icmp")),
            "\"icmp\" is not a protocol; there are tcp, udp and sctp"
        );
    }

    #[test]
    fn signals_are_checked() {
        for text in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1"] {
            signal(text).unwrap();
        }
        for text in ["SIGNOPE", "0", "65", "", "RTMIN+", "SIGRTMIN-1"] {
            assert!(problem(signal(text)).contains("is not a signal"), "{text}");
        }
    }
}
