//! Floating-point numbers: shortest exact digits in PostgreSQL's layout.

use crate::error::ValueError;
use crate::sql_state::SqlState;
use crate::text::integer::trim;

/// Reads a `double precision`.
pub(crate) fn parse_f64(text: &str) -> Result<f64, ValueError> {
    parse(text, "double precision", f64::is_infinite, |value| *value == 0.0)
}

/// Reads a `real`.
pub(crate) fn parse_f32(text: &str) -> Result<f32, ValueError> {
    parse(text, "real", |value: f32| value.is_infinite(), |value| *value == 0.0)
}

fn parse<F: std::str::FromStr + Copy>(
    text: &str,
    type_name: &str,
    is_infinite: impl Fn(F) -> bool,
    is_zero: impl Fn(&F) -> bool,
) -> Result<F, ValueError> {
    let trimmed = trim(text);
    let value: F = trimmed.parse().map_err(|_| ValueError::syntax(type_name, text))?;
    if (is_infinite(value) || is_zero(&value)) && lost_its_size(trimmed, is_infinite(value)) {
        return Err(ValueError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{trimmed}\" is out of range for type {type_name}"),
        ));
    }
    Ok(value)
}

/// Whether a number became infinite or zero only because the type ends before it.
fn lost_its_size(text: &str, infinite: bool) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    if infinite {
        text.bytes().any(|byte| byte.is_ascii_digit())
    } else {
        mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
    }
}

/// Appends a `double precision`.
pub(crate) fn write_f64(out: &mut Vec<u8>, value: f64, extra_float_digits: i32) {
    if !value.is_finite() {
        return write_special(out, value.is_nan(), value < 0.0);
    }
    if extra_float_digits > 0 {
        let mut buffer = ryu::Buffer::new();
        let shortest = buffer.format_finite(value);
        // Only integers beyond the mantissa can have a short neighbour exactly half way.
        if value.abs() > 9e15 && is_half_way(shortest, value.abs()) {
            return write_shortest(out, &longer(value, 17, |text| text.parse() == Ok(value)), 15);
        }
        write_shortest(out, shortest, 15);
    } else {
        write_general(out, value, 15 + extra_float_digits);
    }
}

/// Appends a `real`.
pub(crate) fn write_f32(out: &mut Vec<u8>, value: f32, extra_float_digits: i32) {
    if !value.is_finite() {
        return write_special(out, value.is_nan(), value < 0.0);
    }
    if extra_float_digits > 0 {
        let mut buffer = ryu::Buffer::new();
        let shortest = buffer.format_finite(value);
        if value.abs() > 1.6e7 && is_half_way_f32(shortest, value.abs()) {
            return write_shortest(out, &longer(value, 9, |text| text.parse() == Ok(value)), 6);
        }
        write_shortest(out, shortest, 6);
    } else {
        write_general(out, f64::from(value), 6 + extra_float_digits);
    }
}

/// Whether a decimal lies exactly half way between a float and a neighbour. It reads back as the float only because ties go
/// to even, and PostgreSQL does not print such digits.
fn is_half_way(decimal: &str, value: f64) -> bool {
    let (mantissa, exponent) = (value.to_bits() & ((1 << 52) - 1) | 1 << 52, (value.to_bits() >> 52) as i32 - 1075);
    is_middle(decimal, u128::from(mantissa), exponent)
}

fn is_half_way_f32(decimal: &str, value: f32) -> bool {
    let (mantissa, exponent) = (value.to_bits() & ((1 << 23) - 1) | 1 << 23, (value.to_bits() >> 23) as i32 - 150);
    is_middle(decimal, u128::from(mantissa), exponent)
}

/// Whether `decimal` is (2 * mantissa +- 1) * 2^(exponent - 1), or the nearer lower middle below a power of two.
fn is_middle(decimal: &str, mantissa: u128, exponent: i32) -> bool {
    let mut digits: u128 = 0;
    let mut power: i32 = 0;
    let mut seen_point = false;
    for (at, byte) in decimal.bytes().enumerate() {
        match byte {
            b'-' => {}
            b'.' => seen_point = true,
            b'e' => {
                power += decimal[at + 1..].parse().unwrap_or(0);
                break;
            }
            digit => {
                digits = digits * 10 + u128::from(digit - b'0');
                power -= i32::from(seen_point);
            }
        }
    }
    while digits != 0 && digits.is_multiple_of(10) {
        digits /= 10;
        power += 1;
    }
    // The middle is an odd number times a power of two; five to the power of 24 exceeds any mantissa.
    if digits == 0 || !(0..24).contains(&power) {
        return false;
    }
    let odd = (digits >> digits.trailing_zeros()) * 5u128.pow(power.cast_unsigned());
    let twos = digits.trailing_zeros().cast_signed() + power;
    (twos == exponent - 1 && (odd == 2 * mantissa + 1 || odd == 2 * mantissa - 1))
        || (twos == exponent - 2 && mantissa.is_power_of_two() && odd == 4 * mantissa - 1)
}

/// The shortest correctly rounded decimal that reads back as the value and is no middle.
fn longer<F: std::fmt::LowerExp + Copy + Into<f64>>(value: F, most: usize, same: impl Fn(&str) -> bool) -> String {
    let middle = |text: &str| {
        if most == 9 {
            is_half_way_f32(text, Into::<f64>::into(value).abs() as f32)
        } else {
            is_half_way(text, Into::<f64>::into(value).abs())
        }
    };
    (0..most).map(|digits| format!("{value:.digits$e}")).find(|text| same(text) && !middle(text)).unwrap_or_default()
}

fn write_special(out: &mut Vec<u8>, nan: bool, negative: bool) {
    out.extend_from_slice(match (nan, negative) {
        (true, _) => b"NaN",
        (false, true) => b"-Infinity",
        (false, false) => b"Infinity",
    });
}

/// Lays out the digits of `formatted` (any of `12.5`, `1e-7`, `-1.25e100`) as PostgreSQL does, which writes an exponent below
/// -4 and from `exponent_from` on.
fn write_shortest(out: &mut Vec<u8>, formatted: &str, exponent_from: i32) {
    let bytes = formatted.as_bytes();
    let (negative, bytes) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    // Digits without point and outer zeros; the value is 0.DIGITS times ten to the power of `point`.
    let mut digits = [0u8; 40];
    let mut count = 0;
    let mut point = 0i32;
    let mut seen_point = false;
    let mut exponent = 0i32;
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'.' => seen_point = true,
            b'e' | b'E' => {
                exponent = formatted[formatted.len() - (bytes.len() - index - 1)..].parse().unwrap_or(0);
                break;
            }
            b'0' if count == 0 => point -= i32::from(seen_point),
            _ => {
                digits[count] = byte;
                count += 1;
                point += i32::from(!seen_point);
            }
        }
    }
    while count > 0 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if negative {
        out.push(b'-');
    }
    if count == 0 {
        return out.push(b'0');
    }
    lay_out(out, &digits[..count], point + exponent - 1, exponent_from);
}

/// Appends D.DDD times ten to the power of `exponent`, with an exponent where PostgreSQL writes one.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], exponent: i32, exponent_from: i32) {
    if exponent < -4 || exponent >= exponent_from {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        super::integer::write(out, exponent.unsigned_abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            out.extend_from_slice(digits);
            out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

/// C's `%.*g`: rounded to so many digits, without trailing zeros.
fn write_general(out: &mut Vec<u8>, value: f64, digits: i32) {
    let digits = digits.max(1);
    let formatted = format!("{:.*e}", (digits - 1) as usize, value);
    write_shortest(out, &formatted, digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f64_text(value: f64, extra: i32) -> String {
        let mut out = Vec::new();
        write_f64(&mut out, value, extra);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn double_precision_as_postgresql_spells_it() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1e+15"),
            (1e20, "1e+20"),
            (1e22, "1e+22"),
            (2e23, "1.9999999999999998e+23"),
            (9_459_360_714e9, "9.459360713999999e+18"),
            (1.25e100, "1.25e+100"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-300, "1.5e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(f64_text(value, 1), text);
        }
        for (value, extra, text) in
            [(0.1 + 0.2, 0, "0.3"), (1.0 / 3.0, -12, "0.333"), (123_456.0, -13, "1.2e+05"), (100.0, 0, "100")]
        {
            assert_eq!(f64_text(value, extra), text);
        }
    }

    #[test]
    fn real_as_postgresql_spells_it() {
        for (value, text) in [
            (1.1f32, "1.1"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.234567e+06"),
            (16_777_216.0, "1.6777216e+07"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
            (22e9, "2.2000001e+10"),
            (12e10, "1.20000004e+11"),
            (3.402_823_5e38, "3.4028235e+38"),
        ] {
            let mut out = Vec::new();
            write_f32(&mut out, value, 1);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn input_and_its_limits() {
        for (text, value) in
            [(" 1.5 ", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-inf", f64::NEG_INFINITY), ("0e-999", 0.0)]
        {
            assert_eq!(parse_f64(text), Ok(value), "{text}");
        }
        assert!(parse_f64("nan").unwrap().is_nan());
        for (text, message) in [
            ("1e400", "\"1e400\" is out of range for type double precision"),
            ("1e-400", "\"1e-400\" is out of range for type double precision"),
            ("", "invalid input syntax for type double precision: \"\""),
            ("1,5", "invalid input syntax for type double precision: \"1,5\""),
        ] {
            assert_eq!(parse_f64(text).unwrap_err().message, message);
        }
        assert_eq!(parse_f32("1e39").unwrap_err().message, "\"1e39\" is out of range for type real");
    }
}
