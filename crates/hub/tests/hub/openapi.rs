//! The OpenAPI document held against the hub.
