//! [`rocbed_fuzz::http_date`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::http_date(data));
