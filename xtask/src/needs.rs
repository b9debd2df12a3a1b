//! Requirements of some tests beyond a Rust toolchain, a C compiler and the Linux kernel.
//!
//! A test declares its requirement in its name: `needs_docker_…`. A test without such a name runs
//! everywhere.

use std::process::Command;

use crate::repo;

/// A requirement that a machine may not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// The prefix of the names of tests with this requirement.
    pub(crate) prefix: &'static str,
    programs: &'static [&'static str],
    packages: &'static str,
    root: bool,
    /// A Python program that installs the tests' programs in cargo's target directory, unless they
    /// exist.
    maker: Option<&'static str>,
}

const NEEDS: &[Need] = &[
    Need {
        prefix: "needs_docker_",
        programs: &["dockerd", "docker-registry", "busybox"],
        packages: "docker.io docker-registry busybox-static",
        root: true,
        maker: None,
    },
    Need {
        prefix: "needs_podman_",
        programs: &["podman", "busybox"],
        packages: "podman busybox-static",
        root: true,
        maker: None,
    },
    Need {
        prefix: "needs_registry_",
        programs: &["docker-registry"],
        packages: "docker-registry",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_shellcheck_",
        programs: &["shellcheck"],
        packages: "shellcheck",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_nft_",
        programs: &["nft"],
        packages: "nftables",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_git_",
        programs: &["git"],
        packages: "git",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_nginx_",
        programs: &["nginx"],
        packages: "nginx-light",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_busybox_",
        programs: &["busybox"],
        packages: "busybox-static",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_ssh_",
        programs: &["ssh", "scp", "ssh-keygen"],
        packages: "openssh-client",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_rsync_",
        programs: &["ssh", "ssh-keygen", "rsync", "ldd"],
        packages: "openssh-client rsync libc-bin",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_moto_",
        programs: &["python3"],
        packages: "python3-venv",
        root: false,
        maker: Some("testkit/moto/make.py"),
    },
    // Moto, and a registry in ECR's place.
    Need {
        prefix: "needs_emulators_",
        programs: &["python3", "docker-registry"],
        packages: "python3-venv docker-registry",
        root: false,
        maker: Some("testkit/moto/make.py"),
    },
    // These need everything that `needs_docker_` and `needs_podman_`, their prefixes, need, and
    // more.
    Need {
        prefix: "needs_docker_and_moto_",
        programs: &["python3"],
        packages: "python3-venv",
        root: false,
        maker: Some("testkit/moto/make.py"),
    },
    Need {
        prefix: "needs_nginx_and_redis_",
        programs: &["redis-server", "redis-cli", "curl", "ldd"],
        packages: "redis-server curl libc-bin",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_podman_and_registry_",
        programs: &["docker-registry", "curl"],
        packages: "docker-registry curl",
        root: false,
        maker: None,
    },
    Need {
        prefix: "needs_root_",
        programs: &[],
        packages: "",
        root: true,
        maker: None,
    },
];

/// A requirement that this machine does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) prefix: &'static str,
    /// The missing parts: `dockerd, busybox`.
    pub(crate) what: String,
    /// The hint.
    pub(crate) remedy: String,
}

impl Need {
    fn missing(&self, installed: impl Fn(&str) -> bool, is_root: bool) -> Option<Missing> {
        let lacking: Vec<&str> = self
            .programs
            .iter()
            .copied()
            .filter(|program| !installed(program))
            .collect();
        let (mut what, mut remedies) = (Vec::new(), Vec::new());
        if !lacking.is_empty() {
            what.push(format!("no {}", lacking.join(" and no ")));
            remedies.push(format!("install it: apt-get install {}", self.packages));
        }
        if self.root && !is_root {
            what.push("not root".to_owned());
            remedies.push("run the tests as root".to_owned());
        }
        (!what.is_empty()).then(|| Missing {
            prefix: self.prefix,
            what: what.join(", "),
            remedy: remedies.join(", and "),
        })
    }

    /// Runs the maker, after its own requirements are installed.
    fn prepare(&self) -> Option<Missing> {
        let maker = self.maker?;
        let mut make = Command::new("python3");
        make.arg(maker)
            .arg(repo::target())
            .current_dir(repo::root());
        repo::output_of(&mut make).err().map(|what| Missing {
            prefix: self.prefix,
            what,
            remedy: format!("it needs {} and PyPI, the first time", self.packages),
        })
    }
}

/// The requirements of these tests that this machine does not meet, after all makers have run.
pub(crate) fn missing<'a>(tests: impl Iterator<Item = &'a str> + Clone) -> Vec<Missing> {
    let is_root = repo::is_root();
    NEEDS
        .iter()
        .filter(|need| tests.clone().any(|test| concerns(need.prefix, test)))
        .filter_map(|need| {
            need.missing(repo::installed, is_root)
                .or_else(|| need.prepare())
        })
        .collect()
}

/// Whether a test with this path (`module::needs_docker_builds`) has the requirement with this
/// prefix.
pub(crate) fn concerns(prefix: &str, test: &str) -> bool {
    test.rsplit("::")
        .next()
        .is_some_and(|name| name.starts_with(prefix))
}

/// Whether a test declares a requirement that is not in the list.
pub(crate) fn is_unknown(test: &str) -> bool {
    concerns("needs_", test) && !NEEDS.iter().any(|need| concerns(need.prefix, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_met_or_says_what_is_missing_and_how_to_get_it() {
        let docker = NEEDS[0];
        assert_eq!(docker.missing(|_| true, true), None);
        let missing = docker
            .missing(|program| program != "dockerd", false)
            .unwrap();
        assert_eq!(missing.what, "no dockerd, not root");
        assert_eq!(
            missing.remedy,
            "install it: apt-get install docker.io docker-registry busybox-static, and run the tests as root"
        );
        let missing = docker.missing(|_| false, true).unwrap();
        assert_eq!(
            missing.what,
            "no dockerd and no docker-registry and no busybox"
        );
    }

    #[test]
    fn a_test_is_concerned_by_the_beginning_of_its_own_name() {
        assert!(concerns("needs_docker_", "needs_docker_builds"));
        assert!(concerns(
            "needs_docker_",
            "engine::tests::needs_docker_builds"
        ));
        assert!(!concerns("needs_docker_", "needs_docker_tests::other"));
        assert!(is_unknown("a::needs_quantum_x"));
        assert!(!is_unknown("a::needs_podman_x"));
        assert!(!is_unknown("the_last_needs_no_end"));
    }
}
