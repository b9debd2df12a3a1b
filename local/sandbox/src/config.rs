//! The configuration of an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

/// The parts of an image's configuration that an instance uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// ENTRYPOINT and CMD, one after the other.
    pub argv: Vec<String>,
    /// ENV.
    pub env: BTreeMap<String, String>,
    /// WORKDIR, `/` if the image names none.
    pub cwd: PathBuf,
    /// USER as written: `user`, `uid`, `user:group`, `uid:gid`, or nothing for root.
    pub user: String,
    /// STOPSIGNAL as written, SIGTERM if the image names none.
    pub stop_signal: String,
}

impl Config {
    /// Reads it from an image's configuration.
    pub fn new(image: &ImageConfiguration) -> Self {
        let config = image.config().as_ref();
        let list = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
        let mut argv = list(config.and_then(|it| it.entrypoint().as_ref()));
        argv.extend(list(config.and_then(|it| it.cmd().as_ref())));
        let text = |text: Option<&String>, default: &str| {
            text.filter(|text| !text.is_empty())
                .map_or(default, String::as_str)
                .to_owned()
        };
        Self {
            argv,
            env: list(config.and_then(|it| it.env().as_ref()))
                .iter()
                .map(|entry| {
                    let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                    (name.to_owned(), value.to_owned())
                })
                .collect(),
            cwd: PathBuf::from(text(config.and_then(|it| it.working_dir().as_ref()), "/")),
            user: text(config.and_then(|it| it.user().as_ref()), ""),
            stop_signal: text(config.and_then(|it| it.stop_signal().as_ref()), "SIGTERM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Config {
        Config::new(&ImageConfiguration::from_reader(json.as_bytes()).unwrap())
    }

    #[test]
    fn entrypoint_and_cmd_make_one_command() {
        let config = read(
            r#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                "config": {"Entrypoint": ["/app", "-v"], "Cmd": ["serve"], "User": "web", "StopSignal": "SIGINT",
                           "Env": ["A=1=2", "EMPTY="], "WorkingDir": "/srv"}}"#,
        );
        assert_eq!(config.argv, ["/app", "-v", "serve"]);
        assert_eq!(config.env["A"], "1=2");
        assert_eq!(config.env["EMPTY"], "");
        assert_eq!(
            (config.cwd, config.user.as_str()),
            (PathBuf::from("/srv"), "web")
        );
        assert_eq!(config.stop_signal, "SIGINT");
    }

    #[test]
    fn what_an_image_leaves_out_has_defaults() {
        let config = read(
            r#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}"#,
        );
        assert_eq!(config.cwd, PathBuf::from("/"));
        assert_eq!(config.stop_signal, "SIGTERM");
        assert!(config.argv.is_empty() && config.user.is_empty());
    }
}
