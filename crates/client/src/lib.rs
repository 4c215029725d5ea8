//! Talks to a hub.
