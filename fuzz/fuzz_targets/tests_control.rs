//! [`rocbed_fuzz::tests_control`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::tests_control(data));
