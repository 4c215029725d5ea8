//! [`rocbed_fuzz::boot_entry`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::boot_entry(data));
