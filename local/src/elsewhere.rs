//! The local provider where there is none: everything compiles, and nothing can be opened.
//!
//! It is compiled for tests on Linux too, so that it does not rot unseen.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use landfall_compute::{
    ComputeProvider, GroupCapacity, GroupInstance, HostKey, Release, ReleaseNote, Scaling,
    SingleInstance, SingleProvider,
};
use landfall_container::{Digest, Image, PrebuildImage};
use landfall_lb::{LbProvider, TargetHealth};
use landfall_provider::{
    Attempt, AutoscalingGroupId, Error, ErrorKind, Holder, InstanceId, Key, LaunchTemplateId, Live,
    Plan, Port, Preflight, Probe, Provider, ProviderIdentity, Resource, Result, StackLock,
    StackName, TargetGroupId,
};
use tokio::sync::mpsc;

use crate::LocalOptions;
use crate::inside::{ExecEvent, LogLine, Reached, TerminalKind};

/// The local provider, of which there is none on this system.
#[derive(Debug, Clone)]
pub enum Local {}

impl Local {
    /// Says that the local provider needs Linux.
    ///
    /// # Errors
    /// Always.
    pub fn open(options: LocalOptions) -> Result<Self> {
        drop(options);
        Err(Error::new(
            ErrorKind::Invalid,
            "the local provider needs Linux: it is made of the kernel's namespaces",
        )
        .hint("run Landfall in a Linux machine or virtual machine"))
    }

    /// See the Linux version.
    pub fn dir(&self) -> &Path {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn settle(&self) -> Result<()> {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn logs(&self, _: &InstanceId, _: Option<u64>, _: bool) -> Result<Logs> {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn exec(
        &self,
        _: &InstanceId,
        _: Vec<String>,
        _: Option<TerminalKind>,
    ) -> Result<std::result::Result<(ExecInput, ExecOutput), String>> {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn dial(
        &self,
        _: Ipv4Addr,
        _: u16,
        _: Duration,
    ) -> Result<(Reached, Option<Dialled>)> {
        match *self {}
    }
}

/// The lines of an instance, of which there is none on this system.
#[derive(Debug)]
pub enum Logs {}

impl Logs {
    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn next(&mut self) -> Result<Option<LogLine>> {
        match *self {}
    }
}

/// What a command is told, of which there is none on this system.
#[derive(Debug)]
pub enum ExecInput {}

impl ExecInput {
    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn input(&mut self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn input_ends(&mut self) -> io::Result<()> {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn signal(&mut self, _: u8) -> io::Result<()> {
        match *self {}
    }

    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn resize(&mut self, _: u16, _: u16) -> io::Result<()> {
        match *self {}
    }
}

/// What a command says, of which there is none on this system.
#[derive(Debug)]
pub enum ExecOutput {}

impl ExecOutput {
    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn next(&mut self) -> Result<ExecEvent> {
        match *self {}
    }
}

/// A connection into the cloud's network, of which there is none on this system.
#[derive(Debug)]
pub enum Dialled {}

impl Dialled {
    /// See the Linux version.
    ///
    /// # Errors
    /// Never: there is no such value.
    pub async fn carry(
        self,
        _: mpsc::Receiver<Vec<u8>>,
        _: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<()> {
        match self {}
    }
}

#[async_trait]
impl PrebuildImage for Local {
    async fn prebuild(&self, _: &Key, _: &Image) -> Result<Digest> {
        match *self {}
    }
}

#[async_trait]
impl<R: Resource> Provider<R> for Local {
    async fn list(&self, _: &StackName) -> Result<Vec<Live<R>>> {
        match *self {}
    }
    async fn create(&self, _: &StackName, _: &Key, _: &R) -> Result<R::Id> {
        match *self {}
    }
    async fn update(&self, _: &Live<R>, _: &R) -> Result<()> {
        match *self {}
    }
    async fn probe(&self, _: &R::Id) -> Result<Probe<R::Output>> {
        match *self {}
    }
    async fn delete(&self, _: &Live<R>) -> Result<()> {
        match *self {}
    }
}

#[async_trait]
impl SingleProvider for Local {
    async fn standing(&self, _: &InstanceId, _: Port) -> Result<Option<SingleInstance>> {
        match *self {}
    }
    async fn stop(&self, _: &InstanceId) -> Result<()> {
        match *self {}
    }
    async fn start(&self, _: &InstanceId) -> Result<()> {
        match *self {}
    }
}

#[async_trait]
impl ComputeProvider for Local {
    async fn group_instances(&self, _: &AutoscalingGroupId) -> Result<Vec<GroupInstance>> {
        match *self {}
    }
    async fn roll(&self, _: &AutoscalingGroupId, _: &LaunchTemplateId, _: u32) -> Result<()> {
        match *self {}
    }
    async fn roll_back(&self, _: &AutoscalingGroupId, _: &str) -> Result<()> {
        match *self {}
    }
    async fn rolling(&self, _: &AutoscalingGroupId) -> Result<Probe<()>> {
        match *self {}
    }
    fn note_releases(&self, _: ReleaseNote) {
        match *self {}
    }
    async fn releases(&self, _: &LaunchTemplateId, _: &AutoscalingGroupId) -> Result<Vec<Release>> {
        match *self {}
    }
    async fn capacity(&self, _: &AutoscalingGroupId) -> Result<GroupCapacity> {
        match *self {}
    }
    async fn scale(&self, _: &AutoscalingGroupId, _: u32) -> Result<()> {
        match *self {}
    }
    async fn last_scaling(&self, _: &AutoscalingGroupId) -> Result<Option<Scaling>> {
        match *self {}
    }
    async fn last_output(&self, _: &InstanceId, _: usize) -> Result<Vec<String>> {
        match *self {}
    }
    async fn host_keys(&self, _: &InstanceId) -> Result<Vec<HostKey>> {
        match *self {}
    }
}

#[async_trait]
impl LbProvider for Local {
    async fn target_health(&self, _: &TargetGroupId) -> Result<Vec<TargetHealth>> {
        match *self {}
    }
}

#[async_trait]
impl StackLock for Local {
    async fn lock(&self, _: &StackName, _: &Holder) -> Result<Attempt> {
        match *self {}
    }
    async fn holder(&self, _: &StackName) -> Result<Option<Holder>> {
        match *self {}
    }
    async fn break_lock(&self, _: &StackName, _: &Holder) -> Result<()> {
        match *self {}
    }
}

#[async_trait]
impl Preflight for Local {
    async fn preflight(&self, _: &Plan) -> Result<Vec<Error>> {
        match *self {}
    }
}

#[async_trait]
impl ProviderIdentity for Local {
    async fn provider_identity(&self) -> Result<String> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_needs() {
        let error = Local::open(LocalOptions::default()).unwrap_err();
        assert!(error.to_string().contains("needs Linux"), "{error}");
    }
}
