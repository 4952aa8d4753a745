//! Every message at every version, against an independent implementation of the protocol: the
//! `kafka-protocol` crate, which is generated from Kafka's own schemas.

mod codec_support;

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use codec_support::{for_every_api, sample, seed};
use kafka_protocol::{
    messages as oracle,
    protocol::{Decodable, Encodable, HeaderVersion, Message as OracleMessage, StrBytes},
};
use ringlog_broker::protocol::{
    ApiKey, ErrorCode, RequestHeader,
    codec::{Message, Request, Str},
    decode_response, encode_request, encode_response, messages as ours,
};

const VALUES_PER_VERSION: u64 = 150;

/// Both encode the same value to the same bytes, and decode the same bytes to the same value.
fn agree<M: Message, O: Decodable + Encodable + OracleMessage>(version: i16) {
    assert!(
        O::VERSIONS.min <= version && version <= O::VERSIONS.max,
        "the oracle has no {} version {version}",
        M::NAME
    );
    for seed in seed()..seed() + VALUES_PER_VERSION {
        let told = format!("{} version {version}, replay with CODEC_SEED={seed}", M::NAME);
        let value: M = sample(version, seed);
        let encoded = value.encode(version).unwrap_or_else(|error| panic!("{told}: {error}"));
        assert_eq!(value.measure(version).map(|c| c.size()), Ok(encoded.size()), "{told}");
        let bytes = encoded.into_bytes();

        let mut unread = bytes.clone();
        let theirs = O::decode(&mut unread, version).unwrap_or_else(|e| panic!("{told}: {e}"));
        assert!(unread.is_empty(), "{told}: the oracle leaves {} bytes", unread.len());
        let mut their_bytes = BytesMut::new();
        theirs.encode(&mut their_bytes, version).unwrap_or_else(|e| panic!("{told}: {e}"));
        assert_eq!(their_bytes.freeze(), bytes, "{told}: the oracle encodes other bytes");

        let decoded = M::decode(bytes, version).unwrap_or_else(|e| panic!("{told}: {e}"));
        assert_eq!(decoded, value, "{told}");
    }
}

/// Frames agree too: the oracle reads our request header, we read its response header.
fn frames_agree<R, O, P>(version: i16)
where
    R: Request,
    O: Decodable + HeaderVersion,
    P: Encodable + Decodable + HeaderVersion,
{
    let client_id = Str::from("tester");
    let request: R = sample(version, seed());
    let frame = encode_request(&request, version, 77, Some(&client_id)).expect("a request");
    let mut bytes = frame.into_bytes();
    let length = i32::from_be_bytes(bytes.split_to(4)[..].try_into().expect("four bytes"));
    assert_eq!(usize::try_from(length).expect("positive"), bytes.len());

    let mut unread = bytes.clone();
    let header = oracle::RequestHeader::decode(&mut unread, O::header_version(version))
        .expect("a request header");
    assert_eq!(header.request_api_key, R::API.code());
    assert_eq!(header.request_api_version, version);
    assert_eq!(header.correlation_id, 77);
    assert_eq!(header.client_id, Some(StrBytes::from_static_str("tester")));
    O::decode(&mut unread, version).expect("a request body");

    let (header, mut body) = RequestHeader::decode(bytes).expect("our own header");
    assert_eq!((header.api, header.version, header.correlation_id), (R::API, version, 77));
    assert_eq!(header.client_id, Some(client_id));
    assert_eq!(R::decode_body(&mut body, version), Ok(request));

    let response: R::Response = sample(version, seed());
    let frame = encode_response(R::API, version, 78, &response).expect("a response");
    let mut unread = frame.into_bytes().slice(4..);
    let bytes = unread.clone();
    let header = oracle::ResponseHeader::decode(&mut unread, P::header_version(version))
        .expect("a response header");
    assert_eq!(header.correlation_id, 78);
    P::decode(&mut unread, version).expect("a response body");
    assert!(unread.is_empty());
    assert_eq!(decode_response::<R>(bytes, version), Ok((78, response)));
}

#[test]
fn every_message_agrees_with_the_oracle_at_every_version() {
    let mut seen = BTreeSet::new();
    macro_rules! check {
        ($request:ident $response:ident) => {
            for version in <ours::$request as Request>::API.served().iter() {
                agree::<ours::$request, oracle::$request>(version);
                agree::<ours::$response, oracle::$response>(version);
                frames_agree::<ours::$request, oracle::$request, oracle::$response>(version);
                seen.insert((<ours::$request as Request>::API, version));
            }
        };
    }
    for_every_api!(check);

    let served: BTreeSet<_> = ApiKey::ALL
        .iter()
        .flat_map(|api| api.served().iter().map(|version| (*api, version)))
        .collect();
    assert_eq!(seen, served, "every version that is served is compared");
}

#[test]
fn every_advertised_version_is_served_but_those_of_produce_that_kafka_refuses() {
    for api in ApiKey::ALL {
        for version in api.advertised().iter().filter(|version| !api.served().contains(*version)) {
            assert!(*api == ApiKey::Produce && version < 3, "{api} {version} is not served");
        }
        assert_eq!(api.advertised().max, api.served().max, "{api}");
    }
}

#[test]
fn api_keys_and_names_are_those_of_the_oracle() {
    for api in ApiKey::ALL {
        let theirs = oracle::ApiKey::try_from(api.code()).expect("a key that the oracle knows");
        assert_eq!(format!("{theirs:?}"), api.name());
        assert_eq!(ApiKey::from_code(api.code()), Some(*api));
        let range = theirs.valid_versions();
        println!("{api}: we serve {}, the oracle has {range}", api.served());
    }
}

#[test]
fn error_codes_and_their_retriability_are_those_of_the_oracle() {
    for error in ErrorCode::ALL.iter().filter(|error| **error != ErrorCode::None) {
        let Some(theirs) = kafka_protocol::ResponseError::try_from_code(error.code()) else {
            panic!("{error} is unknown to the oracle");
        };
        if matches!(theirs, kafka_protocol::ResponseError::Unknown(_)) {
            // Codes of releases after the oracle's.
            assert!(error.code() >= 130, "{error} is unknown to the oracle");
            continue;
        }
        assert_eq!(format!("{theirs:?}"), format!("{error:?}"));
        assert_eq!(theirs.is_retriable(), error.is_retriable(), "{error}");
    }
}

#[test]
fn a_message_of_defaults_has_no_tagged_fields() {
    macro_rules! check {
        ($request:ident $response:ident) => {
            for version in <ours::$request as Request>::API.served().iter() {
                no_tags::<ours::$request>(version);
                no_tags::<ours::$response>(version);
            }
        };
    }
    fn no_tags<M: Message>(version: i16) {
        if version >= M::FLEXIBLE_FROM {
            let bytes = M::default().encode(version).expect("defaults encode").into_bytes();
            assert_eq!(bytes.last(), Some(&0), "{} version {version}", M::NAME);
            assert_eq!(M::decode(bytes, version).map(|_: M| ()), Ok(()));
        }
    }
    for_every_api!(check);
}

#[test]
fn records_of_several_slices_are_one_blob_on_the_wire() {
    let slices = [Bytes::from(vec![1; 5000]), Bytes::from(vec![2; 10]), Bytes::from(vec![3; 3000])];
    let partition = ours::PartitionData {
        records: Some(slices.iter().cloned().collect()),
        ..ours::PartitionData::default()
    };
    let topic = ours::FetchableTopicResponse {
        partitions: vec![partition],
        ..ours::FetchableTopicResponse::default()
    };
    let response = ours::FetchResponse { topics: vec![topic], ..ours::FetchResponse::default() };
    let gather = encode_response(ApiKey::Fetch, 13, 1, &response).expect("a response");
    let parts = gather.into_parts();
    assert_eq!(parts[1].as_ptr(), slices[0].as_ptr(), "large slices are sent as they are");
    assert_eq!(parts[3].as_ptr(), slices[2].as_ptr(), "large slices are sent as they are");

    let mut unread = Bytes::from(parts[..].concat()).slice(9..);
    let theirs = oracle::FetchResponse::decode(&mut unread, 13).expect("a response");
    let records = theirs.responses[0].partitions[0].records.clone().expect("records");
    assert_eq!(records, slices.concat());
}
