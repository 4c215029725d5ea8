//! [`Endpoint`]: the description of a route, for the router and for the OpenAPI document.

use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::hub::Shared;

/// The token that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// The join token.
    Joining,
    /// A worker's token.
    Worker,
    /// The admin token.
    Admin,
    /// None, or any token if the hub is not public.
    Reader,
}

/// Function that adds a type's schema to the document.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Body of a request or an answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Nothing,
    Json(SchemaOf),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// A route of the API.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    /// Path after the prefix, with parameters in braces.
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) who: For,
    pub(crate) query: &'static [(&'static str, &'static str)],
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) request: Content,
    pub(crate) status: u16,
    pub(crate) answer: Content,
    pub(crate) handler: MethodRouter<Shared>,
}

/// The content of a type in JSON.
pub(crate) fn json<T: JsonSchema>() -> Content {
    Content::Json(SchemaGenerator::subschema_for::<T>)
}

impl Endpoint {
    pub(crate) fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        who: For,
        handler: MethodRouter<Shared>,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary: "",
            who,
            query: &[],
            headers: &[],
            request: Content::Nothing,
            status: 200,
            answer: Content::Nothing,
            handler,
        }
    }

    pub(crate) fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    pub(crate) fn takes(mut self, request: Content) -> Self {
        self.request = request;
        self
    }

    pub(crate) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn answers(mut self, status: u16, answer: Content) -> Self {
        (self.status, self.answer) = (status, answer);
        self
    }
}
