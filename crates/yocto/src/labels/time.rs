//! When an image was built.

use std::fmt;

use jiff::{Timestamp, Unit};

/// A time in UTC, to the second. Written, it is as RFC 3339 has it: `2026-01-12T20:32:24Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildTime(Timestamp);

/// The value of SOURCE_DATE_EPOCH is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SOURCE_DATE_EPOCH is `{0}`, expected seconds since 1970")]
pub struct EpochError(String);

impl BuildTime {
    /// Now.
    pub fn now() -> Self {
        let now = Timestamp::now();
        Self(now.round(Unit::Second).unwrap_or(now))
    }

    /// The value of SOURCE_DATE_EPOCH: seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`EpochError`] for what is no such number: a build that is to be reproducible cannot go on with another time.
    pub fn of_epoch(text: &str) -> Result<Self, EpochError> {
        let digits = text.trim();
        let refused = || EpochError(text.to_owned());
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let seconds = digits.parse().map_err(|_| refused())?;
        Timestamp::from_second(seconds).map(Self).map_err(|_| refused())
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl fmt::Display for BuildTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// Whether a text is a time as RFC 3339 writes it.
pub fn is_time(text: &str) -> bool {
    // RFC 9557's additions, and ISO 8601's, are more than readers of images know.
    let has_form = text.len() >= 20 && text.is_ascii() && text.as_bytes()[4] == b'-' && text.as_bytes()[13] == b':';
    has_form && !text.contains('[') && text.parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_number_of_seconds() {
        for (text, time) in
            [("0", "1970-01-01T00:00:00Z"), ("1768249944", "2026-01-12T20:32:24Z"), (" 1302044400\n", "2011-04-05T23:00:00Z")]
        {
            assert_eq!(BuildTime::of_epoch(text).unwrap().to_string(), time);
        }
        assert_eq!(BuildTime::of_epoch("1768249944").unwrap().seconds(), 1_768_249_944);
        for text in ["", " ", "-1", "+1", "1.5", "x", "99999999999999", "99999999999999999999"] {
            let error = BuildTime::of_epoch(text).unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        let now = BuildTime::now().to_string();
        assert!(is_time(&now) && now.len() == 20, "{now}");
    }

    #[test]
    fn times_are_known_by_their_form() {
        for text in ["2026-01-12T20:32:24Z", "2026-01-12T20:32:24.123+01:00", "2026-01-12 20:32:24Z"] {
            assert!(is_time(text), "{text}");
        }
        for text in [
            "",
            "today",
            "2026-01-12",
            "20260112-203224",
            "2026-01-12T20:32:24",
            "2026-13-12T20:32:24Z",
            "2026-01-12T20:32:24Z[UTC]",
        ] {
            assert!(!is_time(text), "{text}");
        }
    }
}
