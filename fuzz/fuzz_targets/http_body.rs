//! Any bytes as a packed body, and packed as one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::source::http::check_body(bytes));
