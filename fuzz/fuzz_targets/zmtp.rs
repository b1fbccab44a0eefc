//! Any bytes as an application sends them over ZeroMQ.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::source::zmq::check(bytes));
