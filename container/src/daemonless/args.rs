//! The values of variables: build arguments, `ARG`, `ENV`, and the platform's own.

use std::collections::{BTreeMap, BTreeSet};

use super::dockerfile::Source;
use super::form::Argument;
use super::words;
use crate::request::Platform;
use crate::{DockerfileError, Result};

/// The maximum total size of a stage's variables in bytes: the kernel passes no more than a few MiB
/// to a process.
const MAX_VARIABLES: usize = 1 << 20;

/// The variables of one scope: before the first `FROM`, or of one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The present values, from the last `ARG` or `ENV` of each name.
    variables: BTreeMap<String, String>,
    /// `ENV`s, in the order they were set.
    env: Vec<(String, String)>,
}

/// The source of the values of `ARG`s.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The request's build arguments.
    build: BTreeMap<String, String>,
    /// `TARGETARCH` and others, the values of an `ARG` without its own value.
    automatic: BTreeMap<String, String>,
    /// The build arguments that an `ARG` has used.
    used: BTreeSet<String>,
}

impl Given {
    pub(super) fn new(
        build: &BTreeMap<String, String>,
        target: &Platform,
        stage: Option<&str>,
    ) -> Self {
        let mut automatic = BTreeMap::new();
        let stage = stage.unwrap_or("default").to_owned();
        automatic.insert("TARGETSTAGE".to_owned(), stage);
        for (kind, platform) in [("BUILD", &Platform::host()), ("TARGET", target)] {
            automatic.insert(format!("{kind}PLATFORM"), platform.to_string());
            automatic.insert(format!("{kind}OS"), platform.os.clone());
            automatic.insert(format!("{kind}ARCH"), platform.arch.clone());
            automatic.insert(
                format!("{kind}VARIANT"),
                platform.variant.clone().unwrap_or_default(),
            );
        }
        Self {
            build: build.clone(),
            automatic,
            used: BTreeSet::new(),
        }
    }

    /// Build arguments that no `ARG` has used, in the part of the Dockerfile read so far.
    pub(super) fn unused(&self) -> Vec<&str> {
        self.build
            .keys()
            .filter(|name| !self.used.contains(*name) && *name != "SOURCE_DATE_EPOCH")
            .map(String::as_str)
            .collect()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.build.get(name);
        if value.is_some() {
            self.used.insert(name.to_owned());
        }
        value.cloned()
    }
}

impl Scope {
    /// The scope before the first `FROM`, where the automatic arguments need no `ARG`.
    pub(super) fn global(
        source: &Source,
        escape: char,
        lines: &[(Vec<Argument>, usize)],
        given: &mut Given,
    ) -> Result<Self> {
        let mut scope = Self::default();
        for (name, value) in &given.automatic.clone() {
            let value = given.value(name).unwrap_or_else(|| value.clone());
            scope.variables.insert(name.clone(), value);
        }
        for (arguments, line) in lines {
            let global = scope.clone();
            scope
                .declare(arguments, escape, given, &global)
                .map_err(|problem| source.error(*line, problem))?;
        }
        Ok(scope)
    }

    /// The scope of a stage based on an image with the environment `env`; if the image is itself a
    /// stage, `variables` are its final ones.
    pub(super) fn stage(env: &[String], variables: BTreeMap<String, String>) -> Self {
        let mut scope = Self::default();
        for pair in env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            scope.set_env(name, value);
        }
        scope.variables.extend(variables);
        scope
    }

    /// Processes an `ARG` line. A build argument overrides the line's default, which overrides a
    /// global `ARG`.
    pub(super) fn declare(
        &mut self,
        arguments: &[Argument],
        escape: char,
        given: &mut Given,
        global: &Self,
    ) -> Result<(), String> {
        for Argument { name, default } in arguments {
            let value = match (given.value(name), default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(default, escape)?),
                (None, None) => global.variables.get(name).cloned(),
            };
            if let Some(value) = value {
                self.variables.insert(name.clone(), value);
            }
        }
        self.bounded()
    }

    /// Refuses variables whose total size is too large.
    pub(super) fn bounded(&self) -> Result<(), String> {
        let size: usize = self
            .variables
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        match size > MAX_VARIABLES {
            true => Err(
                "the variables of ENV and ARG are larger than 1 MiB together, the limit".to_owned(),
            ),
            false => Ok(()),
        }
    }

    /// Sets a variable of the container's environment.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.env.push((name.to_owned(), value.to_owned())),
        }
    }

    /// The container's environment, `NAME=value`.
    pub(super) fn env(&self) -> Vec<String> {
        self.env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Expands a word with this scope's variables.
    pub(super) fn expand(&self, text: &str, escape: char) -> Result<String, String> {
        words::expand(text, escape, &|name| self.get(name))
    }

    /// Expands a here-document with this scope's variables.
    pub(super) fn expand_document(&self, text: &str) -> Result<String, String> {
        words::expand_document(text, &|name| self.get(name))
    }

    /// [`Scope::expand`] with the position added to the error.
    pub(super) fn expand_at(
        &self,
        text: &str,
        escape: char,
        source: &Source,
        line: usize,
    ) -> Result<String, DockerfileError> {
        self.expand(text, escape)
            .map_err(|problem| source.error(line, problem))
    }

    /// The present value of each name.
    pub(super) fn into_variables(self) -> BTreeMap<String, String> {
        self.variables
    }

    fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}
