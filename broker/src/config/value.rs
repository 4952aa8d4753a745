//! What a configuration value may be: its kind, its range, and how text becomes a value.

use std::fmt;

/// The kind of a configuration value, with everything that bounds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// A 32-bit whole number of `min..=max`.
    Int {
        /// The least allowed value.
        min: i32,
        /// The greatest allowed value.
        max: i32,
        /// What is counted, in the plural.
        unit: &'static str,
    },
    /// A 64-bit whole number of `min..=max`.
    Long {
        /// The least allowed value.
        min: i64,
        /// The greatest allowed value.
        max: i64,
        /// What is counted, in the plural.
        unit: &'static str,
    },
    /// A decimal number of `min..=max`.
    Double {
        /// The least allowed value.
        min: f64,
        /// The greatest allowed value.
        max: f64,
    },
    /// Any text.
    Text,
    /// One of a set of words.
    Enum {
        /// The words.
        allowed: &'static [&'static str],
    },
    /// Words separated by commas, each at most once; empty is allowed.
    List {
        /// The words that may stand in it.
        allowed: &'static [&'static str],
    },
}

/// The type of a value as `DescribeConfigs` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text, a word of a set included.
    String,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Long,
    /// A decimal number.
    Double,
    /// Words separated by commas.
    List,
}

impl ConfigType {
    /// The type's number in the `DescribeConfigs` response.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

/// A value that was checked against its [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`] or [`Kind::Long`].
    Number(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::Text`] or [`Kind::Enum`].
    Text(String),
    /// Of [`Kind::List`].
    List(Vec<String>),
}

/// Why a text is not a value of its kind.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Neither `true` nor `false`.
    #[error("must be true or false")]
    NotABool,
    /// Not a whole number, or one that does not fit.
    #[error(
        "must be a whole number of {unit} in {min}..={max}, in digits alone: \
         suffixes such as k, MB or h are not read"
    )]
    NotAWholeNumber {
        /// The least allowed value.
        min: i64,
        /// The greatest allowed value.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// A whole number outside its range.
    #[error("must be in {min}..={max} {unit}")]
    OutOfRange {
        /// The least allowed value.
        min: i64,
        /// The greatest allowed value.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// Not a decimal number within its range.
    #[error("must be a number in {}..={}", Decimal(*min), Decimal(*max))]
    NotADecimal {
        /// The least allowed value.
        min: f64,
        /// The greatest allowed value.
        max: f64,
    },
    /// Not a word of the set.
    #[error("{word:?} is not among the allowed values: {}", allowed.join(", "))]
    NotAllowed {
        /// The word that was found.
        word: String,
        /// The allowed words.
        allowed: &'static [&'static str],
    },
    /// A value that Kafka knows and Ringlog does not serve.
    #[error("{word:?} is not served by this broker: {why}; allowed: {}", allowed.join(", "))]
    NotServed {
        /// The word that was found.
        word: String,
        /// Why it is not served.
        why: &'static str,
        /// The allowed words.
        allowed: &'static [&'static str],
    },
    /// A word twice in a list.
    #[error("{word:?} stands in the list more than once")]
    Repeated {
        /// The word.
        word: String,
    },
}

impl Kind {
    /// Reads a value. Blanks around it are ignored, as Kafka does.
    ///
    /// # Errors
    ///
    /// A [`ValueError`] that says what is allowed.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        let text = text.trim();
        match *self {
            Self::Bool if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Self::Bool if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            Self::Bool => Err(ValueError::NotABool),
            Self::Int { min, max, unit } => whole(text, i64::from(min), i64::from(max), unit),
            Self::Long { min, max, unit } => whole(text, min, max, unit),
            Self::Double { min, max } => match text.parse::<f64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Double(number)),
                _ => Err(ValueError::NotADecimal { min, max }),
            },
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Enum { allowed } => {
                if allowed.contains(&text) {
                    Ok(Value::Text(text.to_owned()))
                } else {
                    Err(ValueError::NotAllowed { word: text.to_owned(), allowed })
                }
            }
            Self::List { allowed } => list(text, allowed),
        }
    }

    /// The type as `DescribeConfigs` names it.
    #[must_use]
    pub const fn config_type(&self) -> ConfigType {
        match self {
            Self::Bool => ConfigType::Boolean,
            Self::Int { .. } => ConfigType::Int,
            Self::Long { .. } => ConfigType::Long,
            Self::Double { .. } => ConfigType::Double,
            Self::Text | Self::Enum { .. } => ConfigType::String,
            Self::List { .. } => ConfigType::List,
        }
    }
}

impl fmt::Display for Kind {
    /// The allowed values in words, for tables and messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true, false"),
            Self::Int { min, max, unit } => write!(f, "{min}..={max} {unit}"),
            Self::Long { min, max, unit } if *max == i64::MAX => {
                write!(f, "{min}.. {unit} (64 bits)")
            }
            Self::Long { min, max, unit } => write!(f, "{min}..={max} {unit}"),
            Self::Double { min, max } => write!(f, "{}..={}", Decimal(*min), Decimal(*max)),
            Self::Text => f.write_str("text"),
            Self::Enum { allowed } => f.write_str(&allowed.join(", ")),
            Self::List { allowed } => write!(f, "list of {}, or empty", allowed.join(", ")),
        }
    }
}

/// A decimal number as people write it: with an exponent where it would be digits without end.
struct Decimal(f64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.abs() < 1e15 { self.0.fmt(f) } else { write!(f, "{:e}", self.0) }
    }
}

impl fmt::Display for Value {
    /// The value in its canonical spelling, which [`Kind::parse`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Double(value) => Decimal(*value).fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::List(words) => f.write_str(&words.join(",")),
        }
    }
}

fn whole(text: &str, min: i64, max: i64, unit: &'static str) -> Result<Value, ValueError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotAWholeNumber { min, max, unit });
    }
    // Digits alone that do not fit 64 bits are a number still: one outside every range.
    match text.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
        _ => Err(ValueError::OutOfRange { min, max, unit }),
    }
}

fn list(text: &str, allowed: &'static [&'static str]) -> Result<Value, ValueError> {
    let mut words: Vec<String> = Vec::new();
    if text.is_empty() {
        return Ok(Value::List(words));
    }
    for word in text.split(',').map(str::trim) {
        if !allowed.contains(&word) {
            return Err(ValueError::NotAllowed { word: word.to_owned(), allowed });
        }
        if words.iter().any(|earlier| earlier == word) {
            return Err(ValueError::Repeated { word: word.to_owned() });
        }
        words.push(word.to_owned());
    }
    Ok(Value::List(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Kind = Kind::Int { min: 0, max: 65_535, unit: "ports" };

    #[test]
    fn whole_numbers_are_digits_alone_and_say_their_range() {
        assert_eq!(PORTS.parse(" 9092 "), Ok(Value::Number(9092)));
        for text in ["", "-", "9k", "1_000", "0x10", "+5", "9.0", "ten"] {
            let error = PORTS.parse(text).expect_err(text);
            assert!(error.to_string().contains("0..=65535"), "{text}: {error}");
            assert!(matches!(error, ValueError::NotAWholeNumber { .. }), "{text}: {error}");
        }
        for text in ["-1", "65536", "99999999999999999999999"] {
            let error = PORTS.parse(text).expect_err(text);
            assert!(matches!(error, ValueError::OutOfRange { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn booleans_are_read_in_any_case_and_nothing_else_is_one() {
        assert_eq!(Kind::Bool.parse("TRUE"), Ok(Value::Bool(true)));
        assert_eq!(Kind::Bool.parse("false "), Ok(Value::Bool(false)));
        for text in ["", "1", "yes", "on"] {
            assert_eq!(Kind::Bool.parse(text), Err(ValueError::NotABool), "{text}");
        }
    }

    #[test]
    fn lists_may_be_empty_and_hold_no_word_twice() {
        let kind = Kind::List { allowed: &["delete", "compact"] };
        assert_eq!(kind.parse(""), Ok(Value::List(vec![])));
        let both = kind.parse("compact, delete").expect("a list");
        assert_eq!(both.to_string(), "compact,delete");
        assert!(matches!(kind.parse("delete,delete"), Err(ValueError::Repeated { .. })));
        assert!(matches!(kind.parse("delete,"), Err(ValueError::NotAllowed { .. })));
        assert!(matches!(kind.parse("Delete"), Err(ValueError::NotAllowed { .. })));
    }

    #[test]
    fn decimals_refuse_what_is_not_a_number() {
        let kind = Kind::Double { min: 0.0, max: 1.0 };
        assert_eq!(kind.parse("0.5"), Ok(Value::Double(0.5)));
        for text in ["NaN", "inf", "1.1", "-0.1", ""] {
            assert!(kind.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn decimals_without_end_are_written_with_an_exponent_and_read_back() {
        let kind = Kind::Double { min: 1.0, max: f64::MAX };
        assert_eq!(kind.to_string(), "1..=1.7976931348623157e308");
        let value = kind.parse("1.7976931348623157E308").expect("Kafka's default");
        assert_eq!(value.to_string(), "1.7976931348623157e308");
        assert_eq!(kind.parse(&value.to_string()), Ok(value));
    }
}
