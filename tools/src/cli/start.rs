//! Where reading starts: `--from earliest|latest|OFFSET|TIMESTAMP`.

use std::str::FromStr;

use crate::client::fetch::{EARLIEST, LATEST, TopicPartition};
use crate::client::{Client, ClientError};

/// Where in a partition reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Offset(i64),
    /// The first record at or after a time in milliseconds since 1970.
    Timestamp(i64),
}

/// A start that is none of those known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected earliest, latest, an offset (a number), or a time: @ and milliseconds since 1970, \
     or a date such as 2026-11-21T04:05:06Z"
)]
pub(super) struct ParseStartError;

impl FromStr for Start {
    type Err = ParseStartError;

    fn from_str(text: &str) -> Result<Self, ParseStartError> {
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0);
        match text {
            "earliest" | "beginning" => Ok(Self::Earliest),
            "latest" | "end" => Ok(Self::Latest),
            _ => match text.strip_prefix('@') {
                Some(millis) => number(millis).map(Self::Timestamp),
                None => number(text).map(Self::Offset).or_else(|| date(text).map(Self::Timestamp)),
            }
            .ok_or(ParseStartError),
        }
    }
}

impl Start {
    /// The offset that this is in a partition.
    pub(super) fn resolve(
        self,
        client: &mut Client,
        at: &TopicPartition,
    ) -> Result<i64, ClientError> {
        let timestamp = match self {
            Self::Offset(offset) => return Ok(offset),
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            Self::Timestamp(millis) => millis,
        };
        match client.offset_at(at, timestamp)? {
            Some(offset) => Ok(offset),
            // Nothing is that late yet.
            None => Ok(client.offset_at(at, LATEST)?.unwrap_or(0)),
        }
    }
}

/// `YYYY-MM-DDThh:mm:ssZ` in milliseconds since 1970.
fn date(text: &str) -> Option<i64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = three(day, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (1970..=9999).contains(&year);
    if !valid {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

fn three(text: &str, separator: char) -> Option<[i64; 3]> {
    let numbers: Vec<i64> =
        text.split(separator).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_start_is_understood() {
        assert_eq!("earliest".parse(), Ok(Start::Earliest));
        assert_eq!("latest".parse(), Ok(Start::Latest));
        assert_eq!("42".parse(), Ok(Start::Offset(42)));
        assert_eq!("@1500".parse(), Ok(Start::Timestamp(1500)));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Start::Timestamp(1000)));
        assert_eq!("2000-03-01T00:00:00Z".parse(), Ok(Start::Timestamp(951_868_800_000)));
        assert_eq!("2026-11-21T04:05:06Z".parse(), Ok(Start::Timestamp(1_795_233_906_000)));
        for wrong in ["", "-1", "@x", "now", "2026-13-01T00:00:00Z"] {
            assert_eq!(wrong.parse::<Start>(), Err(ParseStartError), "{wrong}");
        }
    }
}
