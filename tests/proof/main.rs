//! The promises of `docs/reliability.md` on the running daemon: killed, cut off from its stores, kept under load.
//!
//! As `cargo test` runs it it takes seconds. `KANEDA_PROOF_ROUNDS` says how often it is killed, `KANEDA_PROOF_OUTAGE` for
//! how many seconds a store is away, `KANEDA_PROOF_SOAK` how long the soak lasts and `KANEDA_PROOF_FAULT` how often there is
//! a fault in it; `KANEDA_PROOF_SEED` decides the order of the faults, and is printed; `KANEDA_TEST_BINARY` names the binary.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod crash;
mod load;
#[path = "../daemon/network.rs"]
mod network;
#[cfg(feature = "influxdb")]
mod outage;
#[path = "../daemon/process.rs"]
mod process;
#[cfg(feature = "influxdb")]
#[path = "../proxy/mod.rs"]
mod proxy;
#[cfg(feature = "influxdb")]
mod soak;
mod stores;

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
