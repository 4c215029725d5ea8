//! [`rocbed_fuzz::ext4`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::ext4(data));
