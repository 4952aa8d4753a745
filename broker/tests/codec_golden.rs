//! Bytes that must never change, written out: the ApiVersions responses, on which every client
//! stumbles first.

use bytes::Bytes;
use ringlog_broker::protocol::{
    ApiKey,
    codec::{EncodeProblem, Message},
    decode_response, encode_response,
    messages::{
        ApiVersion, ApiVersionsRequest, ApiVersionsResponse, ListOffsetsRequest, MetadataRequest,
        MetadataRequestTopic,
    },
};

fn frame(version: i16, response: &ApiVersionsResponse) -> Bytes {
    encode_response(ApiKey::ApiVersions, version, 0x0102_0304, response)
        .expect("a response")
        .into_bytes()
}

fn two_apis() -> ApiVersionsResponse {
    ApiVersionsResponse {
        api_keys: vec![
            ApiVersion { api_key: 0, min_version: 0, max_version: 13 },
            ApiVersion { api_key: 18, min_version: 0, max_version: 4 },
        ],
        ..ApiVersionsResponse::default()
    }
}

#[test]
fn an_unknown_version_is_answered_with_a_body_of_version_0_and_error_35() {
    let expected = [
        0, 0, 0, 16, // length
        1, 2, 3, 4, // correlation id
        0, 35, // UNSUPPORTED_VERSION
        0, 0, 0, 1, // one api
        0, 18, 0, 0, 0, 4, // ApiVersions 0 to 4
    ];
    assert_eq!(frame(0, &ApiVersionsResponse::unsupported_version()), &expected[..]);
}

#[test]
fn version_0_ends_after_the_apis() {
    let expected = [
        0, 0, 0, 22, 1, 2, 3, 4, 0, 0, // no error
        0, 0, 0, 2, // two apis
        0, 0, 0, 0, 0, 13, 0, 18, 0, 0, 0, 4,
    ];
    assert_eq!(frame(0, &two_apis()), &expected[..]);
}

#[test]
fn flexible_versions_keep_response_header_0_and_write_no_tagged_field_at_its_default() {
    let expected = [
        0, 0, 0, 26, 1, 2, 3, 4, // no tagged fields in the header
        0, 0, // no error
        3, // two apis, compact
        0, 0, 0, 0, 0, 13, 0, // Produce, no tagged fields
        0, 18, 0, 0, 0, 4, 0, // ApiVersions, no tagged fields
        0, 0, 0, 0, // not throttled
        0, // no tagged fields
    ];
    for version in 3..=4 {
        assert_eq!(frame(version, &two_apis()), &expected[..]);
    }
}

#[test]
fn what_is_advertised_is_read_back_by_a_client() {
    let bytes = frame(4, &ApiVersionsResponse::advertised()).slice(4..);
    let (_, response) = decode_response::<ApiVersionsRequest>(bytes, 4).expect("a response");
    assert_eq!(response.api_keys.len(), ApiKey::ALL.len());
    let produce = response.api_keys.iter().find(|api| api.api_key == 0).expect("Produce");
    assert_eq!((produce.min_version, produce.max_version), (0, 13), "see KAFKA-18659");
}

#[test]
fn null_and_empty_topics_are_told_apart() {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let none = MetadataRequest::default();
    assert_eq!(all.encode(1).expect("null").into_bytes(), &[0xff, 0xff, 0xff, 0xff][..]);
    assert_eq!(none.encode(1).expect("empty").into_bytes(), &[0, 0, 0, 0][..]);
    assert_eq!(all.encode(9).expect("null").into_bytes(), &[0, 1, 0, 0, 0][..]);
    assert_eq!(none.encode(9).expect("empty").into_bytes(), &[1, 1, 0, 0, 0][..]);
    let error = all.encode(0).expect_err("version 0 has no null");
    assert_eq!(
        error.to_string(),
        "MetadataRequest.topics at version 0: is null, which this version does not allow"
    );
}

#[test]
fn a_field_that_the_version_lacks_is_left_out_or_refused() {
    // A topic id is ignorable: older versions go by the name.
    let topic = MetadataRequestTopic { topic_id: uuid::Uuid::max(), name: Some("t".into()) };
    let request = MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() };
    assert_eq!(request.encode(1).expect("by name").size(), 7);
    // An isolation level is not: reading committed records only is a promise.
    let request = ListOffsetsRequest { isolation_level: 1, ..ListOffsetsRequest::default() };
    let error = request.encode(1).expect_err("version 1 has no isolation level");
    assert_eq!(error.field, "ListOffsetsRequest.isolation_level");
    assert_eq!(error.problem, EncodeProblem::NotInVersion);
}
