//! [`rocbed_fuzz::hub_log`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::hub_log(data));
