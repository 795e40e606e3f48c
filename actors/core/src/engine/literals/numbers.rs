//! Numbers with a point beside a DECIMAL or a BIGINT, which hold what a DOUBLE does not.

use datafusion::arrow::datatypes::{DataType, i256};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::super::functions::EXACT_NUMBER;

/// Digits of the longest DECIMAL.
const MOST_DIGITS: usize = 38;
/// Up to here each whole number is a DOUBLE of its own.
const WHOLE_DOUBLES: i128 = 1 << 53;
/// What DataFusion makes of a BIGINT beside a DECIMAL.
const DIGITS_OF_BIGINT: u8 = 20;

/// The text of a number that is planned as a DOUBLE. The shortest text of a DOUBLE is what was written, up to the digits that
/// the planner is kept from losing.
pub(super) fn number_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) if number.is_finite() => Some(number.to_string()),
        Expr::ScalarFunction(function) if function.name() == EXACT_NUMBER => match function.args.as_slice() {
            [Expr::Literal(text, _)] => text.try_as_str().flatten().map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

/// A number as what it is compared with exactly; none where a DOUBLE does, or nothing can.
pub(super) fn number_beside(text: &str, other: &DataType) -> Option<ScalarValue> {
    let number = Exact::of(text)?;
    match other {
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).ok()?;
            Some(number.scaled_to(*precision, scale).unwrap_or_else(|| number.beside(*precision, scale)))
        }
        DataType::Int64 => {
            let whole = number.unscaled / 10_i128.checked_pow(u32::from(number.scale))?;
            if whole.abs() < WHOLE_DOUBLES {
                return None;
            }
            let of_its_type = i64::try_from(whole).ok().filter(|_| number.scale == 0);
            Some(
                of_its_type.map_or_else(|| number.beside(DIGITS_OF_BIGINT, 0), |whole| ScalarValue::Int64(Some(whole))),
            )
        }
        _ => None,
    }
}

/// A number of up to 38 digits, without zeros at the end of its fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exact {
    unscaled: i128,
    precision: u8,
    scale: u8,
}

impl Exact {
    fn of(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_end_matches('0');
        let cut = i64::try_from(all.len() - significant.len()).ok()?;
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self { unscaled: 0, precision: 1, scale: 0 });
        }
        let scale = i64::try_from(fraction.len()).ok()?.checked_sub(cut)?.checked_sub(exponent)?;
        // Zeros before the point belong to the digits.
        let zeros = usize::try_from(scale.checked_neg()?.max(0)).ok()?;
        let scale = usize::try_from(scale.max(0)).ok()?;
        let precision = significant.len().checked_add(zeros)?.max(scale);
        if precision > MOST_DIGITS {
            return None;
        }
        let unscaled =
            significant.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(u32::try_from(zeros).ok()?)?)?;
        Some(Self {
            unscaled: if negative { -unscaled } else { unscaled },
            precision: u8::try_from(precision).ok()?,
            scale: u8::try_from(scale).ok()?,
        })
    }

    /// As a value of just that type, where it is one: then what it is compared with stays as it is stored.
    fn scaled_to(self, precision: u8, scale: u8) -> Option<ScalarValue> {
        let more = scale.checked_sub(self.scale)?;
        let unscaled = self.unscaled.checked_mul(10_i128.checked_pow(u32::from(more))?)?;
        let fits = unscaled.unsigned_abs() < 10_u128.checked_pow(u32::from(precision))?;
        fits.then(|| ScalarValue::Decimal128(Some(unscaled), precision, i8::try_from(scale).unwrap_or(i8::MAX)))
    }

    /// As a value of its own type. It is of the longer kind where no DECIMAL holds all digits of both sides: values of the
    /// other side would not fit, which is an error.
    fn beside(self, precision: u8, scale: u8) -> ScalarValue {
        let whole = precision.saturating_sub(scale).max(self.precision - self.scale);
        let own_scale = i8::try_from(self.scale).unwrap_or(i8::MAX);
        if usize::from(whole) + usize::from(scale.max(self.scale)) <= MOST_DIGITS {
            ScalarValue::Decimal128(Some(self.unscaled), self.precision, own_scale)
        } else {
            ScalarValue::Decimal256(Some(i256::from_i128(self.unscaled)), self.precision, own_scale)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_the_last_digit() {
        for (text, expected) in [
            ("1234567.89", Some((123_456_789, 9, 2))),
            ("-1234567.890", Some((-123_456_789, 9, 2))),
            ("12345678901234567890.1234567891", Some((123_456_789_012_345_678_901_234_567_891, 30, 10))),
            ("0.005", Some((5, 3, 3))),
            (".5", Some((5, 1, 1))),
            ("5.", Some((5, 1, 0))),
            ("1e3", Some((1000, 4, 0))),
            ("1.25E+2", Some((125, 3, 0))),
            ("1200e-4", Some((12, 2, 2))),
            ("-0.0", Some((0, 1, 0))),
            ("1e37", Some((10_i128.pow(37), 38, 0))),
            ("1e38", None),
            ("1e-38", Some((1, 38, 38))),
            ("1e-39", None),
            ("1e9999999999999999999", None),
            ("1e-9223372036854775808", None),
            ("0.123456789012345678901234567890123456789", None),
            ("NaN", None),
            ("", None),
        ] {
            let read = Exact::of(text).map(|number| (number.unscaled, number.precision, number.scale));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn numbers_take_the_type_beside_them_where_it_has_them() {
        use ScalarValue::{Decimal128, Decimal256, Int64};
        let column = DataType::Decimal128(10, 2);
        let long = DataType::Decimal128(38, 10);
        for (text, other, expected) in [
            ("1234567.89", &column, Some(Decimal128(Some(123_456_789), 10, 2))),
            ("-1e3", &column, Some(Decimal128(Some(-100_000), 10, 2))),
            ("1.005", &column, Some(Decimal128(Some(1005), 4, 3))),
            ("123456789.5", &column, Some(Decimal128(Some(1_234_567_895), 10, 1))),
            ("0.00000000001", &long, Some(Decimal256(Some(i256::ONE), 11, 11))),
            ("1e300", &column, None),
            ("1.5", &DataType::Int64, None),
            ("9007199254740992.0", &DataType::Int64, Some(Int64(Some(9_007_199_254_740_992)))),
            ("9007199254740992.5", &DataType::Int64, Some(Decimal128(Some(90_071_992_547_409_925), 17, 1))),
            ("9223372036854775808.0", &DataType::Int64, Some(Decimal128(Some(9_223_372_036_854_775_808), 19, 0))),
            ("1234567.89", &DataType::Float64, None),
        ] {
            assert_eq!(number_beside(text, other), expected, "{text}");
        }
    }
}
