//! Runs one stage, instruction by instruction.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::image::Descriptor;

use super::args::{Given, Scope};
use super::copy::{self, Copy, Input};
use super::dockerfile::Dockerfile;
use super::fault::Fault;
use super::form::{Instruction, Kind as Form, Source, Transfer};
use super::layer::{self, Contents};
use super::mode::Mode;
use super::settings;
use super::tree::{Content, Kind, Node, Tree};
use super::users::{self, Owner};
use crate::Result;
use crate::config::{Empty, History, ImageConfig};
use crate::ignore::{Ignore, clean};
use crate::request::Platform;
use crate::store::Ingest;

/// The default search path of programs on Linux, which BuildKit sets if a base image does not.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image under construction.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) config: ImageConfig,
    /// Layers in the store, lowest first.
    pub(super) layers: Vec<Descriptor>,
    pub(super) tree: Tree,
    /// The final variables of its stage: stages based on it inherit them, its containers do not.
    pub(super) variables: BTreeMap<String, String>,
}

impl Image {
    /// `FROM scratch`.
    pub(super) fn scratch(platform: &Platform) -> Self {
        let mut config = ImageConfig::scratch(platform);
        config.config.working_dir = "/".to_owned();
        Self {
            config,
            layers: Vec::new(),
            tree: Tree::default(),
            variables: BTreeMap::new(),
        }
    }
}

/// Data shared by all stages.
pub(super) struct Shared<'a, 'd> {
    pub(super) dockerfile: &'a Dockerfile<'d>,
    pub(super) global: &'a Scope,
    /// The destination of layers; `None` for a check without output.
    pub(super) ingest: Option<&'a Ingest>,
    /// The build context.
    pub(super) context: &'a Tree,
    /// The timestamp of all created files, in seconds since 1970, and in the configuration's form.
    pub(super) epoch: u64,
    pub(super) created: &'a str,
}

/// A stage in progress.
pub(super) struct Runner<'a, 'd, 's> {
    shared: &'a Shared<'a, 'd>,
    contents: &'s mut Contents,
    given: &'s mut Given,
    image: Image,
    scope: Scope,
    /// Whether this stage has had a `CMD`; an `ENTRYPOINT` drops only the base's.
    has_cmd: bool,
}

impl<'a, 'd, 's> Runner<'a, 'd, 's> {
    pub(super) fn new(
        shared: &'a Shared<'a, 'd>,
        contents: &'s mut Contents,
        given: &'s mut Given,
        mut base: Image,
    ) -> Self {
        let env = &mut base.config.config.env;
        if base.config.os == "linux" && !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.push(PATH.to_owned());
        }
        let scope = Scope::stage(env, std::mem::take(&mut base.variables));
        Self {
            shared,
            contents,
            given,
            image: base,
            scope,
            has_cmd: false,
        }
    }

    /// The finished image.
    pub(super) fn finish(mut self) -> Image {
        self.image.config.created = Some(self.shared.created.to_owned());
        self.image.variables = self.scope.into_variables();
        self.image
    }

    /// Executes `instruction`, which the history shows as `text`; the source of a `COPY --from` is `from`.
    pub(super) fn run(
        &mut self,
        instruction: &Instruction,
        text: &str,
        from: Option<&Tree>,
    ) -> Result<()> {
        let layers = self.image.layers.len();
        self.apply(instruction, from)
            .map_err(|fault| fault.at(self.shared.dockerfile.source, instruction.line))?;
        self.image.config.history.push(History {
            created: Some(self.shared.created.to_owned()),
            created_by: text.to_owned(),
            comment: "landfall daemonless".to_owned(),
            empty_layer: self.image.layers.len() == layers,
            ..History::default()
        });
        Ok(())
    }

    fn apply(&mut self, instruction: &Instruction, from: Option<&Tree>) -> Result<(), Fault> {
        let escape = self.shared.dockerfile.escape;
        match &instruction.kind {
            Form::Arg(arguments) => {
                self.scope
                    .declare(arguments, escape, self.given, self.shared.global)?;
            }
            Form::Env(pairs) => {
                // The values of one line do not affect each other.
                let pairs = self.pairs(pairs)?;
                pairs
                    .iter()
                    .for_each(|(name, value)| self.scope.set_env(name, value));
                self.scope.bounded()?;
                self.config().env = self.scope.env();
            }
            Form::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                self.config().labels.extend(pairs);
            }
            Form::Workdir(path) => self.workdir(path)?,
            Form::User(user) => self.config().user = self.expand(user)?,
            Form::Expose(words) => {
                for word in words {
                    for word in self.expand(word)?.split_whitespace() {
                        let ports = settings::ports(word)?;
                        self.config()
                            .exposed_ports
                            .extend(ports.into_iter().map(|port| (port, Empty {})));
                    }
                }
            }
            Form::Volume(words) => {
                for word in words {
                    let path = self.expand(word)?;
                    if path.trim().is_empty() {
                        return Err(Fault::problem("VOLUME names an empty path"));
                    }
                    self.config().volumes.insert(path, Empty {});
                }
            }
            Form::Stopsignal(signal) => {
                let signal = self.expand(signal)?;
                settings::signal(&signal)?;
                self.config().stop_signal = signal;
            }
            Form::Shell(words) => self.config().shell = Some(words.clone()),
            Form::Entrypoint(command) => {
                let shell = self.config().shell.clone();
                self.config().entrypoint = command
                    .as_ref()
                    .map(|command| settings::command(command, shell.as_ref()));
                if !self.has_cmd {
                    self.config().cmd = None;
                }
            }
            Form::Cmd(command) => {
                let command = settings::command(command, self.config().shell.as_ref());
                // An empty list removes the base's.
                self.config().cmd = Some(command).filter(|list| !list.is_empty());
                self.has_cmd = true;
            }
            Form::Healthcheck(command) => {
                self.config().healthcheck =
                    Some(settings::healthcheck(&instruction.flags, command.as_ref())?);
            }
            Form::Maintainer(name) => self.image.config.author.clone_from(name),
            Form::Copy(transfer) => self.copy(instruction, transfer, from, false)?,
            Form::Add(transfer) => self.copy(instruction, transfer, None, true)?,
            // The plan has refused these, or they start a stage.
            Form::Run | Form::Onbuild | Form::From { .. } => {
                return Err(Fault::problem("this instruction is not allowed here"));
            }
        }
        Ok(())
    }

    fn config(&mut self) -> &mut crate::config::ProcessConfig {
        &mut self.image.config.config
    }

    fn expand(&self, text: &str) -> Result<String, Fault> {
        Ok(self.scope.expand(text, self.shared.dockerfile.escape)?)
    }

    /// The pairs of an `ENV` or `LABEL`, expanded.
    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, Fault> {
        pairs
            .iter()
            .map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?)))
            .collect()
    }

    /// A path of the image: absolute, or below the working directory. A trailing `/` is preserved.
    fn absolute(&self, path: &str) -> String {
        let workdir = &self.image.config.config.working_dir;
        let cleaned = clean(&format!(
            "/{}/{path}",
            if path.starts_with('/') { "" } else { workdir }
        ));
        let directory =
            path.is_empty() || path.ends_with('/') || path == "." || path.ends_with("/.");
        if directory && cleaned != "/" {
            format!("{cleaned}/")
        } else {
            cleaned
        }
    }

    /// `WORKDIR` creates the directory, owned by the present user.
    fn workdir(&mut self, text: &str) -> Result<(), Fault> {
        let path = self.absolute(&self.expand(text)?);
        let path = if path == "/" {
            path
        } else {
            path.trim_end_matches('/').to_owned()
        };
        self.config().working_dir.clone_from(&path);
        let resolved = self.image.tree.resolve(&path, true)?;
        if self
            .image
            .tree
            .get(&resolved)
            .is_some_and(|node| node.is_directory())
        {
            return Ok(());
        }
        let user = self.config().user.clone();
        let owner = if user.is_empty() {
            Owner::default()
        } else {
            users::owner(&user, &self.image.tree, self.contents)?
        };
        let node = Node {
            uid: owner.uid,
            gid: owner.gid,
            ..Node::directory()
        };
        let made = self.image.tree.make_directories(&resolved, &node)?;
        self.layer(&made.into_iter().collect())
    }

    fn copy(
        &mut self,
        instruction: &Instruction,
        transfer: &Transfer,
        from: Option<&Tree>,
        add: bool,
    ) -> Result<(), Fault> {
        let mut flags = Flags::default();
        for flag in &instruction.flags {
            let value = || self.expand(flag.value.as_deref().unwrap_or_default());
            let on = flag
                .value
                .as_deref()
                .is_none_or(|value| value.eq_ignore_ascii_case("true"));
            match flag.name.as_str() {
                "chown" => flags.owner = Some(value()?).filter(|value| !value.is_empty()),
                "chmod" => flags.mode = Some(value()?).filter(|value| !value.is_empty()),
                "parents" => flags.parents = on,
                "exclude" => flags.exclude.push(flag.value.clone().unwrap_or_default()),
                "unpack" => flags.unpack = Some(on),
                "checksum" => {
                    return Err(Fault::problem("--checksum is for sources that are fetched"));
                }
                // Every layer is independent of the layers below it, which is the whole effect of
                // --link.
                _ => {}
            }
        }
        let owner = match &flags.owner {
            Some(text) => Some(users::owner(text, &self.image.tree, self.contents)?),
            None => None,
        };
        let mode = flags.mode.as_deref().map(Mode::parse).transpose()?;
        let mut sources = Vec::new();
        for source in &transfer.sources {
            sources.push(self.input(source, add)?);
        }
        // Here-documents are copied last, whatever the order of the sources.
        sources.sort_by_key(|source| matches!(source, Input::Document { .. }));
        let destination = self.expand(&transfer.destination)?;
        let copy = Copy {
            sources,
            destination: self.absolute(&destination),
            owner,
            mode,
            unpack: flags.unpack.unwrap_or(add),
            parents: flags.parents,
            exclude: Ignore::of_patterns(&flags.exclude)?,
        };
        let changed = copy::copy(
            &copy,
            from.unwrap_or(self.shared.context),
            &mut self.image.tree,
            self.contents,
        )?;
        self.layer(&changed)
    }

    fn input(&self, source: &Source, add: bool) -> Result<Input, Fault> {
        match source {
            Source::Document(document) => {
                let text = if document.expand {
                    self.scope.expand_document(&document.text)?
                } else {
                    document.text.clone()
                };
                let size = text.len() as u64;
                let kind = Kind::File {
                    content: Content::Bytes(text.into_bytes()),
                    size,
                };
                Ok(Input::Document {
                    name: document.name.clone(),
                    node: Node {
                        kind,
                        mode: 0o644,
                        uid: 0,
                        gid: 0,
                    },
                })
            }
            Source::Path(path) => {
                let path = self.expand(path)?;
                let remote = is_remote(&path);
                if remote && add {
                    return Err(Fault::hint(
                        format!(
                            "ADD of {path} would fetch it, and the daemonless builder fetches nothing but base images"
                        ),
                        "download it before the build and COPY it, or build with a container engine",
                    ));
                }
                if remote {
                    return Err(Fault::hint(
                        format!(
                            "{path} is not a file of the build context, and COPY takes nothing else"
                        ),
                        "download it before the build",
                    ));
                }
                Ok(Input::Path(path))
            }
        }
    }

    /// Writes `changed` as a layer, unless it is empty.
    fn layer(&mut self, changed: &BTreeSet<String>) -> Result<(), Fault> {
        let Some(ingest) = self.shared.ingest.filter(|_| !changed.is_empty()) else {
            return Ok(());
        };
        let written = layer::write(
            ingest,
            self.contents,
            &self.image.tree,
            changed,
            self.shared.epoch,
        )?;
        self.image.layers.push(written.descriptor);
        self.image.config.rootfs.diff_ids.push(written.diff_id);
        Ok(())
    }
}

/// The flags of a `COPY` or `ADD`, with variables expanded where they are allowed.
#[derive(Debug, Default)]
struct Flags {
    owner: Option<String>,
    mode: Option<String>,
    parents: bool,
    exclude: Vec<String>,
    unpack: Option<bool>,
}

/// Whether a source of `ADD` has to be downloaded.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
}

/// Whether an instruction shows, without its variables, that it downloads a file: only engines do that.
pub(super) fn downloads(instruction: &Instruction) -> bool {
    matches!(&instruction.kind, Form::Add(transfer) if transfer.sources.iter().any(
        |source| matches!(source, Source::Path(path) if is_remote(path))
    ))
}
