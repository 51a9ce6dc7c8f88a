#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokencast::fuzzing::rows(data));
