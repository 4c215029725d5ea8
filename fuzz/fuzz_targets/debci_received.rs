//! [`rocbed_fuzz::debci_received`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::debci_received(data));
