//! Intervals as ISO 8601 durations, times of day.

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::{
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalYearMonthType,
};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use kalamdb_commons::{Error, Result};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// `14:30:00.000000`
pub(super) fn time_of_day(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, micros.rem_euclid(1_000_000))
}

/// `P1Y2M3DT4H5M6.789S`; each part with its own sign, as PostgreSQL writes them.
pub(super) fn iso8601(array: &ArrayRef, row: usize) -> Result<String> {
    let (months, days, nanos): (i64, i64, i128) = match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            (array.as_primitive::<IntervalYearMonthType>().value(row).into(), 0, 0)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            (0, value.days.into(), i128::from(value.milliseconds) * 1_000_000)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            (value.months.into(), value.days.into(), value.nanoseconds.into())
        }
        DataType::Duration(unit) => {
            let nanos = match unit {
                TimeUnit::Second => {
                    i128::from(array.as_primitive::<DurationSecondType>().value(row)) * NANOS_PER_SECOND
                }
                TimeUnit::Millisecond => {
                    i128::from(array.as_primitive::<DurationMillisecondType>().value(row)) * 1_000_000
                }
                TimeUnit::Microsecond => i128::from(array.as_primitive::<DurationMicrosecondType>().value(row)) * 1000,
                TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row).into(),
            };
            (0, 0, nanos)
        }
        other => return Err(Error::internal(format!("{other} is no interval"))),
    };
    Ok(format(months, days, nanos))
}

fn format(months: i64, days: i64, nanos: i128) -> String {
    let mut text = String::from("P");
    let mut part = |number: i128, unit: char| {
        if number != 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    };
    part((months / 12).into(), 'Y');
    part((months % 12).into(), 'M');
    part(days.into(), 'D');
    if nanos != 0 {
        let seconds = nanos / NANOS_PER_SECOND;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let fraction = (nanos % NANOS_PER_SECOND).unsigned_abs();
        text.push('T');
        for (number, unit) in [(hours, 'H'), (minutes, 'M')] {
            if number != 0 {
                text.push_str(&format!("{number}{unit}"));
            }
        }
        if seconds != 0 || fraction != 0 {
            let sign = if nanos < 0 { "-" } else { "" };
            text.push_str(&format!("{sign}{}", seconds.unsigned_abs()));
            if fraction != 0 {
                text.push_str(format!(".{fraction:09}").trim_end_matches('0'));
            }
            text.push('S');
        }
    }
    if text.len() == 1 { "PT0S".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_iso_8601() {
        let hour = 3600 * NANOS_PER_SECOND;
        assert_eq!(format(14, 3, hour * 4 + 5 * 60 * NANOS_PER_SECOND + 6_789_000_000), "P1Y2M3DT4H5M6.789S");
        assert_eq!(format(0, 0, 0), "PT0S");
        assert_eq!(format(-1, 1, -500_000_000), "P-1M1DT-0.5S");
        assert_eq!(format(0, 0, -hour), "PT-1H");
    }

    #[test]
    fn times_of_day_have_six_digits() {
        assert_eq!(time_of_day(52_200_000_000), "14:30:00.000000");
        assert_eq!(time_of_day(1), "00:00:00.000001");
    }
}
