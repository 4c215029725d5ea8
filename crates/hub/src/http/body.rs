//! Request bodies, read with a size limit and a timeout.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt;
use protocol::api::{Problem, ProblemCode};
use serde::de::DeserializeOwned;

use crate::http::answer::Refused;
use crate::hub::Shared;

/// A JSON document in a request. Errors name the path of the field.
#[derive(Debug)]
pub(crate) struct Document<T>(pub(crate) T);

/// The next bytes of a body; `None` at its end.
pub(crate) async fn next(body: &mut Body, shared: &Shared) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = match tokio::time::timeout(shared.config.patience, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return Err(Problem::new(ProblemCode::BadRequest, format!("the body was cut: {error}")).into());
            }
            Err(_) => {
                let seconds = shared.config.patience.as_secs_f64();
                return Err(Problem::new(ProblemCode::TooSlow, format!("nothing came for {seconds} s")).into());
            }
        };
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn whole(body: &mut Body, limit: u64, shared: &Shared) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(data) = next(body, shared).await? {
        if (bytes.len() as u64).saturating_add(data.len() as u64) > limit {
            return Err(Problem::new(ProblemCode::TooLarge, format!("the body has more than {limit} bytes")).into());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

impl<T: DeserializeOwned + Send> FromRequest<Shared> for Document<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Refused> {
        let bytes = whole(&mut request.into_body(), shared.config.max_json, shared).await?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        match serde_path_to_error::deserialize(&mut reader) {
            Ok(value) => match reader.end() {
                Ok(()) => Ok(Self(value)),
                // Silently ignored, the rest of the body would be missed later.
                Err(error) => {
                    let text = format!("there is something after the document: {error}; send one document a request");
                    Err(Problem::new(ProblemCode::BadRequest, text).into())
                }
            },
            Err(error) => {
                let path = error.path().to_string();
                let inner = error.into_inner();
                let code = if inner.is_data() { ProblemCode::Invalid } else { ProblemCode::BadRequest };
                let detail = if path == "." { inner.to_string() } else { format!("{path}: {inner}") };
                Err(Problem::new(code, detail).into())
            }
        }
    }
}
