//! [`rocbed_fuzz::dns_collector`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::dns_collector(data));
