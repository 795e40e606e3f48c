//! Text to exact numbers, dates and times.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

use crate::{ColumnType, Value};

/// 0001-01-01 to 9999-12-31, the years a TIMESTAMP covers.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// Reads a decimal number, exponent allowed, as unscaled integer of `scale` digits after the point; digits
/// beyond are rounded half away from zero, as PostgreSQL does. None if it is no number or does not fit.
pub(super) fn parse_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (digits.get(..at)?, digits.get(at + 1..)?.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    // The digits without the point, and how many of them stand after it once the scale is applied.
    let all = format!("{whole}{fraction}");
    let all = all.trim_start_matches('0');
    let shift = i64::from(scale) + i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    let unscaled: i128 = if all.is_empty() {
        0
    } else if shift >= 0 {
        if i64::try_from(all.len()).ok()? + shift > 39 {
            return None;
        }
        all.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)?
    } else {
        let cut = usize::try_from(-shift).ok()?;
        let kept_len = all.len().saturating_sub(cut);
        let kept = all.get(..kept_len)?;
        let rounds_up = cut <= all.len() && all.as_bytes().get(kept_len).is_some_and(|digit| *digit >= b'5');
        let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        kept.checked_add(i128::from(rounds_up))?
    };
    if unscaled >= 10_i128.checked_pow(u32::from(precision))? {
        return None;
    }
    Some(if negative { -unscaled } else { unscaled })
}

/// Whether a value lies within the range of its type. What is read from text does; what is computed may not.
#[must_use]
pub fn is_in_range(value: &Value, column_type: ColumnType) -> bool {
    match (value, column_type) {
        (Value::Date(days), _) => is_in_years(NaiveDate::from_epoch_days(*days)),
        (Value::Timestamp(micros), _) => is_in_years(DateTime::from_timestamp_micros(*micros)),
        (Value::Decimal(number), ColumnType::Decimal { precision, .. }) => {
            10_u128.checked_pow(u32::from(precision)).is_some_and(|beyond| number.unsigned_abs() < beyond)
        }
        _ => true,
    }
}

fn is_in_years(time: Option<impl Datelike>) -> bool {
    time.is_some_and(|time| YEARS.contains(&time.year()))
}

/// Writes an unscaled decimal with its point.
#[must_use]
pub fn format_decimal(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let sign = if unscaled < 0 { "-" } else { "" };
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Reads an RFC 3339 time, zone optional (UTC), `T` or a space; a date alone is midnight. Microseconds since
/// the epoch; finer digits are cut off.
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(days) = parse_date(text) {
        return i64::from(days).checked_mul(86_400_000_000);
    }
    let naive = match DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
    {
        Ok(zoned) => zoned.naive_utc(),
        Err(_) => ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?,
    };
    // The years of the instant, not of the text: a leap second (`:60`) is the beginning of the next minute.
    let micros = naive.and_utc().timestamp_micros();
    YEARS.contains(&DateTime::from_timestamp_micros(micros)?.year()).then_some(micros)
}

/// Reads a day, or a time as the day in UTC that it is of, as where a TIMESTAMP is cast to DATE.
pub(super) fn parse_day(text: &str) -> Option<i32> {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    parse_date(text).or_else(|| i32::try_from(parse_timestamp(text)?.div_euclid(MICROS_PER_DAY)).ok())
}

/// Reads `2025-10-21` as days since the epoch.
fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim();
    // Exactly this form: chrono alone would take `2025-1-1` and longer years.
    if text.len() != 10 {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    YEARS.contains(&date.year()).then(|| date.to_epoch_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_and_fit_as_in_postgresql() {
        for (text, precision, scale, expected) in [
            ("1.005", 10, 2, Some(101)),
            ("1.004999", 10, 2, Some(100)),
            ("-1.005", 10, 2, Some(-101)),
            ("0.004", 10, 2, Some(0)),
            ("0.005", 10, 2, Some(1)),
            ("99999999.995", 10, 2, None),
            ("99999999.994", 10, 2, Some(9_999_999_999)),
            ("1e3", 10, 2, Some(100_000)),
            ("15e-1", 10, 0, Some(2)),
            ("00012", 3, 0, Some(12)),
            (".5", 3, 1, Some(5)),
            ("5.", 3, 1, Some(50)),
            ("1e-40", 38, 2, Some(0)),
            ("1e40", 38, 2, None),
            ("", 3, 1, None),
            (".", 3, 1, None),
            ("1x", 3, 1, None),
            ("NaN", 3, 1, None),
        ] {
            assert_eq!(parse_decimal(text, precision, scale), expected, "{text}");
        }
        assert_eq!(format_decimal(-5, 2), "-0.05");
        assert_eq!(format_decimal(12_345, 2), "123.45");
        assert_eq!(format_decimal(7, 0), "7");
    }

    #[test]
    fn times_are_read_in_their_forms() {
        let expected = Some(1_761_057_000_000_000);
        for text in
            ["2025-10-21T14:30:00Z", "2025-10-21 14:30:00", "2025-10-21T16:30:00+02:00", "2025-10-21 14:30:00.000000Z"]
        {
            assert_eq!(parse_timestamp(text), expected, "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-02"), Some(86_400_000_000));
        assert_eq!(parse_timestamp("1970-01-01T00:00:60Z"), Some(60_000_000));
        assert_eq!(parse_timestamp("1969-12-31T23:59:59.999999Z"), Some(-1));
        for text in ["", "yesterday", "2025-13-01", "10000-01-01T00:00:00Z", "2025-10-21T25:00:00Z", "0000-01-01"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(parse_date("2025-1-1"), None);
        assert_eq!(parse_day("2025-10-21"), Some(20_382));
        assert_eq!(parse_day("2025-10-21 23:30:00-05:00"), Some(20_383));
        assert_eq!(parse_day("1969-12-31 23:59:59"), Some(-1));
    }

    #[test]
    fn ranges_end_where_text_is_no_longer_read() {
        let whole = |number| Value::Decimal(number);
        let number = |precision| ColumnType::Decimal { precision, scale: 0 };
        for (inside, outside, column_type) in [
            (Value::Date(-719_162), Value::Date(-719_163), ColumnType::Date),
            (Value::Date(2_932_896), Value::Date(2_932_897), ColumnType::Date),
            (
                Value::Timestamp(-62_135_596_800_000_000),
                Value::Timestamp(-62_135_596_800_000_001),
                ColumnType::Timestamp,
            ),
            (
                Value::Timestamp(253_402_300_799_999_999),
                Value::Timestamp(253_402_300_800_000_000),
                ColumnType::Timestamp,
            ),
            (whole(-999), whole(-1000), number(3)),
            (whole(10_i128.pow(38) - 1), whole(10_i128.pow(38)), number(38)),
            (Value::Null, Value::Timestamp(i64::MAX), ColumnType::Timestamp),
            (Value::Null, whole(i128::MIN), number(38)),
        ] {
            assert!(is_in_range(&inside, column_type), "{inside:?}");
            assert!(!is_in_range(&outside, column_type), "{outside:?}");
        }
    }

    /// A leap second at the very end was in the year 10000 once it was an instant.
    #[test]
    fn the_last_leap_second_is_no_time() {
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999999Z"), Some(253_402_300_799_999_999));
        for text in ["9999-12-31T23:59:60Z", "9999-12-31 23:59:60.5", "9999-12-31T23:30:00-01:00"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
