//! [`rocbed_fuzz::kernel_faults`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::kernel_faults(data));
