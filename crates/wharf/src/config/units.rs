//! Values with units as people write them: `24h`, `1h30m`, `7d`, `64MiB`, `never`.

use std::fmt;
use std::time::Duration;

/// A number of bytes, written as a plain number or with a unit (`kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`, `TiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// Reads a size. A trailing `/s` is accepted so that a rate may say what it is.
    /// `None` for anything else, including what does not fit in 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix("/s").unwrap_or(text).trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit = unit.trim_start();
        if unit.is_empty() {
            return Some(Self(number));
        }
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.checked_mul(*factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = &SIZE_UNITS[..4];
        match binary.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Nanoseconds in each unit of a duration; longer names first, so that `ms` is not read as `m`.
const TIME_UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads a duration in Go's form (`1h30m`, `1.5h`, `250ms`), with `d` for days besides. A number without a unit is
/// refused, except 0: existing readers take it as nanoseconds, which nobody means.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, *factor)?)?;
        rest = after;
    }
    Some(Duration::from_nanos(total))
}

/// `number` (digits with at most one point) times `factor`, without going through floating point.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(factor)?;
    let mut place = factor;
    for digit in fraction.chars() {
        place /= 10;
        sum = sum.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(sum)
}

/// Writes a duration so that [`parse_duration`] reads the same one back, in the largest units that fit.
pub fn format_duration(duration: Duration) -> String {
    let mut nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, factor) in TIME_UNITS.iter().rev() {
        // Days only where they are exact, because `168h` and `24h` are what existing files say.
        let skip = *name == "µs" || (*name == "d" && (!nanos.is_multiple_of(*factor) || nanos == *factor));
        if !skip && nanos >= *factor {
            text.push_str(&format!("{}{name}", nanos / factor));
            nanos %= factor;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_gos_form_and_in_days() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("10s"), Some(10.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1.5h"), Some(5400.0));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds("7d"), Some(604_800.0));
        assert_eq!(seconds(".5s"), Some(0.5));
        assert_eq!(seconds("0"), Some(0.0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", "1 h", "1x", "-1s", "1h-", ".s", "1.2.3s", "never", "99999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for text in ["24h", "7d", "90d", "30s", "1h30m", "250ms", "0s", "1ns", "168h"] {
            let duration = parse_duration(text).expect("a duration");
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(86_400)), "24h");
        assert_eq!(format_duration(Duration::from_secs(604_800)), "7d");
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let bytes = |text| ByteSize::parse(text).map(|size| size.0);
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("4194304"), Some(4_194_304));
        assert_eq!(bytes("4MiB"), Some(4_194_304));
        assert_eq!(bytes("64 MiB"), Some(67_108_864));
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        assert_eq!(bytes("32MiB/s"), Some(33_554_432));
        for text in ["", "MiB", "1.5MiB", "-1", "4 elephants", "99999999TiB", "0x10"] {
            assert_eq!(bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_written_size_reads_back() {
        for size in [0, 1, 1000, 1024, 4_194_304, 67_108_864, u64::MAX] {
            let size = ByteSize(size);
            assert_eq!(ByteSize::parse(&size.to_string()), Some(size));
        }
        assert_eq!(ByteSize(8 << 20).to_string(), "8MiB");
    }
}
