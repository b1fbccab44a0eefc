//! Any bytes, read as a stream of lines in both dialects.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::protocol::check(bytes));
