//! The system calls that neither std nor socket2 has, and so all `unsafe` of this source.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Waits, without a timer, until `socket` or `stop` can be read. Returns whether `stop` can.
pub(super) fn wait(socket: BorrowedFd<'_>, stop: BorrowedFd<'_>) -> io::Result<bool> {
    let entry = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut fds = [entry(socket), entry(stop)];
    loop {
        // SAFETY: the pointer and the length are those of `fds`, which outlives the call.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) };
        if ready >= 0 {
            return Ok(fds[1].revents != 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{Slots, count_drops, drops, force_receive_buffer};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::ptr;
    use std::slice;

    use libc::{c_int, c_void, socklen_t};

    /// Asks for a receive buffer beyond `net.core.rmem_max`, which takes CAP_NET_ADMIN.
    pub(in super::super) fn force_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
        set(socket, libc::SO_RCVBUFFORCE, c_int::try_from(bytes).unwrap_or(c_int::MAX))
    }

    /// Asks for the count of dropped datagrams beside what is received (SO_RXQ_OVFL).
    pub(in super::super) fn count_drops(socket: BorrowedFd<'_>) -> io::Result<()> {
        set(socket, libc::SO_RXQ_OVFL, 1)
    }

    fn set(socket: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
        let len = size_of::<c_int>() as socklen_t;
        // SAFETY: the pointer and the length are those of `value`, which outlives the call.
        let answer = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len)
        };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Datagrams that `socket` dropped since it was opened, modulo 2^32 (SO_MEMINFO).
    pub(in super::super) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
        // `SK_MEMINFO_DROPS` of linux/sock_diag.h, the last of nine.
        const DROPS: usize = 8;
        let mut info = [0u32; DROPS + 1];
        let mut len = size_of_val(&info) as socklen_t;
        // SAFETY: the pointer and the length are those of `info`; the kernel writes no more than `len` bytes.
        let answer = unsafe {
            let to = info.as_mut_ptr().cast();
            libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &mut len)
        };
        if answer == 0 { Ok(info[DROPS]) } else { Err(io::Error::last_os_error()) }
    }

    /// What `recvmmsg` fills: for each datagram of a batch a header, room for its bytes and, if asked for, for its
    /// sender's address.
    ///
    /// The headers point into the three buffers. These are allocated once, never grow, and after `new` are only
    /// reached through those pointers until they are freed: so a `Slots` may move, its pointers stay good.
    pub(in super::super) struct Slots {
        headers: Vec<libc::mmsghdr>,
        size: usize,
        _bytes: Vec<u8>,
        _rooms: Vec<libc::iovec>,
        _names: Vec<libc::sockaddr_storage>,
        /// One a batch, on its first datagram: the count of drops only grows, and a socket that has dropped once
        /// would pay for it with each datagram.
        _control: Vec<u64>,
    }

    /// Room for one control message with a u32.
    const CONTROL_WORDS: usize = 4;
    const CONTROL_BYTES: usize = CONTROL_WORDS * size_of::<u64>();

    impl Slots {
        /// `count` slots of `size` bytes each, `stride` apart.
        pub(in super::super) fn new(count: usize, size: usize, stride: usize, peer: bool) -> Self {
            assert!(stride >= size, "slots overlap");
            let mut bytes = vec![0u8; count * stride];
            // SAFETY: all zeroes is a valid value of these C structures.
            let (no_header, no_name): (libc::mmsghdr, libc::sockaddr_storage) =
                unsafe { (mem::zeroed(), mem::zeroed()) };
            let mut names = vec![no_name; if peer { count } else { 0 }];
            let mut control = vec![0u64; CONTROL_WORDS];
            let start = bytes.as_mut_ptr();
            let mut rooms: Vec<libc::iovec> = (0..count)
                .map(|i| libc::iovec { iov_base: start.wrapping_add(i * stride).cast(), iov_len: size })
                .collect();
            let first_room = rooms.as_mut_ptr();
            let first_name = names.as_mut_ptr();
            let mut headers: Vec<libc::mmsghdr> = (0..count)
                .map(|i| {
                    let mut header = no_header;
                    header.msg_hdr.msg_iov = first_room.wrapping_add(i);
                    header.msg_hdr.msg_iovlen = 1;
                    if peer {
                        header.msg_hdr.msg_name = first_name.wrapping_add(i).cast();
                    }
                    header
                })
                .collect();
            if let Some(first) = headers.first_mut() {
                first.msg_hdr.msg_control = control.as_mut_ptr().cast();
            }
            Slots { headers, size, _bytes: bytes, _rooms: rooms, _names: names, _control: control }
        }

        /// How many datagrams a batch can have.
        pub(in super::super) fn len(&self) -> usize {
            self.headers.len()
        }

        /// Receives what is there, without waiting; 0: nothing is.
        pub(in super::super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
            // The kernel overwrote these with the lengths it used.
            if let Some(first) = self.headers.first_mut() {
                first.msg_hdr.msg_controllen = CONTROL_BYTES as _;
                if !first.msg_hdr.msg_name.is_null() {
                    for header in &mut self.headers {
                        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as socklen_t;
                    }
                }
            }
            let count = self.headers.len() as libc::c_uint;
            // SAFETY: every header points to one iovec, and this to `size` bytes that belong to it alone (`new`);
            // name and control are null or point to as many bytes as was set above.
            let n = unsafe {
                let headers = self.headers.as_mut_ptr();
                libc::recvmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT as _, ptr::null_mut())
            };
            if n >= 0 {
                return Ok(n as usize);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            }
        }

        /// The bytes of datagram `i` of the last batch, and whether it was longer than its slot.
        #[inline]
        pub(in super::super) fn datagram(&self, i: usize) -> (&[u8], bool) {
            let header = &self.headers[i];
            let len = (header.msg_len as usize).min(self.size);
            // SAFETY: the slot has `size` initialised bytes, which nothing writes while `self` is borrowed.
            let bytes = unsafe { slice::from_raw_parts((*header.msg_hdr.msg_iov).iov_base.cast(), len) };
            (bytes, header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0)
        }

        /// Who sent datagram `i` of the last batch; `None` if that was not asked for.
        pub(in super::super) fn peer(&self, i: usize) -> Option<IpAddr> {
            let header = &self.headers[i].msg_hdr;
            let name: *mut c_void = header.msg_name;
            if name.is_null() {
                return None;
            }
            // SAFETY: a name that is not null points to a whole `sockaddr_storage`, which is large enough and
            // aligned for every kind of address, and was zeroed before the kernel wrote to it.
            unsafe {
                match c_int::from((*name.cast::<libc::sockaddr_storage>()).ss_family) {
                    libc::AF_INET => {
                        let v4 = (*name.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                        Some(Ipv4Addr::from(v4.to_ne_bytes()).into())
                    }
                    libc::AF_INET6 => {
                        let v6 = (*name.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr;
                        Some(IpAddr::from(Ipv6Addr::from(v6)).to_canonical())
                    }
                    _ => None,
                }
            }
        }

        /// What the kernel had dropped when the first datagram of the last batch came, modulo 2^32; `None`:
        /// nothing so far. Only after a batch that was not empty.
        pub(in super::super) fn drops(&self) -> Option<u32> {
            let header = &self.headers.first()?.msg_hdr;
            // SAFETY: control data of `msg_controllen` bytes as the kernel wrote it, walked by the macros made
            // for it; its data may be unaligned.
            unsafe {
                let mut message = libc::CMSG_FIRSTHDR(header);
                while let Some(at) = message.as_ref() {
                    if (at.cmsg_level, at.cmsg_type) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
                        return Some(ptr::read_unaligned(libc::CMSG_DATA(message).cast()));
                    }
                    message = libc::CMSG_NXTHDR(header, message);
                }
            }
            None
        }
    }
}
