//! [`rocbed_fuzz::root_index`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::root_index(data));
