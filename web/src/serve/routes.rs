//! Routes: the paths of the service, their methods and formats, and the headers of every response.
//!
//! No other file knows paths, methods or status codes. This file neither collects nor accepts connections.
//!
//! | path | methods | response |
//! |---|---|---|
//! | the stats path, by default `/stats` | GET, HEAD | 200, the sums as JSON |
//! | the stats path | others | 405 |
//! | any other | all | 404 |

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::collector_thread::CollectorHandle;
use super::error::{AnswerError, HostError, RequestError};
use super::host_check::check_host;
use super::panics::Panics;
use crate::collect::CollectError;
use crate::encode::Format;

const METHODS: &str = "GET, HEAD";

/// What every request needs.
pub(super) struct Routes {
    pub(super) stats_path: String,
    pub(super) collector: CollectorHandle,
    pub(super) panics: Arc<Panics>,
}

impl Routes {
    /// Answers one request that arrived at the address `served_on`. Does not read the request's body.
    pub(super) async fn answer<B>(&self, served_on: IpAddr, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let response = async {
            let result = self.route(served_on, request).await;
            result.unwrap_or_else(|err| error_response(&err, path))
        };
        let result = self.panics.guard(response).await;
        result.unwrap_or_else(|panicked| error_response(&RequestError::Panicked(panicked), path))
    }

    async fn route<B>(
        &self,
        served_on: IpAddr,
        request: &Request<B>,
    ) -> Result<Response<Full<Bytes>>, RequestError> {
        check_host(served_on, request.version(), request.uri(), request.headers())?;
        let format = self
            .format_at(request.uri().path())
            .ok_or_else(|| RequestError::NotFound { stats_path: self.stats_path.clone() })?;
        match *request.method() {
            // hyper sends the length of the body in response to HEAD, and drops the body.
            Method::GET | Method::HEAD => {
                Ok(response(StatusCode::OK, format, self.collector.request(format).await?))
            }
            _ => Err(RequestError::MethodNotAllowed { allowed: METHODS }),
        }
    }

    fn format_at(&self, path: &str) -> Option<Format> {
        (path == self.stats_path).then_some(Format::Json)
    }
}

fn status_of(err: &RequestError) -> StatusCode {
    match err {
        RequestError::Host(HostError::Foreign { .. }) => StatusCode::FORBIDDEN,
        RequestError::Host(_) => StatusCode::BAD_REQUEST,
        RequestError::NotFound { .. } => StatusCode::NOT_FOUND,
        RequestError::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        RequestError::Answer(err) => status_of_answer(err),
        RequestError::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn status_of_answer(err: &AnswerError) -> StatusCode {
    match err {
        AnswerError::TimedOut { .. } | AnswerError::Collect(CollectError::ResourceExhausted(_)) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn error_response(err: &RequestError, path: &str) -> Response<Full<Bytes>> {
    let body = json!({ "message": err.to_string(), "path": path }).to_string();
    let mut response = response(status_of(err), Format::Json, body.into());
    if let RequestError::MethodNotAllowed { allowed } = err {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn response(status: StatusCode, format: Format, body: Bytes) -> Response<Full<Bytes>> {
    // hyper adds `Content-Length`.
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
