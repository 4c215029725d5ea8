//! [`rocbed_fuzz::config_space`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::config_space(data));
