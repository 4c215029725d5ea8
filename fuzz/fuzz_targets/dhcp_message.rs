//! [`rocbed_fuzz::dhcp_message`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::dhcp_message(data));
