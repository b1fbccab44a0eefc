//! Sockets that another process bound and passed on: they are read as they are, and outlive this process.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;

use socket2::{Protocol, Socket as RawSocket, Type};
use tracing::warn;

use super::drops::Drops;
#[cfg(target_os = "linux")]
use super::sys;
use super::{Config, Socket, ask_for_buffer, granted, shortfall};
use crate::source::address;

/// Takes over sockets that another process bound and passed on, instead of `listen`: one for each worker. Where they
/// are fewer, workers share them; where they are more, each of them is read all the same. The error names the key to
/// change.
///
/// # Panics
///
/// When `passed` is empty.
pub fn inherit(config: &Config, passed: Vec<RawSocket>) -> io::Result<Vec<Socket>> {
    config.check().map_err(address::invalid)?;
    let mut sockets =
        passed.into_iter().map(|raw| inherit_one(raw, config)).collect::<io::Result<Vec<_>>>()?;
    for worker in sockets.len()..config.workers.get() {
        // The kernel hands each datagram to one of those who read.
        let own = &sockets[worker % sockets.len()];
        let (socket, drops) = (own.socket.try_clone()?, own.drops.clone());
        sockets.push(Socket { socket, granted: own.granted, drops, dropped_before: 0 });
    }
    let least = sockets.iter().map(|socket| socket.granted).min();
    if let Some(warning) = least.and_then(|granted| shortfall(config, granted)) {
        warn!("{warning}; or set ReceiveBuffer= where the socket is made");
    }
    Ok(sockets)
}

fn inherit_one(raw: RawSocket, config: &Config) -> io::Result<Socket> {
    raw.set_nonblocking(true)?;
    let granted = raise_buffer(&raw, config.receive_buffer.bytes() as usize)?;
    #[cfg(target_os = "linux")]
    sys::count_drops(raw.as_fd())?;
    #[cfg(target_os = "linux")]
    let dropped_before = sys::drops(raw.as_fd()).unwrap_or(0);
    #[cfg(not(target_os = "linux"))]
    let dropped_before = 0;
    Ok(Socket { socket: raw.into(), granted, drops: Drops::after(dropped_before), dropped_before })
}

/// Asks for a receive buffer of `bytes` if the socket has a smaller one. Returns what it has then.
fn raise_buffer(socket: &RawSocket, bytes: usize) -> io::Result<usize> {
    // Who made it may have asked for more, or had the right to more, than this process, whose asking would then make the
    // buffer smaller: so what would be granted is tried first.
    let had = granted(socket)?;
    let other = RawSocket::new(socket.local_addr()?.domain(), Type::DGRAM, Some(Protocol::UDP))?;
    if ask_for_buffer(&other, bytes)? > had { ask_for_buffer(socket, bytes) } else { Ok(had) }
}
