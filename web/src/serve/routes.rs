//! What is asked for, and what is answered.
//!
//! Owns the paths and the formats behind them, the methods and the headers of every answer: the only file that knows
//! them. It must not collect or accept.
//!
//! | path | methods | answer |
//! |---|---|---|
//! | the stats path, `/stats` | GET, HEAD | 200, the sums as JSON |
//! | the stats path | others | 405 |
//! | any other | all | 404 |

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::answers::{AnswerError, CollectorHandle};
use super::host::{HostError, check_host};
use super::panics::Panics;
use crate::collect::CollectError;
use crate::encode::Format;

const METHODS: &str = "GET, HEAD";

/// All that a request can reach.
pub(super) struct Routes {
    pub(super) stats_path: String,
    pub(super) collector: CollectorHandle,
    pub(super) panics: Arc<Panics>,
}

impl Routes {
    /// Answers one request that came in at this address, whatever happens; its body, if it has one, is not read.
    pub(super) async fn answer<B>(&self, served_on: IpAddr, request: &Request<B>) -> Response<Full<Bytes>> {
        let answer = self.panics.guard(self.route(served_on, request)).await;
        answer.unwrap_or_else(|err| {
            message(StatusCode::INTERNAL_SERVER_ERROR, &err.to_string(), request.uri().path())
        })
    }

    async fn route<B>(&self, served_on: IpAddr, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match check_host(served_on, request.version(), request.uri(), request.headers()) {
            Ok(()) => {}
            Err(err @ HostError::Foreign { .. }) => {
                return message(StatusCode::FORBIDDEN, &err.to_string(), path);
            }
            Err(err) => return message(StatusCode::BAD_REQUEST, &err.to_string(), path),
        }
        let Some(format) = self.format_at(path) else {
            let hint = format!("there is nothing at this path: the stats are at {}", self.stats_path);
            return message(StatusCode::NOT_FOUND, &hint, path);
        };
        match *request.method() {
            // The body of an answer to HEAD is dropped when it is written; its length is sent.
            Method::GET | Method::HEAD => match self.collector.ask(format).await {
                Ok(body) => response(StatusCode::OK, format, body),
                Err(err) => message(status_of(&err), &err.to_string(), path),
            },
            _ => not_allowed(path),
        }
    }

    fn format_at(&self, path: &str) -> Option<Format> {
        (path == self.stats_path).then_some(Format::Json)
    }
}

fn status_of(err: &AnswerError) -> StatusCode {
    match err {
        AnswerError::TooSlow { .. } | AnswerError::Collect(CollectError::ResourceExhausted(_)) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn not_allowed(path: &str) -> Response<Full<Bytes>> {
    let text = format!("the stats can only be read: ask with one of {METHODS}");
    let mut response = message(StatusCode::METHOD_NOT_ALLOWED, &text, path);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

fn message(status: StatusCode, text: &str, path: &str) -> Response<Full<Bytes>> {
    let body = json!({ "message": text, "path": path }).to_string();
    response(status, Format::Json, body.into())
}

fn response(status: StatusCode, format: Format, body: Bytes) -> Response<Full<Bytes>> {
    // hyper adds the length.
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
