//! The macro that makes messages and records from tables.

/// Makes the types of a protocol from tables: see [`crate::protocol`] for how to write one.
///
/// From each table come a struct with public fields, its documentation, Kafka's defaults, decoder,
/// encoder and a generator of random values; from a `request`, `response` or `record` also its
/// [`Message`](super::Message) implementation.
macro_rules! tables {
    ($(
        $(#[$meta:meta])*
        $kind:ident $name:ident $( ( $($head:tt)* ) )? {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty, $versions:expr $(, $option:ident $(= $value:expr)? )* ;
            )*
        }
    )*) => {$(
        $(#[$meta])*
        // A private module may keep its records to itself.
        #[allow(unreachable_pub)]
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = ""]
                #[doc = concat!(
                    "In versions `", stringify!($versions), "`"
                    $(, ", ", stringify!($option) $(, " `", stringify!($value), "`")? )*, "."
                )]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {$(
                    $field: $crate::protocol::codec::option_of!(
                        default, Default::default(); $($option $(= $value)?),*
                    ),
                )*}
            }
        }

        // Tags are written in the order of the table, and Kafka's order is ascending.
        const _: () = assert!($crate::protocol::codec::tags_ascend(&[
            $($crate::protocol::codec::option_of!(tag, NO_TAG; $($option $(= $value)?),*)),*
        ]));

        impl $crate::protocol::codec::Wire for $name {
            #[allow(unused_mut, unused_assignments, reason = "only tagged fields are set twice")]
            fn read(
                reader: &mut $crate::protocol::codec::Reader,
                encoding: $crate::protocol::codec::Encoding,
            ) -> Result<Self, $crate::protocol::codec::DecodeError> {
                use $crate::protocol::codec::{NO_TAG, Wire, option_of};
                let version = encoding.version;
                $(
                    let mut $field: $type = if ($versions).contains(&version)
                        && option_of!(tag, NO_TAG; $($option $(= $value)?),*) == NO_TAG
                    {
                        reader.enter(concat!(stringify!($name), ".", stringify!($field)));
                        <$type as Wire>::read_if_nullable(
                            reader,
                            encoding,
                            option_of!(nullable, 0..; $($option $(= $value)?),*)
                                .contains(&version),
                        )?
                    } else {
                        option_of!(default, Default::default(); $($option $(= $value)?),*)
                    };
                )*
                if encoding.flexible {
                    reader.enter(concat!(stringify!($name), ".tagged fields"));
                    for _ in 0..reader.tagged_field_count()? {
                        let (tag, size) = reader.tagged_field()?;
                        $(
                            if i64::from(tag) == option_of!(tag, NO_TAG; $($option $(= $value)?),*)
                                && ($versions).contains(&version)
                            {
                                reader.enter(concat!(stringify!($name), ".", stringify!($field)));
                                $field = reader.within(size, |reader| {
                                    <$type as Wire>::read(reader, encoding)
                                })?;
                                continue;
                            }
                        )*
                        reader.skip(size)?;
                    }
                }
                Ok(Self { $($field),* })
            }

            fn write<S: $crate::protocol::codec::Sink>(
                &self,
                sink: &mut S,
                encoding: $crate::protocol::codec::Encoding,
            ) -> Result<(), $crate::protocol::codec::EncodeError> {
                use $crate::protocol::codec::{
                    EncodeError, EncodeProblem, NO_TAG, Wire, option_of, put_tagged_field,
                };
                let version = encoding.version;
                let mut tagged_fields: u32 = 0;
                $({
                    let tag = option_of!(tag, NO_TAG; $($option $(= $value)?),*);
                    let exists = ($versions).contains(&version);
                    if exists && tag == NO_TAG {
                        <$type as Wire>::write_if_nullable(
                            &self.$field,
                            sink,
                            encoding,
                            option_of!(nullable, 0..; $($option $(= $value)?),*)
                                .contains(&version),
                        )
                        .map_err(|error| {
                            error.within(concat!(stringify!($name), ".", stringify!($field)))
                        })?;
                    } else if tag != NO_TAG
                        || !option_of!(ignorable, false; $($option $(= $value)?),*)
                    {
                        let default: $type =
                            option_of!(default, Default::default(); $($option $(= $value)?),*);
                        if self.$field != default {
                            if exists {
                                tagged_fields += 1;
                            } else if !option_of!(ignorable, false; $($option $(= $value)?),*) {
                                return Err(EncodeError::new(version, EncodeProblem::NotInVersion)
                                    .within(concat!(stringify!($name), ".", stringify!($field))));
                            }
                        }
                    }
                })*
                if encoding.flexible {
                    sink.put_unsigned_varint(tagged_fields);
                    if tagged_fields > 0 {
                        $({
                            let tag = option_of!(tag, NO_TAG; $($option $(= $value)?),*);
                            let default: $type =
                                option_of!(default, Default::default(); $($option $(= $value)?),*);
                            if tag != NO_TAG
                                && ($versions).contains(&version)
                                && self.$field != default
                            {
                                put_tagged_field(sink, tag, &self.$field, encoding).map_err(
                                    |error| {
                                        error.within(concat!(
                                            stringify!($name), ".", stringify!($field)
                                        ))
                                    },
                                )?;
                            }
                        })*
                    }
                }
                Ok(())
            }

            #[inline]
            fn size_min(encoding: $crate::protocol::codec::Encoding) -> usize {
                use $crate::protocol::codec::{NO_TAG, Wire, option_of};
                let mut size = usize::from(encoding.flexible);
                $(
                    if ($versions).contains(&encoding.version)
                        && option_of!(tag, NO_TAG; $($option $(= $value)?),*) == NO_TAG
                    {
                        size += <$type as Wire>::size_min(encoding);
                    }
                )*
                size
            }

            fn sample(
                sampler: &mut $crate::protocol::codec::Sampler,
                encoding: $crate::protocol::codec::Encoding,
            ) -> Self {
                use $crate::protocol::codec::{NO_TAG, Wire, option_of};
                let version = encoding.version;
                Self {$(
                    $field: {
                        let tagged =
                            option_of!(tag, NO_TAG; $($option $(= $value)?),*) != NO_TAG;
                        if ($versions).contains(&version) && !(tagged && sampler.coin()) {
                            <$type as Wire>::sample_if_nullable(
                                sampler,
                                encoding,
                                option_of!(nullable, 0..; $($option $(= $value)?),*)
                                    .contains(&version),
                            )
                        } else {
                            option_of!(default, Default::default(); $($option $(= $value)?),*)
                        }
                    },
                )*}
            }
        }

        $crate::protocol::codec::table_head!($kind $name $($($head)*)?);
    )*};
}

/// What a table is: part of another one, a request, a response, or a record of its own.
macro_rules! table_head {
    (struct $name:ident) => {};
    (request $name:ident $api:ident => $response:ident) => {
        $crate::protocol::codec::table_head!(response $name $api);

        impl $crate::protocol::codec::Request for $name {
            const API: $crate::protocol::ApiKey = $crate::protocol::ApiKey::$api;
            type Response = $response;
        }
    };
    (response $name:ident $api:ident) => {
        impl $crate::protocol::codec::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: $crate::protocol::codec::VersionRange =
                $crate::protocol::ApiKey::$api.served();
            const FLEXIBLE_FROM: i16 = $crate::protocol::ApiKey::$api.flexible_from();
        }
    };
    (record $name:ident $first:literal ..= $last:literal) => {
        $crate::protocol::codec::table_head!(record $name $first ..= $last, flexible i16::MAX);
    };
    (record $name:ident $first:literal ..= $last:literal, flexible $flexible_from:expr) => {
        impl $crate::protocol::codec::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: $crate::protocol::codec::VersionRange =
                $crate::protocol::codec::VersionRange::new($first, $last);
            const FLEXIBLE_FROM: i16 = $flexible_from;
        }
    };
}

/// The value of one option of a field, or what stands before the semicolon.
macro_rules! option_of {
    (tag, NO_TAG; $($options:tt)*) => {
        $crate::protocol::codec::option_of!(tag, ($crate::protocol::codec::NO_TAG); $($options)*)
    };
    (default, $absent:expr; default = $value:expr $(, $($rest:tt)*)?) => { $value };
    (tag, $absent:expr; tag = $value:expr $(, $($rest:tt)*)?) => { $value };
    (nullable, $absent:expr; nullable = $value:expr $(, $($rest:tt)*)?) => { ($value) };
    (ignorable, $absent:expr; ignorable $(, $($rest:tt)*)?) => { true };
    ($wanted:ident, $absent:expr; $other:ident $(= $value:expr)? $(, $($rest:tt)*)?) => {
        $crate::protocol::codec::option_of!($wanted, $absent; $($($rest)*)?)
    };
    ($wanted:ident, $absent:expr;) => { ($absent) };
}

pub(crate) use {option_of, table_head, tables};
