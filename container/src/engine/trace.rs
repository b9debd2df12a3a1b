//! What BuildKit reports about a running build: the fields used here of `moby.buildkit.v1.StatusResponse`.
//!
//! Field numbers are those of `api/services/control/control.proto` in moby/buildkit; fields that are not
//! listed are skipped when decoding.

use prost::Message;

/// One report: what changed since the one before.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    /// Steps that are new or changed.
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    /// What steps wrote.
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<VertexLog>,
    /// What the frontend thinks of the Dockerfile.
    #[prost(message, repeated, tag = "4")]
    pub(super) warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vertex {
    /// Its identity in this build.
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    /// As shown to people: `[build 2/3] RUN make`.
    #[prost(string, tag = "3")]
    pub(super) name: String,
    /// Nothing had to be done.
    #[prost(bool, tag = "4")]
    pub(super) cached: bool,
    /// Set once it started.
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Moment>,
    /// Set once it ended.
    #[prost(message, optional, tag = "6")]
    pub(super) completed: Option<Moment>,
    /// Why it failed; empty if it did not.
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// A part of what a step wrote: any number of lines, or a part of one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexLog {
    /// [`Vertex::digest`].
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    /// The bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) msg: Vec<u8>,
}

/// A warning about the Dockerfile.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexWarning {
    /// The warning in one line.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) short: Vec<u8>,
}

/// A point in time; that there is one is all that matters here.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Moment {}
