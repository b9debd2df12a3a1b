//! The optional parts of the program: which of them a command needs, and which this build lacks.

use landfall_pipeline::Config;

use crate::args::{Cli, Command, Common, ProviderName};
use crate::cli_error::CliError;

/// The optional parts that depend on the file, each with whether this build has it.
const PARTS: [(&str, bool); 3] = [
    ("engine", cfg!(feature = "engine")),
    ("registry", cfg!(feature = "registry")),
    ("ssh", cfg!(feature = "ssh")),
];

/// A part that a command needs and this build lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The feature of this crate.
    pub(crate) feature: &'static str,
    /// The need for it.
    reason: String,
}

impl Missing {
    /// The error for a program without this part.
    pub(crate) fn error(&self) -> CliError {
        let Self { feature, reason } = self;
        CliError::usage(
            format!("{reason}, and this program was built without the feature `{feature}`"),
            Some(&format!(
                "install it with its default features (`cargo install --path cli`), or build it with \
                 `--features {feature}`; `cargo xtask` does this automatically"
            )),
        )
    }
}

/// The parts that this command line needs and this build lacks.
///
/// An invalid command line or file needs nothing: running the command reports its faults.
pub(crate) fn missing(cli: &Cli) -> Vec<Missing> {
    if PARTS.iter().all(|(_, built)| *built) {
        return Vec::new();
    }
    let mut needed = needed(cli);
    needed.retain(|part| {
        let built = PARTS.iter().find(|(feature, _)| *feature == part.feature);
        built.is_some_and(|(_, built)| !built)
    });
    needed
}

/// The parts that this command line needs.
fn needed(cli: &Cli) -> Vec<Missing> {
    let common = match &cli.command {
        Command::Deploy(args) => &args.common,
        Command::Plan(args) => &args.common,
        _ => return Vec::new(),
    };
    match Config::load_for(&common.config, common.env.as_deref()) {
        Ok(config) => by_file(&config, common),
        Err(_) => Vec::new(),
    }
}

fn by_file(config: &Config, common: &Common) -> Vec<Missing> {
    let mut needed: Vec<Missing> = Vec::new();
    let mut need = |feature, reason: Option<String>| {
        if let Some(reason) = reason
            && !needed.iter().any(|part| part.feature == feature)
        {
            needed.push(Missing { feature, reason });
        }
    };
    for service in config.service.values() {
        let request = config.build_request(&service.image);
        let requirements = service.image.builder.requirements(&request);
        need("engine", requirements.engine);
        need("registry", requirements.registry);
    }
    let bastion = config.network.bastion.is_some() && common.provider == ProviderName::Local;
    need(
        "ssh",
        bastion.then(|| "the bastion needs the local provider's SSH servers".to_owned()),
    );
    needed
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// The features that `landfall COMMAND` needs with this file and this Dockerfile.
    fn features(command: &[&str], file: &str, dockerfile: &str) -> Vec<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
        let config = dir.path().join("landfall.toml");
        std::fs::write(&config, file).unwrap();
        let config = config.to_str().unwrap();
        let args = [&["landfall"][..], command, &["--config", config][..]].concat();
        let cli = Cli::try_parse_from(args).unwrap();
        needed(&cli).iter().map(|part| part.feature).collect()
    }

    const FILE: &str = "stack = 'shop'\n[service.web]\nport = 8000\n";
    const BASTION: &str = "stack = 'shop'\n[network.bastion]\nallow = ['198.51.100.7/32']\n[service.web]\nport = 8000\n";
    const PLAIN: &str = "FROM scratch\nCOPY app /app\nCMD [\"/app\"]\n";
    const WITH_RUN: &str = "FROM debian\nRUN true\nCMD [\"/app\"]\n";
    const WITH_BASE: &str = "FROM debian\nCMD [\"/app\"]\n";

    #[test]
    fn features_follow_from_the_command_and_the_file() {
        for (command, file, dockerfile, features_needed) in [
            (&["deploy"][..], FILE, PLAIN, &[][..]),
            (&["deploy"], FILE, WITH_RUN, &["engine"]),
            (&["plan"], FILE, WITH_BASE, &["registry"]),
            (&["deploy"], BASTION, PLAIN, &["ssh"]),
            (&["deploy"], BASTION, WITH_RUN, &["engine", "ssh"]),
            (
                &["deploy", "--provider", "aws"],
                BASTION,
                WITH_RUN,
                &["engine"],
            ),
            (&["status"], BASTION, WITH_RUN, &[]),
            (&["deploy"], "stack = 1", WITH_RUN, &[]),
        ] {
            let found = features(command, file, dockerfile);
            assert_eq!(found, features_needed, "{command:?} {file} {dockerfile}");
        }
    }

    #[test]
    fn error_names_the_feature_and_a_remedy() {
        let missing = Missing {
            feature: "ssh",
            reason: "the bastion needs SSH".to_owned(),
        };
        let error = missing.error();
        assert_eq!(error.exit_code(), crate::exit::USAGE);
        let text = format!("{error:?}");
        assert!(text.contains("without the feature `ssh`"), "{text}");
        assert!(text.contains("--features ssh"), "{text}");
    }
}
