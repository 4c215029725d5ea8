//! [`rocbed_fuzz::stick_settings`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::stick_settings(data));
