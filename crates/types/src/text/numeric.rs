//! Exact decimals: any text or digits in, scaled integers out, and back.
//!
//! A value of numeric(p, s) is an integer that counts units of ten to the power of -s. Excess fraction is rounded half away
//! from zero; a numeric without precision never rounds, it refuses what its fixed scale cannot hold.

use arrow::datatypes::i256;

use crate::error::ValueError;
use crate::sql_state::SqlState;
use crate::sql_type::{NUMERIC_PRECISION_MAX, UNCONSTRAINED_NUMERIC_SCALE};
use crate::text::integer::{split_radix, trim};

/// The declared shape of a numeric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Digits in all.
    pub(crate) precision: u8,
    /// Digits after the point.
    pub(crate) scale: i8,
    /// False for numeric without precision, which does not round.
    pub(crate) declared: bool,
}

impl Shape {
    /// The shape of `SqlType::Numeric`'s modifiers.
    pub(crate) fn new(modifiers: Option<(u8, i8)>) -> Shape {
        match modifiers {
            Some((precision, scale)) => Shape { precision, scale, declared: true },
            None => Shape { precision: NUMERIC_PRECISION_MAX, scale: UNCONSTRAINED_NUMERIC_SCALE, declared: false },
        }
    }

    /// The error of a value with too many digits before the point.
    pub(crate) fn overflow(self) -> ValueError {
        if !self.declared {
            return ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
                .with_detail("A numeric without precision holds at most 58 digits before the decimal point.");
        }
        let whole = i32::from(self.precision) - i32::from(self.scale);
        let bound = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
        ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
            "A field with precision {}, scale {} must round to an absolute value less than {bound}.",
            self.precision, self.scale
        ))
    }

    fn too_fine() -> ValueError {
        ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format").with_detail(
            "A numeric without precision holds at most 18 digits after the decimal point; declare the column as \
             numeric(precision, scale) to keep more, or to round.",
        )
    }

    /// Checks an integer that counts units of this shape's scale.
    pub(crate) fn check(self, units: i256) -> Result<i256, ValueError> {
        let limit = power_of_ten(u32::from(self.precision));
        if units >= limit || units <= limit.wrapping_neg() { Err(self.overflow()) } else { Ok(units) }
    }
}

/// The error of `NaN` and the infinities, which no fixed scale holds.
pub(crate) fn special_value(name: &str) -> ValueError {
    ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("numeric does not support {name}"))
}

/// Ten to the power of `exponent`, at most 76.
pub(crate) fn power_of_ten(exponent: u32) -> i256 {
    if exponent <= 38 {
        i256::from_i128(10i128.pow(exponent))
    } else {
        i256::from_i128(10i128.pow(38)).wrapping_mul(i256::from_i128(10i128.pow((exponent - 38).min(38))))
    }
}

/// Reads a numeric into units of the shape's scale.
pub(crate) fn parse(text: &str, shape: Shape) -> Result<i256, ValueError> {
    if let Some(units) = parse_short(text, shape) {
        return Ok(i256::from_i128(units));
    }
    let trimmed = trim(text);
    let (negative, rest) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let lower = rest.to_ascii_lowercase();
    match lower.as_str() {
        "nan" if rest.len() == trimmed.len() => return Err(special_value("NaN")),
        "inf" | "infinity" => return Err(special_value(if negative { "-Infinity" } else { "Infinity" })),
        _ => {}
    }
    let syntax = || ValueError::syntax("numeric", text);
    let (radix, radix_digits) = split_radix(rest);
    if radix != 10 {
        return parse_radix(radix_digits, radix, negative, shape).ok_or_else(syntax)?;
    }
    let number = Digits::parse(rest).ok_or_else(syntax)?;
    number.scaled(negative, shape)
}

/// The common case: at most 18 digits, a point at most, no exponent, no blanks, nothing to round.
fn parse_short(text: &str, shape: Shape) -> Option<i128> {
    let bytes = text.as_bytes();
    let (negative, bytes) = match bytes.first()? {
        b'-' => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    if bytes.is_empty() || bytes.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    let mut fraction: Option<u32> = None;
    let mut digits = 0;
    for &byte in bytes {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                fraction = fraction.map(|count| count + 1);
                digits += 1;
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return None,
        }
    }
    let missing = i32::from(shape.scale) - fraction.unwrap_or(0) as i32;
    if digits == 0 || !(0..=18).contains(&missing) {
        return None;
    }
    let units = i128::from(value) * 10i128.pow(missing as u32);
    if shape.precision < 38 && units >= 10i128.pow(u32::from(shape.precision)) {
        return None;
    }
    Some(if negative { -units } else { units })
}

fn parse_radix(digits: &str, radix: u32, negative: bool, shape: Shape) -> Option<Result<i256, ValueError>> {
    let mut value = i256::ZERO;
    let mut last_was_digit = true;
    let mut any = false;
    let limit = power_of_ten(74);
    for byte in digits.bytes() {
        if byte == b'_' {
            if !last_was_digit {
                return None;
            }
            last_was_digit = false;
            continue;
        }
        let digit = char::from(byte).to_digit(radix)?;
        (last_was_digit, any) = (true, true);
        if value < limit {
            value = value.wrapping_mul(i256::from(i64::from(radix))).wrapping_add(i256::from(i64::from(digit)));
        }
    }
    if !any || !last_was_digit {
        return None;
    }
    if value >= limit {
        return Some(Err(shape.overflow()));
    }
    let number = Digits { digits: value.to_string().into_bytes(), point: value.to_string().len() as i64 };
    Some(number.scaled(negative, shape))
}

/// A decimal as ASCII digits: the value is 0.DIGITS times ten to the power of `point`.
#[derive(Debug, PartialEq)]
pub(crate) struct Digits {
    pub(crate) digits: Vec<u8>,
    pub(crate) point: i64,
}

impl Digits {
    /// Reads digits with an optional point and exponent, without sign.
    pub(crate) fn parse(text: &str) -> Option<Digits> {
        let bytes = text.as_bytes();
        let mut digits = Vec::with_capacity(bytes.len());
        let mut point: Option<i64> = None;
        let mut at = 0;
        let mut last_was_digit = false;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'0'..=b'9' => {
                    digits.push(byte);
                    last_was_digit = true;
                }
                b'.' if point.is_none() && (at == 0 || last_was_digit) => {
                    point = Some(digits.len() as i64);
                    last_was_digit = false;
                }
                b'_' if last_was_digit && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => last_was_digit = false,
                _ => break,
            }
            at += 1;
        }
        if digits.is_empty() {
            return None;
        }
        let mut number = Digits { point: point.unwrap_or(digits.len() as i64), digits };
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let exponent = &text[at + 1..];
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            number.point += exponent.parse::<i64>().ok().filter(|value| value.abs() < i64::from(i32::MAX) / 2)?;
            at = bytes.len();
        }
        (at == bytes.len()).then(|| number.without_leading_zeros())
    }

    /// The same value from its first digit that is not 0.
    pub(crate) fn without_leading_zeros(mut self) -> Digits {
        let zeros = self.digits.iter().take_while(|digit| **digit == b'0').count();
        self.digits.drain(..zeros);
        self.point -= zeros as i64;
        self
    }

    /// The value in units of the shape's scale, rounded or refused.
    pub(crate) fn scaled(&self, negative: bool, shape: Shape) -> Result<i256, ValueError> {
        if self.digits.iter().all(|digit| *digit == b'0') {
            return Ok(i256::ZERO);
        }
        let kept = self.point + i64::from(shape.scale);
        if kept > i64::from(NUMERIC_PRECISION_MAX) {
            return Err(shape.overflow());
        }
        let kept_digits = usize::try_from(kept).unwrap_or(0).min(self.digits.len());
        let (head, tail) = self.digits.split_at(kept_digits);
        let mut units = i256::ZERO;
        for chunk in head.chunks(18) {
            let value = chunk.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
            units = units.wrapping_mul(power_of_ten(chunk.len() as u32)).wrapping_add(i256::from(value));
        }
        if kept > head.len() as i64 {
            units = units.wrapping_mul(power_of_ten((kept - head.len() as i64) as u32));
        }
        if tail.iter().any(|digit| *digit != b'0') {
            if !shape.declared {
                return Err(Shape::too_fine());
            }
            // With kept below 0 the first digit stands too far right to matter.
            if kept >= 0 && tail[0] >= b'5' {
                units = units.wrapping_add(i256::ONE);
            }
        }
        shape.check(if negative { units.wrapping_neg() } else { units })
    }
}

/// Changes the scale of an integer of units, rounding half away from zero, and checks it against the new shape.
pub(crate) fn rescale(units: i256, scale: i8, shape: Shape) -> Result<i256, ValueError> {
    let difference = i32::from(shape.scale) - i32::from(scale);
    if difference >= 0 {
        if units == i256::ZERO {
            return Ok(units);
        }
        if difference > 76 {
            return Err(shape.overflow());
        }
        let scaled = units.checked_mul(power_of_ten(difference as u32)).ok_or_else(|| shape.overflow())?;
        return shape.check(scaled);
    }
    if difference < -76 {
        return Ok(i256::ZERO);
    }
    let divisor = power_of_ten(difference.unsigned_abs());
    let (quotient, rest) = (units.wrapping_div(divisor), units.wrapping_rem(divisor));
    if rest == i256::ZERO {
        return shape.check(quotient);
    }
    if !shape.declared {
        return Err(Shape::too_fine());
    }
    // |rest| < 10^76 is less than half of what 256 bits hold, so doubling is safe.
    let twice = rest.wrapping_add(rest).wrapping_abs();
    let away = if units.is_negative() { i256::MINUS_ONE } else { i256::ONE };
    shape.check(if twice >= divisor { quotient.wrapping_add(away) } else { quotient })
}

/// The digits of a decimal in a buffer on the stack: sign, whole part, fraction.
pub(crate) struct Printed {
    buffer: [u8; 80],
    start: usize,
    negative: bool,
}

impl Printed {
    /// Prints an integer of up to 77 digits.
    pub(crate) fn new(units: i256) -> Printed {
        let mut printed = Printed { buffer: [b'0'; 80], start: 80, negative: units.is_negative() };
        match units.to_i128() {
            Some(units) => printed.push(units.unsigned_abs()),
            None => {
                let base = i256::from_i128(10i128.pow(38));
                let low = units.wrapping_rem(base).wrapping_abs().as_i128().unsigned_abs();
                let high = units.wrapping_div(base).wrapping_abs().as_i128().unsigned_abs();
                printed.push(low);
                printed.start = 80 - 38;
                printed.push(high);
            }
        }
        printed
    }

    /// Prints an integer that fits 128 bits.
    pub(crate) fn from_i128(units: i128) -> Printed {
        let mut printed = Printed { buffer: [b'0'; 80], start: 80, negative: units < 0 };
        printed.push(units.unsigned_abs());
        printed
    }

    fn push(&mut self, magnitude: u128) {
        let mut buffer = itoa::Buffer::new();
        let digits = match u64::try_from(magnitude) {
            Ok(small) => buffer.format(small),
            Err(_) => buffer.format(magnitude),
        };
        let end = self.start;
        self.start = end - digits.len();
        self.buffer[self.start..end].copy_from_slice(digits.as_bytes());
    }

    fn digits(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Splits into whole part (possibly empty) and fraction of exactly `scale` digits, of which leading zeros may be missing.
    fn split(&self, scale: usize) -> (&[u8], &[u8]) {
        let digits = self.digits();
        let whole = digits.len().saturating_sub(scale);
        digits.split_at(whole)
    }

    /// Appends the value as text; `trim` drops trailing zeros of the fraction.
    pub(crate) fn write_text(&self, out: &mut Vec<u8>, scale: i8, trim: bool) {
        let zero = self.digits() == b"0";
        if self.negative {
            out.push(b'-');
        }
        if scale <= 0 {
            out.extend_from_slice(self.digits());
            if !zero {
                out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
            }
            return;
        }
        let scale = usize::from(scale.unsigned_abs());
        let (whole, fraction) = self.split(scale);
        out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
        let kept = if trim { significant(fraction) } else { fraction.len() };
        if trim && kept == 0 {
            return;
        }
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', scale - fraction.len()));
        out.extend_from_slice(&fraction[..kept]);
    }

    /// Appends the value as PostgreSQL's binary numeric: groups of four decimal digits.
    pub(crate) fn write_binary(&self, out: &mut Vec<u8>, scale: i8, trim: bool) {
        // Whole part and fraction side by side, each padded to full groups; 80 + 128 zeros at the most.
        let mut text = [b'0'; 256];
        let digits = self.digits();
        let (whole, missing, shown) = if scale <= 0 {
            (digits.len() + usize::from(scale.unsigned_abs()), 0, 0)
        } else {
            let scale = usize::from(scale.unsigned_abs());
            let (whole, fraction) = self.split(scale);
            let missing = scale - fraction.len();
            let kept = if trim { significant(fraction) } else { fraction.len() };
            (whole.len(), missing, if trim && kept == 0 { 0 } else { missing + kept })
        };
        let whole_padding = (4 - whole % 4) % 4;
        // Zeros are missing after the point only where there is no whole part.
        let start = whole_padding + missing;
        text[start..start + digits.len()].copy_from_slice(digits);
        let groups_before = (whole + whole_padding) / 4;
        let groups = groups_before + shown.div_ceil(4);
        let group = |index: usize| {
            text[index * 4..index * 4 + 4].iter().fold(0i16, |value, digit| value * 10 + i16::from(digit - b'0'))
        };
        let first = (0..groups).find(|index| group(*index) != 0).unwrap_or(groups);
        let last = (first..groups).rev().find(|index| group(*index) != 0).map_or(first, |index| index + 1);
        let weight = if first == last { 0 } else { groups_before as i16 - first as i16 - 1 };
        let sign: u16 = if self.negative { 0x4000 } else { 0 };
        out.extend_from_slice(&((last - first) as i16).to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&(shown as u16).to_be_bytes());
        for index in first..last {
            out.extend_from_slice(&group(index).to_be_bytes());
        }
    }
}

/// Length without trailing zeros.
fn significant(fraction: &[u8]) -> usize {
    fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1)
}

/// Reads PostgreSQL's binary numeric into units of the shape's scale.
pub(crate) fn parse_binary(bytes: &[u8], shape: Shape) -> Result<i256, ValueError> {
    let invalid = |what: &str| {
        ValueError::new(
            SqlState::INVALID_BINARY_REPRESENTATION,
            format!("invalid {what} in external \"numeric\" value"),
        )
    };
    let field = |index: usize| bytes.get(index * 2..index * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (Some(count), Some(weight), Some(sign), Some(scale)) = (field(0), field(1), field(2), field(3)) else {
        return Err(ValueError::binary());
    };
    if bytes.len() != 8 + usize::from(count) * 2 {
        return Err(ValueError::binary());
    }
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xc000 => return Err(special_value("NaN")),
        0xd000 => return Err(special_value("Infinity")),
        0xf000 => return Err(special_value("-Infinity")),
        _ => return Err(invalid("sign")),
    };
    if scale > 0x3fff {
        return Err(invalid("scale"));
    }
    let mut digits = Vec::with_capacity(usize::from(count) * 4);
    for pair in bytes[8..].chunks_exact(2) {
        let group = u16::from_be_bytes([pair[0], pair[1]]);
        if group > 9_999 {
            return Err(invalid("digit"));
        }
        digits.extend([group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8));
    }
    let point = (i64::from(weight.cast_signed()) + 1) * 4;
    // What lies beyond the display scale does not count.
    let kept = usize::try_from(point + i64::from(scale)).unwrap_or(0);
    digits.truncate(kept);
    Digits { digits, point }.without_leading_zeros().scaled(negative, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(units: i256, scale: i8, trim: bool) -> String {
        let mut out = Vec::new();
        Printed::new(units).write_text(&mut out, scale, trim);
        String::from_utf8(out).unwrap()
    }

    fn round(text: &str, modifiers: Option<(u8, i8)>) -> Result<String, ValueError> {
        let shape = Shape::new(modifiers);
        Ok(text_of(parse(text, shape)?, shape.scale, !shape.declared))
    }

    #[test]
    fn declared_numerics_round_half_away_from_zero() {
        for (text, precision, scale, shown) in [
            ("1.005", 5, 2, "1.01"),
            ("-1.005", 5, 2, "-1.01"),
            ("1.00499999999999999999999999999999999999999999", 5, 2, "1.00"),
            ("0.5", 3, 0, "1"),
            ("-0.5", 3, 0, "-1"),
            ("0.05", 3, 0, "0"),
            ("0.004", 5, 2, "0.00"),
            ("-0.004", 5, 2, "0.00"),
            ("1e2", 5, 2, "100.00"),
            ("12.5e-1", 5, 2, "1.25"),
            ("  7 ", 5, 2, "7.00"),
            (".5", 5, 2, "0.50"),
            ("5.", 5, 2, "5.00"),
            ("1_000.5", 6, 1, "1000.5"),
            ("0x10", 5, 2, "16.00"),
            ("99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999"),
            ("1e75", 76, 0, "1000000000000000000000000000000000000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(round(text, Some((precision, scale))).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn numerics_without_precision_keep_what_they_get() {
        for (text, shown) in [
            ("1.50", "1.5"),
            ("-0.000000000000000001", "-0.000000000000000001"),
            ("1.0000000000000000000000", "1"),
            ("0.0", "0"),
            ("-0", "0"),
            ("1e57", "1000000000000000000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(round(text, None).as_deref(), Ok(shown), "{text}");
        }
        for text in ["1e58", "1e-19", "NaN", "Infinity", "-inf"] {
            assert_eq!(round(text, None).unwrap_err().sql_state, SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "{text}");
        }
    }

    #[test]
    fn overflow_and_syntax() {
        let error = round("999.995", Some((5, 2))).unwrap_err();
        assert_eq!(error.message, "numeric field overflow");
        assert_eq!(
            error.detail.as_deref(),
            Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
        );
        let detail = round("1", Some((2, 2))).unwrap_err().detail.unwrap();
        assert!(detail.ends_with("less than 1."), "{detail}");
        for text in ["", " ", ".", "1..2", "1e", "1e+", "abc", "1 2", "--1", "1__2", "_1", "0x", "+nan"] {
            let error = round(text, Some((5, 2))).unwrap_err();
            assert_eq!(error.message, format!("invalid input syntax for type numeric: \"{text}\""));
        }
    }

    #[test]
    fn binary_form() {
        for (text, scale, bytes) in [
            ("0", 0, &[0i16, 0, 0, 0][..]),
            ("0.00", 2, &[0, 0, 0, 2]),
            ("1", 0, &[1, 0, 0, 0, 1]),
            ("10000", 0, &[1, 1, 0, 0, 1]),
            ("-12345.678", 3, &[3, 1, 0x4000, 3, 1, 2345, 6780]),
            ("0.0001", 4, &[1, -1, 0, 4, 1]),
            ("0.00001", 5, &[1, -2, 0, 5, 1000]),
            ("123.40", 2, &[2, 0, 0, 2, 123, 4000]),
        ] {
            let shape = Shape::new(Some((38, scale)));
            let units = parse(text, shape).unwrap();
            let mut out = Vec::new();
            Printed::new(units).write_binary(&mut out, scale, false);
            let expected: Vec<u8> = bytes.iter().flat_map(|value| value.to_be_bytes()).collect();
            assert_eq!(out, expected, "{text}");
            assert_eq!(parse_binary(&out, shape), Ok(units), "{text}");
        }
    }

    #[test]
    fn rescaling() {
        let rescaled = |units: i64, scale, precision, new| {
            rescale(i256::from(units), scale, Shape::new(Some((precision, new)))).ok().and_then(i256::to_i128)
        };
        assert_eq!(rescaled(125, 2, 5, 1), Some(13));
        assert_eq!(rescaled(-125, 2, 5, 1), Some(-13));
        assert_eq!(rescaled(124, 2, 5, 1), Some(12));
        assert_eq!(rescaled(5, 0, 5, 2), Some(500));
        assert_eq!(rescaled(1000, 0, 5, 2), None);
    }
}
