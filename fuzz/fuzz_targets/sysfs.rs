//! [`rocbed_fuzz::sysfs`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::sysfs(data));
