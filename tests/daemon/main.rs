//! The daemon as it runs: the real binary over real sockets, and what is then in its stores and its counters.
//!
//! Whatever a test does to it, its sums hold each time it is asked, and it ends with 0 when it is told to.

#![allow(clippy::unwrap_used)]

mod activation;
mod datagram;
#[cfg(target_os = "linux")]
mod disk;
mod full;
mod hostile;
mod http;
mod journal;
mod letters;
mod network;
#[cfg(feature = "influxdb")]
mod outage;
mod page;
mod pipe;
#[cfg(feature = "influxdb")]
mod points;
mod process;
mod repeat;
mod send;
mod shutdown;
mod start;
mod stream;
