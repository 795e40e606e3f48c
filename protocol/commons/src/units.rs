//! Durations and sizes as people write them: `500ms`, `10s`, `5m`, `2h`, `7d`; bytes or `64MiB`.

use std::time::Duration;

/// Reads a duration; `None` when it is not one.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(kalamdb_commons::parse_duration("5m"), Some(Duration::from_secs(300)));
/// assert_eq!(kalamdb_commons::parse_duration("5"), None);
/// ```
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text.trim())?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

/// Reads a size in bytes: a whole number, or one with `B`, `KiB`, `MiB`, `GiB`, `TiB`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text.trim())?;
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// Writes a duration in its largest whole unit.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds != 0 && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

/// Writes a size in its largest whole unit.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_round_trip() {
        for text in ["500ms", "10s", "5m", "2h", "7d"] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(format_duration(duration), text);
        }
        for text in ["64MiB", "1KiB", "7B"] {
            assert_eq!(format_size(parse_size(text).expect(text)), text);
        }
        assert_eq!(parse_size("123"), Some(123));
        assert_eq!(parse_size("16 MiB"), Some(16 << 20));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "1.5s", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "MiB", "-1", "1MB", "18446744073709551615KiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
