//! Carrying out one stage, instruction by instruction.

use std::collections::BTreeSet;

use oci_spec::image::Descriptor;
use parse_dockerfile::{Flag, Instruction, JsonOrStringArray, Source as CopySource};

use super::args::{Given, Scope};
use super::copy::{self, Copy, Input};
use super::dockerfile::{Dockerfile, span, unknown_flag};
use super::fault::Fault;
use super::layer::{self, Contents};
use super::settings;
use super::tree::{Content, Kind, Node, Tree};
use super::users::{self, Owner};
use super::words;
use crate::Result;
use crate::config::{Empty, History, ImageConfig};
use crate::ignore::clean;
use crate::request::Platform;
use crate::store::Ingest;

/// An image in the making.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) config: ImageConfig,
    /// In the store already, lowest first.
    pub(super) layers: Vec<Descriptor>,
    pub(super) tree: Tree,
}

impl Image {
    /// `FROM scratch`.
    pub(super) fn scratch(platform: &Platform) -> Self {
        Self {
            config: ImageConfig::scratch(platform),
            layers: Vec::new(),
            tree: Tree::default(),
        }
    }
}

/// What all stages share.
pub(super) struct Shared<'a, 'd> {
    pub(super) dockerfile: &'a Dockerfile<'d>,
    pub(super) global: &'a Scope,
    /// Where layers go; nowhere when it is only tried out whether a build would come to its end.
    pub(super) ingest: Option<&'a Ingest>,
    /// The build context.
    pub(super) context: &'a Tree,
    /// Time of everything that is made, in seconds since 1970, and as the configuration has it.
    pub(super) epoch: u64,
    pub(super) created: &'a str,
}

/// One stage being carried out.
pub(super) struct Runner<'a, 'd, 's> {
    shared: &'a Shared<'a, 'd>,
    contents: &'s mut Contents,
    given: &'s mut Given,
    image: Image,
    scope: Scope,
    /// This stage has had a `CMD`; an `ENTRYPOINT` drops the base's only.
    has_cmd: bool,
}

impl<'a, 'd, 's> Runner<'a, 'd, 's> {
    pub(super) fn new(
        shared: &'a Shared<'a, 'd>,
        contents: &'s mut Contents,
        given: &'s mut Given,
        base: Image,
    ) -> Self {
        let scope = Scope::stage(&base.config.config.env);
        Self {
            shared,
            contents,
            given,
            image: base,
            scope,
            has_cmd: false,
        }
    }

    /// The image as it stands.
    pub(super) fn finish(mut self) -> Image {
        self.image.config.created = Some(self.shared.created.to_owned());
        self.image
    }

    /// Carries out `instruction`; a `COPY --from` copies from `from`.
    pub(super) fn run(&mut self, instruction: &Instruction<'_>, from: Option<&Tree>) -> Result<()> {
        let at = span(instruction);
        let layers = self.image.layers.len();
        self.apply(instruction, from)
            .map_err(|fault| fault.at(self.shared.dockerfile.source, &at))?;
        self.image.config.history.push(History {
            created: Some(self.shared.created.to_owned()),
            created_by: self.shared.dockerfile.source.line_text(&at).to_owned(),
            comment: "landfall daemonless".to_owned(),
            empty_layer: self.image.layers.len() == layers,
            ..History::default()
        });
        Ok(())
    }

    fn apply(&mut self, instruction: &Instruction<'_>, from: Option<&Tree>) -> Result<(), Fault> {
        let escape = self.shared.dockerfile.escape;
        match instruction {
            Instruction::Arg(arg) => {
                self.scope
                    .declare(&arg.arguments.value, escape, self.given, self.shared.global)?;
            }
            Instruction::Env(env) => {
                // One line's values do not see each other.
                let pairs = self.pairs(&env.arguments.value)?;
                pairs
                    .iter()
                    .for_each(|(name, value)| self.scope.set_env(name, value));
                self.config().env = self.scope.env();
            }
            Instruction::Label(label) => {
                let pairs = self.pairs(&label.arguments.value)?;
                self.config().labels.extend(pairs);
            }
            Instruction::Workdir(workdir) => self.workdir(&workdir.arguments.value)?,
            Instruction::User(user) => {
                let user = self.expand(&user.arguments.value)?;
                if user.is_empty() || user.contains(char::is_whitespace) {
                    return Err(Fault::problem(format!(
                        "\"{user}\" is not a user; write user or user:group"
                    )));
                }
                self.config().user = user;
            }
            Instruction::Expose(expose) => {
                for word in &expose.arguments {
                    for word in self.expand(&word.value)?.split_whitespace() {
                        let ports = settings::ports(word)?;
                        self.config()
                            .exposed_ports
                            .extend(ports.into_iter().map(|port| (port, Empty {})));
                    }
                }
            }
            Instruction::Volume(volume) => {
                let list = match &volume.arguments {
                    JsonOrStringArray::Json(words) => &words.value[..],
                    JsonOrStringArray::String(words) => &words[..],
                };
                for word in list {
                    let path = self.expand(&word.value)?;
                    if path.trim().is_empty() {
                        return Err(Fault::problem("VOLUME names an empty path"));
                    }
                    self.config().volumes.insert(path, Empty {});
                }
            }
            Instruction::Stopsignal(signal) => {
                let signal = self.expand(&signal.arguments.value)?;
                settings::signal(&signal)?;
                self.config().stop_signal = signal;
            }
            Instruction::Shell(shell) => {
                self.config().shell = Some(
                    shell
                        .arguments
                        .iter()
                        .map(|word| word.value.clone().into_owned())
                        .collect(),
                );
            }
            Instruction::Entrypoint(entrypoint) => {
                let command =
                    settings::command(&entrypoint.arguments, self.config().shell.as_ref(), escape);
                self.config().entrypoint = Some(command);
                if !self.has_cmd {
                    self.config().cmd = None;
                }
            }
            Instruction::Cmd(cmd) => {
                let command =
                    settings::command(&cmd.arguments, self.config().shell.as_ref(), escape);
                self.config().cmd = Some(command);
                self.has_cmd = true;
            }
            Instruction::Healthcheck(healthcheck) => {
                self.config().healthcheck = Some(settings::healthcheck(healthcheck, escape)?);
            }
            Instruction::Maintainer(maintainer) => {
                self.image.config.author = maintainer.name.value.clone().into_owned();
            }
            Instruction::Copy(copy) => {
                let flags = self.flags(
                    &copy.options,
                    &["chown", "chmod", "from", "link"],
                    instruction,
                )?;
                self.copy(&flags, &copy.src, &copy.dest.value, from, false)?;
            }
            Instruction::Add(add) => {
                let flags = self.flags(&add.options, &["chown", "chmod", "link"], instruction)?;
                self.copy(&flags, &add.src, &add.dest.value, None, true)?;
            }
            // The plan has refused these, or they start a stage.
            Instruction::Run(_) | Instruction::Onbuild(_) | Instruction::From(_) => {
                return Err(Fault::problem("this instruction cannot stand here"));
            }
            _ => {
                return Err(Fault::problem(
                    "the daemonless builder does not know this instruction",
                ));
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
    fn pairs(&self, text: &str) -> Result<Vec<(String, String)>, Fault> {
        let pairs = words::pairs(text, self.shared.dockerfile.escape)?;
        pairs
            .iter()
            .map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?)))
            .collect()
    }

    /// A path of the image: absolute, or below the working directory. A trailing `/` stays.
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

    /// `WORKDIR` makes the directory, owned by the user that is set.
    fn workdir(&mut self, text: &str) -> Result<(), Fault> {
        let path = self.expand(text)?;
        if path.trim().is_empty() {
            return Err(Fault::problem("WORKDIR names an empty path"));
        }
        let path = self.absolute(&path);
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
        let made = self
            .image
            .tree
            .make_directories(&resolved, owner.uid, owner.gid)?;
        self.layer(&made.into_iter().collect())
    }

    /// The flags of an instruction by name; only `known` ones.
    fn flags(
        &self,
        flags: &[Flag<'_>],
        known: &[&str],
        at: &Instruction<'_>,
    ) -> Result<Vec<(String, String)>, Fault> {
        let source = self.shared.dockerfile.source;
        let mut list = Vec::new();
        for flag in flags {
            let name = &*flag.name.value;
            if ["parents", "exclude", "checksum", "keep-git-dir", "unpack"].contains(&name) {
                return Err(Fault::hint(
                    format!("the daemonless builder does not know --{name}"),
                    "build with a container engine, or leave the flag out",
                ));
            }
            match &flag.value {
                _ if !known.contains(&name) => {
                    return Err(
                        crate::Error::from(unknown_flag(source, flag, &span(at), known)).into(),
                    );
                }
                Some(value) if matches!(name, "chown" | "chmod") => {
                    list.push((name.to_owned(), self.expand(&value.value)?))
                }
                Some(value) => list.push((name.to_owned(), value.value.clone().into_owned())),
                // Every layer is independent of what lies below it, which is all that --link asks for.
                None if name == "link" => {}
                None => {
                    return Err(
                        crate::Error::from(unknown_flag(source, flag, &span(at), known)).into(),
                    );
                }
            }
        }
        Ok(list)
    }

    fn copy(
        &mut self,
        flags: &[(String, String)],
        sources: &[CopySource<'_>],
        destination: &str,
        from: Option<&Tree>,
        add: bool,
    ) -> Result<(), Fault> {
        let flag = |name: &str| {
            flags
                .iter()
                .rfind(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let owner = match flag("chown") {
            Some(text) => Some(users::owner(text, &self.image.tree, self.contents)?),
            None => None,
        };
        let mode = flag("chmod").map(settings::mode).transpose()?;
        let mut inputs = Vec::new();
        for source in sources {
            inputs.push(self.input(source, add)?);
        }
        let destination = self.expand(destination)?;
        let copy = Copy {
            sources: inputs,
            destination: self.absolute(&destination),
            owner,
            mode,
            unpack: add,
        };
        if copy.sources.len() > 1 && !copy.destination.ends_with('/') {
            return Err(Fault::hint(
                format!("several sources do not fit into the one file {destination}"),
                format!("end it with a /: {destination}/"),
            ));
        }
        let changed = copy::copy(
            &copy,
            from.unwrap_or(self.shared.context),
            &mut self.image.tree,
            self.contents,
        )?;
        self.layer(&changed)
    }

    fn input(&self, source: &CopySource<'_>, add: bool) -> Result<Input, Fault> {
        match source {
            CopySource::HereDoc(document) => {
                let text = if document.expand {
                    self.scope.expand_document(&document.value)?
                } else {
                    document.value.clone().into_owned()
                };
                let size = text.len() as u64;
                let kind = Kind::File {
                    content: Content::Bytes(text.into_bytes()),
                    size,
                };
                let name = self
                    .shared
                    .dockerfile
                    .source
                    .here_document_name(&document.span);
                Ok(Input::Document {
                    name,
                    node: Node {
                        kind,
                        mode: 0o644,
                        uid: 0,
                        gid: 0,
                    },
                })
            }
            CopySource::Path(path) => {
                let path = self.expand(&path.value)?;
                let remote = ["http://", "https://", "git://", "git@"]
                    .iter()
                    .any(|scheme| path.starts_with(scheme));
                if remote && add {
                    return Err(Fault::hint(
                        format!(
                            "ADD of {path} would fetch it, and the daemonless builder fetches nothing but base images"
                        ),
                        "download it before the build and COPY it, or build with a container engine",
                    ));
                }
                if path.is_empty() {
                    return Err(Fault::problem(
                        "a source is empty once its variables are replaced",
                    ));
                }
                Ok(Input::Path(path))
            }
            _ => Err(Fault::problem(
                "the daemonless builder does not know this kind of source",
            )),
        }
    }

    /// Writes `changed` as a layer, if there is anything.
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
