//! [`rocbed_fuzz::dsc`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::dsc(data));
