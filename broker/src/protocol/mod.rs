//! The Kafka wire protocol: frames, headers, APIs, error codes, and every message as a table.
//!
//! # Use
//!
//! A server cuts a frame, reads its header, and decodes the body by the header's API:
//!
//! ```
//! use bytes::Bytes;
//! use ringlog_broker::protocol::{
//!     ApiKey, ErrorCode, RequestHeader, encode_response,
//!     codec::Message,
//!     messages::{HeartbeatRequest, HeartbeatResponse},
//! };
//!
//! # fn serve(frame: Bytes) -> Result<Vec<Bytes>, Box<dyn std::error::Error>> {
//! let (header, mut body) = RequestHeader::decode(frame)?;
//! assert_eq!(header.api, ApiKey::Heartbeat);
//! let request = HeartbeatRequest::decode_body(&mut body, header.version)?;
//! let response = HeartbeatResponse {
//!     error_code: ErrorCode::UnknownMemberId.code(),
//!     ..HeartbeatResponse::default()
//! };
//! let gather = encode_response(header.api, header.version, header.correlation_id, &response)?;
//! let slices = gather.into_parts(); // for one vectored send, length included
//! # assert_eq!(request.generation_id, 3);
//! # Ok(slices)
//! # }
//! # use ringlog_broker::protocol::encode_request;
//! # let request = HeartbeatRequest { generation_id: 3, ..HeartbeatRequest::default() };
//! # let frame = encode_request(&request, 4, 7, None)?.into_bytes();
//! # assert_eq!(serve(frame.slice(4..))?.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A client does the reverse with [`encode_request`] and [`decode_response`].
//!
//! Strings ([`Str`](codec::Str)), blobs (`Bytes`) and [`Records`](codec::Records) of a decoded
//! message are slices of its frame and keep it in memory; what outlives the request is to be
//! copied out ([`Str::detached`](codec::Str::detached)). In an encoded message, blobs of
//! [`SHARED_BYTES_MIN`](codec::SHARED_BYTES_MIN) bytes and more are handed on uncopied.
//!
//! A decoder never reads past its frame, checks every count against the bytes that remain before
//! it allocates, and takes at most [`DECODED_BYTES_BASE`](codec::DECODED_BYTES_BASE) +
//! [`DECODED_BYTES_PER_FRAME_BYTE`](codec::DECODED_BYTES_PER_FRAME_BYTE) x frame bytes of memory.
//! Unknown tagged fields are passed over. Bytes after a body are an error for
//! [`Message::decode`](codec::Message::decode); a server that must get along with clients that send
//! some uses [`Message::decode_body`](codec::Message::decode_body), which leaves them.
//!
//! # Tables
//!
//! A message is a table, one file per API under [`messages`]:
//!
//! ```text
//! tables! {
//!     /// What the request is for.
//!     request ExampleRequest (Example => ExampleResponse) {      versions from the table in api.rs
//!         /// What the field means.
//!         group_id: Str, 0..;                                    at every version
//!         instance_id: Option<Str>, 3.., nullable = 4..;         from 3 on, may be null from 4 on
//!         epoch: i32, 2..=6, default = -1, ignorable;            left out silently elsewhere
//!         leader: ExampleLeader, 5.., tag = 0, ignorable;        tagged: written unless default
//!         members: Vec<ExampleMember>, 0..;
//!     }
//!     struct ExampleLeader { ... }                               a part of another table
//!     response ExampleResponse (Example) { ... }
//!     record ExampleRecord (0..=2, flexible 2) { ... }           a persisted record: own versions
//! }
//! ```
//!
//! - The version range says where the field exists. Elsewhere decoding gives the default;
//!   encoding leaves it out if it is `ignorable` or holds its default, and is an error otherwise.
//! - `default` is Kafka's default where it is not zero, empty or null. One departure: a nullable
//!   string that every version carries defaults to null here, where Kafka's own classes have the
//!   empty string; nothing on the wire depends on it.
//! - `nullable` is the range in which an `Option` may be null; without it, everywhere.
//! - Tags ascend in the order of the table, which is asserted at compile time.
//!
//! Records of other modules are made by `crate::protocol::codec::tables!` with the `record` head,
//! in a file that imports the types it uses (`Str`, `Bytes`, ...). `flexible` may be left out if
//! no version is. [`Message::encode`](codec::Message::encode) and
//! [`Message::decode`](codec::Message::decode) then work as for messages; a version number before
//! the record, as Kafka's own records have it, is the caller's to read and write.

mod api;
pub mod codec;
mod error_code;
mod header;
pub mod messages;
mod topic_id;

pub use api::ApiKey;
pub use error_code::ErrorCode;
pub use header::{
    HeaderError, LENGTH_BYTES, Preamble, RequestHeader, decode_response, encode_request,
    encode_response,
};
pub use topic_id::{ParseTopicIdError, format_topic_id, parse_topic_id};
