//! [`rocbed_fuzz::debci_result`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::debci_result(data));
