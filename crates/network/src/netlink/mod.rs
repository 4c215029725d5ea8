//! The needed part of rtnetlink (rtnetlink(7)): links, addresses and routes.

mod address;
mod link;
mod message;
mod route;
mod socket;
mod watch;

pub(crate) use link::{Change, Link};
pub(crate) use route::RouteContext;
pub(crate) use socket::Requests;
pub(crate) use watch::{LinkEvents, LinkWatch};
