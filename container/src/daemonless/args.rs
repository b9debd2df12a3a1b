//! Which value a variable has: build arguments, `ARG`, `ENV`, and the platform's own.

use std::collections::{BTreeMap, BTreeSet};

use parse_dockerfile::Span;

use super::dockerfile::Source;
use super::words;
use crate::request::Platform;
use crate::{DockerfileError, Result};

/// The variables of one scope: those before the first `FROM`, or those of one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// `ARG`s: known to the Dockerfile, not to the container.
    args: BTreeMap<String, Option<String>>,
    /// `ENV`s, in the order they were set; they win over `ARG`s.
    env: Vec<(String, String)>,
}

/// Where the values of `ARG`s come from.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The request's build arguments.
    build: BTreeMap<String, String>,
    /// `TARGETARCH` and the like, which an `ARG` without a value takes up.
    automatic: BTreeMap<String, String>,
    /// Which build arguments some `ARG` took up.
    used: BTreeSet<String>,
}

impl Given {
    pub(super) fn new(build: &BTreeMap<String, String>, target: &Platform) -> Self {
        let mut automatic = BTreeMap::new();
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

    /// Build arguments that no `ARG` took up, as far as the Dockerfile was read.
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
        lines: &[(String, Span)],
        given: &mut Given,
    ) -> Result<Self> {
        let mut scope = Self::default();
        for (name, value) in &given.automatic.clone() {
            let value = given.value(name).unwrap_or_else(|| value.clone());
            scope.args.insert(name.clone(), Some(value));
        }
        for (text, span) in lines {
            let global = scope.clone();
            scope
                .declare(text, escape, given, &global)
                .map_err(|problem| source.error(span, problem))?;
        }
        Ok(scope)
    }

    /// The scope of a stage built on an image with the environment `env`.
    pub(super) fn stage(env: &[String]) -> Self {
        let env = env.iter().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        });
        Self {
            args: BTreeMap::new(),
            env: env.collect(),
        }
    }

    /// Takes up an `ARG` line. A build argument wins over the line's own default, that over a global `ARG`.
    pub(super) fn declare(
        &mut self,
        text: &str,
        escape: char,
        given: &mut Given,
        global: &Self,
    ) -> Result<(), String> {
        let mut declared = Vec::new();
        for word in words::split(text, escape) {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, Some(self.expand(default, escape)?)),
                None => (word.as_str(), None),
            };
            let name = self.expand(name, escape)?;
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(format!(
                    "{word} names no argument; write ARG NAME or ARG NAME=default"
                ));
            }
            let value = given
                .value(&name)
                .or(default)
                .or_else(|| global.args.get(&name).cloned().flatten());
            declared.push((name, value));
        }
        self.args.extend(declared);
        Ok(())
    }

    /// Sets a variable of the container's environment.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
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

    /// [`Scope::expand`] with the error placed.
    pub(super) fn expand_at(
        &self,
        text: &str,
        escape: char,
        source: &Source,
        span: &Span,
    ) -> Result<String, DockerfileError> {
        self.expand(text, escape)
            .map_err(|problem| source.error(span, problem))
    }

    fn get(&self, name: &str) -> Option<String> {
        let env = self
            .env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone());
        env.or_else(|| self.args.get(name).cloned().flatten())
    }
}
