//! [`rocbed_fuzz::deb822`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::deb822(data));
