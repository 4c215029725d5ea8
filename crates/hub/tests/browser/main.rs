//! The hub's pages in a browser: headless Chromium. Pictures of them are left in `target/screenshots`.

#[path = "../hub/support.rs"]
#[allow(dead_code)]
mod support;

mod chromium;
mod hostile;
mod live;
mod log;
mod looks;
mod sample;
