//! One connection: frames, correlation ids, versions.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use ringlog_broker::protocol::codec::{Request, Str, VersionRange};
use ringlog_broker::protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ringlog_broker::protocol::{ErrorCode, decode_response, encode_request};

use super::error::{ClientError, check};

const CLIENT_ID: &str = "ringlogctl";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is accepted.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The version of ApiVersions that is tried first, and the one that every broker answers.
const API_VERSIONS_FIRST: i16 = 3;
const API_VERSIONS_FALLBACK: i16 = 0;

/// A blocking connection whose server has said which versions it serves. After an error it is of
/// no further use.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
    served: BTreeMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects and negotiates. `answer_timeout` bounds the wait for every answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`] if there is no server, or any error of the first request.
    pub fn open(address: &str, answer_timeout: Duration) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { address: address.to_owned(), source };
        let stream = connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(answer_timeout)).map_err(failed)?;
        stream.set_write_timeout(Some(answer_timeout)).map_err(failed)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            correlation_id: 0,
            served: BTreeMap::new(),
        };
        connection.negotiate()?;
        Ok(connection)
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The highest version of a request that both sides know.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoCommonVersion`].
    pub fn version<R: Request>(&self) -> Result<i16, ClientError> {
        let known = R::VERSIONS;
        self.served
            .get(&R::API.code())
            .filter(|(min, max)| 0 <= *min && min <= max)
            .and_then(|&(min, max)| VersionRange::new(min, max).highest_common(known))
            .ok_or_else(|| ClientError::NoCommonVersion {
                api: R::API,
                address: self.address.clone(),
                known,
            })
    }

    /// Asks at the highest common version, but at most `version_max`, and waits for the answer.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`] but [`ClientError::Refused`]: what the answer says is the caller's.
    pub fn ask_up_to<R: Request>(
        &mut self,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>()?.min(version_max);
        let answer = self.exchange(request, version)?;
        self.decode::<R>(answer, version)
    }

    /// Asks at the highest common version and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`Connection::ask_up_to`].
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        self.ask_up_to(i16::MAX, request)
    }

    fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static(CLIENT_ID),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        };
        let answer = self.exchange(&request, API_VERSIONS_FIRST)?;
        // A server that does not know the version says so in a body of version 0.
        let code = answer.get(4..6).and_then(|code| code.first_chunk::<2>());
        let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
        let response: ApiVersionsResponse = if code == Some(&unsupported) {
            let answer = self.exchange(&request, API_VERSIONS_FALLBACK)?;
            self.decode::<ApiVersionsRequest>(answer, API_VERSIONS_FALLBACK)?
        } else {
            self.decode::<ApiVersionsRequest>(answer, API_VERSIONS_FIRST)?
        };
        check(response.error_code, None, || format!("negotiating with {}", self.address))?;
        self.served = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(())
    }

    fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let client_id = Str::from_static(CLIENT_ID);
        let gather = encode_request(request, version, self.correlation_id, Some(&client_id))?;
        let parts = gather.into_parts();
        self.transfer(&parts).map_err(|source| ClientError::Exchange {
            api: R::API,
            address: self.address.clone(),
            source: timeout_in_words(source),
        })
    }

    fn transfer(&mut self, parts: &[Bytes]) -> io::Result<Bytes> {
        for part in parts {
            self.stream.write_all(part)?;
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let stated = i32::from_be_bytes(length);
        let length = usize::try_from(stated).ok().filter(|&length| length <= ANSWER_BYTES_MAX);
        let Some(length) = length else {
            let text = format!("answer of {stated} bytes; at most {ANSWER_BYTES_MAX} are accepted");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(Bytes::from(answer))
    }

    fn decode<R: Request>(&self, answer: Bytes, version: i16) -> Result<R::Response, ClientError> {
        let (found, response) = decode_response::<R>(answer, version).map_err(|source| {
            ClientError::Decode { api: R::API, address: self.address.clone(), source }
        })?;
        let expected = self.correlation_id;
        if found != expected {
            let address = self.address.clone();
            return Err(ClientError::Correlation { address, expected, found });
        }
        Ok(response)
    }
}

/// Tries each address that a name has.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn timeout_in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "no answer within the time allowed")
        }
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")
        }
        _ => error,
    }
}
