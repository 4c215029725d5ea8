//! [`rocbed_fuzz::root_verity`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::root_verity(data));
