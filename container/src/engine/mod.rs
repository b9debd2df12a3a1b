//! The builder that asks a Docker-compatible engine.
