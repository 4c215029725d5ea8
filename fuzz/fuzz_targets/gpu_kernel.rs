//! [`rocbed_fuzz::gpu_kernel`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::gpu_kernel(data));
