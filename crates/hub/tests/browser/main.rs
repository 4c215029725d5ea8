//! Tests of the hub's pages in headless Chromium. Screenshots are saved in `target/screenshots`.

#[path = "../hub/support.rs"]
#[allow(dead_code)]
mod support;

mod chromium;
mod hostile;
mod live;
mod log;
mod looks;
mod sample;
