//! The system calls of this benchmark, and so all its `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::corpus::Corpus;

/// Keeps this process, and what it starts from now on, on one CPU.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: a zeroed set is an empty one; the size is that of the set given.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        if libc::sched_setaffinity(0, size_of_val(&set), &set) != 0 {
            eprintln!("cannot stay on cpu {cpu}: {}", io::Error::last_os_error());
        }
    }
}

/// Wakes from sleep as punctually as the system can.
pub(crate) fn be_punctual() {
    // SAFETY: no pointer is passed.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// User and system time of this process so far.
pub(crate) fn cpu_time() -> Duration {
    // SAFETY: `usage` is valid for writes and zero is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn set(fd: RawFd, level: i32, option: i32, value: i32) -> bool {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`.
    unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) == 0 }
}

/// Asks for a receive buffer, beyond the system's limit where that is allowed.
pub(crate) fn set_receive_buffer(socket: &UdpSocket, bytes: i32) {
    let fd = socket.as_raw_fd();
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        || set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
}

/// What the kernel holds for a socket, and what it dropped.
pub(crate) fn held_and_drops(socket: &UdpSocket) -> (u32, u32) {
    let mut info = [0u32; 9];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: pointer and length are those of `info`.
    unsafe {
        let to = info.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &mut len);
    }
    (info[0], info[8])
}

/// The leanest receiver there is: as many datagrams a call as a batch holds, into the same memory, looked at by nobody.
pub(crate) struct Bare {
    headers: Vec<libc::mmsghdr>,
    _rooms: Vec<libc::iovec>,
    bytes: Vec<u8>,
    received: usize,
}

impl Bare {
    const BATCH: usize = 64;
    const ROOM: usize = 2048;

    /// Its buffers.
    pub(crate) fn new() -> Bare {
        let mut bytes = vec![0u8; Self::BATCH * Self::ROOM];
        let start = bytes.as_mut_ptr();
        let mut rooms: Vec<libc::iovec> = (0..Self::BATCH)
            .map(|i| libc::iovec { iov_base: start.wrapping_add(i * Self::ROOM).cast(), iov_len: Self::ROOM })
            .collect();
        let headers = headers(&mut rooms);
        Bare { headers, _rooms: rooms, bytes, received: 0 }
    }

    /// Waits for datagrams as long as the socket's timeout. Returns how many.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> u64 {
        // SAFETY: each header points to one iovec, and that to `ROOM` bytes of its own (`new`).
        let n = unsafe {
            let (headers, flags) = (self.headers.as_mut_ptr(), libc::MSG_WAITFORONE);
            libc::recvmmsg(socket.as_raw_fd(), headers, Self::BATCH as u32, flags as _, ptr::null_mut())
        };
        self.received = n.max(0) as usize;
        self.received as u64
    }

    /// The LFs of what was received last.
    pub(crate) fn line_ends(&self) -> usize {
        let datagrams = self.bytes.chunks(Self::ROOM).zip(&self.headers[..self.received]);
        let ends = |(room, header): (&[u8], &libc::mmsghdr)| {
            memchr::memchr_iter(b'\n', &room[..(header.msg_len as usize).min(Self::ROOM)]).count()
        };
        datagrams.map(ends).sum()
    }
}

/// Datagrams ready to be sent again and again.
pub(crate) struct Messages<'a> {
    headers: Vec<libc::mmsghdr>,
    /// Datagrams and lines of each message.
    sizes: Vec<(u64, u64)>,
    _rooms: Vec<libc::iovec>,
    _controls: Vec<Control>,
    _corpus: &'a Corpus,
}

/// Room for UDP_SEGMENT.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 24]);

impl<'a> Messages<'a> {
    /// With `merged`, datagrams of equal length are one message, which the kernel cuts up: a much cheaper sender for
    /// the same datagrams.
    pub(crate) fn new(corpus: &'a Corpus, merged: bool) -> Messages<'a> {
        let (mut rooms, mut controls, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = &corpus.datagrams[..];
        while let Some(first) = rest.first() {
            let len = first.at.len();
            let most = if merged { (65_000 / len).min(64) } else { 1 };
            let n = rest.iter().take(most).take_while(|datagram| datagram.at.len() == len).count();
            let bytes = &corpus.bytes[first.at.start..rest[n - 1].at.end];
            rooms.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
            controls.push(segment(len as u16));
            sizes.push((n as u64, rest[..n].iter().map(|datagram| u64::from(datagram.lines)).sum()));
            rest = &rest[n..];
        }
        let mut headers = headers(&mut rooms);
        for ((header, control), (datagrams, _)) in headers.iter_mut().zip(&mut controls).zip(&sizes) {
            if *datagrams > 1 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            }
        }
        shuffle(&mut headers, &mut sizes);
        Messages { headers, sizes, _rooms: rooms, _controls: controls, _corpus: corpus }
    }

    /// How many messages.
    pub(crate) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Datagrams and lines of message `i`.
    pub(crate) fn size(&self, i: usize) -> (u64, u64) {
        self.sizes[i]
    }

    /// Sends messages from `first` to before `last`; returns the index behind the last that was sent.
    pub(crate) fn send(&mut self, socket: &UdpSocket, first: usize, last: usize) -> io::Result<usize> {
        let headers = &mut self.headers[first..last];
        // SAFETY: each header points to one iovec and perhaps one control, which live as long as `self`; the bytes
        // belong to the corpus and are only read.
        let n = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, 0) };
        if n < 0 { Err(io::Error::last_os_error()) } else { Ok(first + n as usize) }
    }
}

/// Lengths must not come in order: no client sends so.
fn shuffle(headers: &mut [libc::mmsghdr], sizes: &mut [(u64, u64)]) {
    let mut state = 1u64;
    for i in (1..headers.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let j = (state >> 33) as usize % (i + 1);
        headers.swap(i, j);
        sizes.swap(i, j);
    }
}

fn headers(rooms: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    let first = rooms.as_mut_ptr();
    (0..rooms.len())
        .map(|i| {
            // SAFETY: all zeroes is a valid value of this C structure.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = first.wrapping_add(i);
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect()
}

fn segment(len: u16) -> Control {
    let mut control = Control([0; 24]);
    // SAFETY: the array has room for one control message with a u16 and is aligned as its header.
    unsafe {
        let header: *mut libc::cmsghdr = control.0.as_mut_ptr().cast();
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        (*header).cmsg_len = libc::CMSG_LEN(2) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast(), len);
    }
    control
}
