//! The `landfall` program as a library, so that `cargo xtask` in a checkout has the same commands.

mod args;
mod exit;
mod output;
mod progress;
mod render;
mod stop;
