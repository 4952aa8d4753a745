//! Lists of things that have a name and a sentence each.

/// Makes an enum of things without data that knows all of them, and what its documentation says of
/// each.
macro_rules! catalogue {
    (
        $(#[$about:meta])*
        pub enum $name:ident;
        $($(#[doc = $what:literal])+ $thing:ident,)+
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $what])+ $thing,)+
        }

        impl $name {
            /// All of them, in the order in which they are declared.
            pub const ALL: &[Self] = &[$(Self::$thing,)+];

            /// What it is, in words.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$thing => concat!($($what),+).trim_ascii(),)+
                }
            }
        }
    };
}

pub(crate) use catalogue;
