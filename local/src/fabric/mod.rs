//! the network of the embedded cloud.
