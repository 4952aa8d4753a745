//! ApiVersions: which APIs are served, in which versions.

use crate::dispatch::Context;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

/// The first version in which a client says what it is.
const NAMED_FROM: i16 = 3;

/// Answers from the table of APIs.
pub async fn handle(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if context.header.version >= NAMED_FROM {
        let name = &request.client_software_name;
        if !is_plain(name) || !is_plain(&request.client_software_version) {
            let error_code = ErrorCode::InvalidRequest.code();
            return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
        }
    }
    ApiVersionsResponse::advertised()
}

/// Whether a client's name or version is as KIP-511 wants it: letters, digits, dots and hyphens,
/// beginning and ending with a letter or a digit.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}
