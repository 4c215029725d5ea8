//! Job list and results.
mod app;
mod bundle;
mod clock;
mod config;
mod core;
mod error;
mod http;
mod hub;
mod metrics;
mod pages;
mod serve;
mod store;
mod tls;
mod token;

pub use bundle::{BundleError, check_bundle};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use error::HubError;
pub use hub::Hub;
pub use serve::{Listener, until_signal};
pub use tls::Tls;

/// The OpenAPI document of the API (OpenAPI 3.1).
pub fn openapi() -> serde_json::Value {
    http::openapi::document()
}
