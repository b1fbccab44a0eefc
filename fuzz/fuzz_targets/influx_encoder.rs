//! Reports of any bytes, encoded as line protocol and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::sink::influxdb::check(bytes));
