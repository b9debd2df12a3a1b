//! The specification of an instance.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use landfall_compute::Limits;

use super::limits::{Confined, Limiter};
use super::{Config, Error};
use crate::init::Order;
use landfall_kernel::signal;

/// The specification of an instance.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its id, unique among running instances; letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The image's files, from [`unpack()`](super::unpack()).
    pub rootfs: PathBuf,
    /// The image's configuration.
    pub config: Config,
    /// Environment in addition to the image's; it takes precedence.
    pub env: BTreeMap<String, String>,
    /// The host name inside.
    pub hostname: String,
    /// The text of `/etc/hosts`.
    pub hosts: String,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// A folder on the cloud's scratch file system; the instance's own folder is created in it.
    pub scratch: PathBuf,
    /// The limits of its resources.
    pub limits: Limits,
    /// The limiter that enforces them.
    pub limiter: Arc<Limiter>,
    /// Whether process 1 is a reaper with the command as its child. Otherwise the command is process 1.
    pub init: bool,
}

impl Spec {
    /// Checks the rules that the kernel does not check, and returns the stop signal.
    pub(super) fn stop_signal(&self) -> Result<i32, Error> {
        let invalid = |problem: String| Error::Invalid {
            id: self.id.clone(),
            problem,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.id.is_empty() || self.id.starts_with('.') || !self.id.chars().all(plain) {
            return Err(invalid(format!("{:?} is no name for an instance", self.id)));
        }
        if self.config.argv.is_empty() {
            return Err(invalid(
                "the image has no command: add ENTRYPOINT or CMD to its Dockerfile".to_owned(),
            ));
        }
        let name = &self.config.stop_signal;
        signal::number(name).ok_or_else(|| {
            invalid(format!(
                "the image's STOPSIGNAL {name:?} is neither the name nor the number of a signal"
            ))
        })
    }

    pub(super) fn order(&self, scratch: PathBuf, confined: &Confined) -> Order {
        let mut env = self.config.env.clone();
        env.extend(self.env.clone());
        Order {
            rootfs: self.rootfs.clone(),
            scratch,
            argv: self.config.argv.clone(),
            env,
            cwd: self.config.cwd.clone(),
            user: self.config.user.clone(),
            hostname: self.hostname.clone(),
            hosts: self.hosts.clone(),
            resolv_conf: self.resolv_conf.clone(),
            processes: confined.limits.processes,
            init: self.init,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str, command: &[&str], stop_signal: &str) -> Spec {
        Spec {
            id: id.to_owned(),
            rootfs: PathBuf::new(),
            config: Config {
                argv: command.iter().map(|&word| word.to_owned()).collect(),
                stop_signal: stop_signal.to_owned(),
                ..Config::default()
            },
            env: BTreeMap::new(),
            hostname: String::new(),
            hosts: String::new(),
            resolv_conf: String::new(),
            scratch: PathBuf::new(),
            limits: Limits::default(),
            limiter: Arc::new(Limiter::unlimited()),
            init: false,
        }
    }

    #[test]
    fn stop_signals_have_names_and_numbers() {
        for (text, signal) in [("SIGTERM", 15), ("sigquit", 3), ("SIGRTMIN+3", 37)] {
            assert_eq!(spec("i-1", &["/app"], text).stop_signal().unwrap(), signal);
        }
        assert!(spec("i-1", &["/app"], "SIGNONE").stop_signal().is_err());
    }

    #[test]
    fn a_name_is_no_path_and_a_command_is_needed() {
        for id in ["", "..", "a/b", ".hidden"] {
            assert!(
                spec(id, &["/app"], "SIGTERM").stop_signal().is_err(),
                "{id:?}"
            );
        }
        let error = spec("i-1", &[], "SIGTERM").stop_signal().unwrap_err();
        assert!(error.to_string().contains("ENTRYPOINT"), "{error}");
    }
}
