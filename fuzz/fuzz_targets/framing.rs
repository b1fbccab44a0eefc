//! Any bytes as a stream, cut into segments anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::source::framing::check_framing(bytes));
