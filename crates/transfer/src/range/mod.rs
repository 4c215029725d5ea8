//! Byte ranges (RFC 9110, section 14).

mod content;
mod request;

pub use content::{ContentRange, ContentRangeError};
pub use request::RequestedRange;
