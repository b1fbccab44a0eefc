//! Kaneda, the metrics daemon.
pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod greeting;
pub mod journal;
pub mod logging;
pub mod pipeline;
pub mod probe;
pub mod protocol;
pub mod record;
pub mod secret;
pub mod sink;
pub mod source;
pub mod status;
pub mod telemetry;
pub mod unit;
