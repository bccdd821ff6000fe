//! HTTP requests to elsewhere, each with a time limit and a size limit, none following redirects.

use gloo_net::http::{Method, Response};
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, RequestRedirect};

use super::abort::TimeLimit;
use super::body::{self, BodyError};

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The verb.
    pub method: Method,
    /// An absolute URL.
    pub url: &'a str,
    /// Names and values; a value that [`is_header_value`] refuses must not come here.
    pub headers: &'a [(&'a str, &'a str)],
    /// A JSON text, or nothing.
    pub body: Option<&'a str>,
    /// Milliseconds until the whole answer must have arrived.
    pub timeout_ms: u32,
    /// Bytes that the body of the answer may have.
    pub max_bytes: usize,
}

/// An answer, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The HTTP status.
    pub status: u16,
    /// The body as text; bytes that are no UTF-8 are replaced.
    pub body: String,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nothing listens at the address.
    #[error("connection refused")]
    Refused,
    /// The host name does not resolve.
    #[error("host name not found")]
    NameNotFound,
    /// No trusted TLS connection could be made.
    #[error("no trusted TLS connection")]
    Tls,
    /// The connection broke.
    #[error("connection broken")]
    Broken,
    /// Not complete within the time limit.
    #[error("no answer in time")]
    TimedOut,
    /// Larger than the size limit.
    #[error("answer too large")]
    TooLarge,
}

/// Whether `value` can be sent as the value of a header.
pub fn is_header_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Sends a request and reads its answer.
///
/// # Errors
/// [`FetchError`], as it says. An answer of any status is no error.
pub async fn fetch(request: Outgoing<'_>) -> Result<Incoming, FetchError> {
    let max_bytes = request.max_bytes;
    exchange(request, async |response| {
        receive(&response, max_bytes).await
    })
    .await
}

/// Sends a request and gives the status of its answer, whose body nobody reads.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_status(request: Outgoing<'_>) -> Result<u16, FetchError> {
    exchange(request, async |response| {
        body::abandon(response.body().as_ref());
        Ok(response.status())
    })
    .await
}

/// Sends a request and reads its answer, and when the server says that it is: its header `Date`, in
/// milliseconds since the Unix epoch, whole seconds.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_dated(request: Outgoing<'_>) -> Result<(Incoming, Option<i64>), FetchError> {
    let max_bytes = request.max_bytes;
    exchange(request, async |response| {
        let date_ms = response
            .headers()
            .get("date")
            .and_then(|date| date_ms(&date));
        Ok((receive(&response, max_bytes).await?, date_ms))
    })
    .await
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a date has at most 54 bits"
)]
fn date_ms(date: &str) -> Option<i64> {
    let ms = js_sys::Date::parse(date);
    ms.is_finite().then_some(ms as i64)
}

/// Sends a request and does `read` with its answer, both within the time limit.
async fn exchange<T>(
    request: Outgoing<'_>,
    read: impl AsyncFnOnce(Response) -> Result<T, FetchError>,
) -> Result<T, FetchError> {
    let limit = TimeLimit::start(request.timeout_ms).map_err(|error| from_js(&error))?;
    let answer = match send(request, limit.signal()).await {
        Ok(response) => read(response).await,
        Err(error) => Err(error),
    };
    limit.end();
    answer
}

/// Not by gloo-net's builder, which parses the URL three times and makes two `Request`s, before
/// `fetch` makes its own.
async fn send(request: Outgoing<'_>, signal: &AbortSignal) -> Result<Response, FetchError> {
    let headers = Record::new();
    for (name, value) in request.headers {
        headers.set(name, value);
    }
    let init = RequestInit::new();
    init.set_method(request.method.as_str());
    init.set_headers(&headers);
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(signal));
    if let Some(text) = request.body {
        init.set_body(&JsValue::from_str(text));
    }
    JsFuture::from(global_fetch(request.url, &init))
        .await
        .and_then(JsCast::dyn_into::<web_sys::Response>)
        .map(Response::from)
        .map_err(|error| from_js(&error))
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Promise;

    /// A plain object of strings.
    #[wasm_bindgen(extends = js_sys::Object)]
    type Record;

    #[wasm_bindgen(constructor, js_class = "Object")]
    fn new() -> Record;

    #[wasm_bindgen(method, indexing_setter)]
    fn set(this: &Record, name: &str, value: &str);
}

async fn receive(response: &Response, max_bytes: usize) -> Result<Incoming, FetchError> {
    let status = response.status();
    let body = read(response, max_bytes).await?;
    Ok(Incoming { status, body })
}

/// Reads the body of an answer: by its length where that is known beforehand, else chunk by chunk.
async fn read(response: &Response, max_bytes: usize) -> Result<String, FetchError> {
    let headers = response.headers();
    match body::promised_length(|name| headers.get(name)) {
        Some(length) if length > max_bytes as u64 => {
            body::abandon(response.body().as_ref());
            Err(FetchError::TooLarge)
        }
        Some(_) => response.text().await.map_err(|error| from_gloo(&error)),
        None => match response.body() {
            None => Ok(String::new()),
            Some(stream) => match body::read_stream(&stream, max_bytes).await {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(BodyError::TooLarge) => Err(FetchError::TooLarge),
                Err(BodyError::Failed(error)) => Err(from_js(&error)),
            },
        },
    }
}

fn from_gloo(error: &gloo_net::Error) -> FetchError {
    match error {
        gloo_net::Error::JsError(error) => classify(&error.name, &error.message),
        _ => FetchError::Broken,
    }
}

fn from_js(error: &JsValue) -> FetchError {
    error
        .dyn_ref::<js_sys::Error>()
        .map_or(FetchError::Broken, |error| {
            classify(&String::from(error.name()), &String::from(error.message()))
        })
}

/// The runtime tells the kinds of failure apart only in its message (Deno 2.1.4). The message
/// itself goes no further: it holds the URL.
fn classify(name: &str, message: &str) -> FetchError {
    // Not in the URL, which stands before this.
    let cause = message
        .rfind("client error")
        .map_or(message, |start| &message[start..]);
    let says = |text: &str| cause.contains(text);
    if name == "AbortError" || says("timed out") {
        FetchError::TimedOut
    } else if says("dns error") {
        FetchError::NameNotFound
    } else if says("Connection refused") {
        FetchError::Refused
    } else if says("certificate") || says("tls") || says("corrupt message") {
        FetchError::Tls
    } else {
        FetchError::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_messages_are_told_apart() {
        let url = "error sending request for url (https://tls-certificate.invalid/): client error (Connect): ";
        for (name, message, expected) in [
            (
                "AbortError",
                "The signal has been aborted",
                FetchError::TimedOut,
            ),
            (
                "TypeError",
                "tcp connect error: Connection refused (os error 111)",
                FetchError::Refused,
            ),
            (
                "TypeError",
                "dns error: failed to lookup address information",
                FetchError::NameNotFound,
            ),
            ("TypeError", "tls handshake eof", FetchError::Tls),
            (
                "TypeError",
                "invalid peer certificate: UnknownIssuer",
                FetchError::Tls,
            ),
            (
                "TypeError",
                "connection closed before message completed",
                FetchError::Broken,
            ),
        ] {
            assert_eq!(
                classify(name, &format!("{url}{message}")),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn a_header_value_is_visible_ascii() {
        assert!(is_header_value("B6D711FC-DE4D-4FD5-9365-44120E713976"));
        for bad in ["", "a b", "chave\n", "chave-é", "\u{1f511}"] {
            assert!(!is_header_value(bad), "{bad:?}");
        }
    }
}
