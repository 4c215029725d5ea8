//! [`rocbed_fuzz::proxy_request`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::proxy_request(data));
