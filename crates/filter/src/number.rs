//! Numbers as PHP reads and writes them: numeric strings, JSON numbers, floats as text.
//!
//! Guarantee: nothing here allocates or panics.

use std::fmt::{self, Write as _};

use crate::budget::Fuel;

/// Texts longer than this (bytes) are not read as numbers: reading takes some nanoseconds a digit and cannot be stopped.
const MAX_LENGTH: usize = 1 << 20;

/// Charges for reading `text` as a number, if that reads more than its start.
#[inline]
pub(crate) fn charge(text: &str, fuel: &mut Fuel) {
    if text.len() > 32 && text.as_bytes().first().is_some_and(|b| begins_number(*b)) {
        if text.len() > MAX_LENGTH {
            fuel.spend(u64::MAX);
        }
        fuel.spend((text.len() >> 3) as u64);
    }
}

/// Whether a number can begin with this byte; white space may come before it.
const fn begins_number(b: u8) -> bool {
    matches!(
        b,
        b'0'..=b'9' | b'+' | b'-' | b'.' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c
    )
}

/// The value of a numeric string.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Numeric {
    Int(i64),
    /// A float; `overflow` is the sign of an integer too large for 64 bits, 0 for everything else. Two such integers that
    /// round to the same float are compared as text.
    Float {
        value: f64,
        overflow: i8,
    },
}

impl Numeric {
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "PHP converts the same way")]
            Self::Int(i) => i as f64,
            Self::Float { value, .. } => value,
        }
    }
}

/// The smallest integer.
const MIN_AS_FLOAT: f64 = -9_223_372_036_854_775_808.0;

/// The value of `text` if all of it is a number, with white space around it allowed, as `is_numeric` accepts it.
pub(crate) fn numeric(text: &str) -> Option<Numeric> {
    // Most strings in documents start with a letter and return here.
    if !begins_number(*text.as_bytes().first()?) {
        return None;
    }
    let (number, end) = leading(text)?;
    text.as_bytes()[end..]
        .iter()
        .all(|&b| is_space(b))
        .then_some(number)
}

/// The value of the number that `text` starts with, and where it ends.
pub(crate) fn leading(text: &str) -> Option<(Numeric, usize)> {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|&b| !is_space(b))?;
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let digits_from = |from: usize| {
        bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };

    let negative = at(start) == b'-';
    let unsigned = start + usize::from(matches!(at(start), b'-' | b'+'));
    let whole = digits_from(unsigned);
    if whole == 0 && !(at(unsigned) == b'.' && at(unsigned + 1).is_ascii_digit()) {
        return None;
    }
    let mut end = unsigned + whole;
    let mut is_float = false;
    if at(end) == b'.' {
        is_float = true;
        end += 1 + digits_from(end + 1);
    }
    if matches!(at(end), b'e' | b'E') {
        let exponent = end + 1 + usize::from(matches!(at(end + 1), b'-' | b'+'));
        let digits = digits_from(exponent);
        if digits > 0 {
            is_float = true;
            end = exponent + digits;
        }
    }
    let written = &text[start..end];
    if is_float {
        // Rust reads everything that matches the grammar above.
        let value = written.parse().ok()?;
        return Some((Numeric::Float { value, overflow: 0 }, end));
    }
    let number = match written.parse::<i64>() {
        // PHP compares these digits to the end of the text: with anything behind them it is too large to it.
        Ok(i64::MIN) if end < bytes.len() => Numeric::Float {
            value: MIN_AS_FLOAT,
            overflow: -1,
        },
        Ok(i) => Numeric::Int(i),
        Err(_) => Numeric::Float {
            value: written.parse().ok()?,
            overflow: if negative { -1 } else { 1 },
        },
    };
    Some((number, end))
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The list index that PHP makes of the key `text`, if it is written as one.
pub(crate) fn list_index(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let canonical = match bytes {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// The integer that PHP's `%` makes of a float: modulo 2^64, 0 for what is not finite.
pub(crate) fn float_to_int(value: f64) -> i64 {
    const TWO_64: f64 = 18_446_744_073_709_551_616.0;
    if !value.is_finite() {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "both are in range")]
    if value.abs() < 9_223_372_036_854_775_808.0 {
        value as i64
    } else {
        let wrapped = (value % TWO_64) as i128;
        wrapped as i64
    }
}

/// A short text on the stack: a number as PHP writes it.
#[derive(Clone, Copy)]
pub(crate) struct ShortText {
    bytes: [u8; 32],
    len: usize,
}

impl ShortText {
    const fn new() -> Self {
        Self {
            bytes: [0; 32],
            len: 0,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only whole `str`s are ever written, so the bytes are valid UTF-8.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let free = self
            .bytes
            .get_mut(self.len..self.len + s.len())
            .ok_or(fmt::Error)?;
        free.copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

/// `(string)` of an integer.
pub(crate) fn int_text(value: i64) -> ShortText {
    let mut text = ShortText::new();
    // It has at most 20 characters, so it fits.
    let _ = write!(text, "{value}");
    text
}

/// `(string)` of a float: 14 significant digits, `1.0E+25` beyond.
pub(crate) fn float_text(value: f64) -> ShortText {
    let mut text = ShortText::new();
    if !value.is_finite() {
        let _ = text.write_str(match (value.is_nan(), value > 0.0) {
            (true, _) => "NAN",
            (_, true) => "INF",
            (_, false) => "-INF",
        });
        return text;
    }
    if value == 0.0 {
        let _ = text.write_str(if value.is_sign_negative() { "-0" } else { "0" });
        return text;
    }
    let mut scientific = ShortText::new();
    // "d.ddddddddddddde-308": 14 digits, at most 21 characters with the sign.
    let _ = write!(scientific, "{:.13e}", value.abs());
    let Some((mantissa, exponent)) = scientific.as_str().split_once('e') else {
        return text;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mut digits = [0_u8; 14];
    for (digit, byte) in digits.iter_mut().zip(mantissa.bytes().filter(|&b| b != b'.')) {
        *digit = byte;
    }
    let significant = digits.iter().rposition(|&d| d != b'0').map_or(1, |last| last + 1);
    let digits = std::str::from_utf8(&digits[..significant]).unwrap_or_default();
    if value < 0.0 {
        let _ = text.write_str("-");
    }
    // The longest is "-0.000ddddddddddddddd" or "-d.dddddddddddddE-308": both fit.
    let _ = if !(-4..15 - 1).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let rest = if rest.is_empty() { "0" } else { rest };
        write!(text, "{first}.{rest}E{exponent:+}")
    } else if exponent < 0 {
        let zeros = &"000"[..usize::try_from(-exponent - 1).unwrap_or_default()];
        write!(text, "0.{zeros}{digits}")
    } else {
        let whole = usize::try_from(exponent + 1).unwrap_or_default();
        if significant <= whole {
            let zeros = &"00000000000000"[..whole - significant];
            write!(text, "{digits}{zeros}")
        } else {
            let (whole, fraction) = digits.split_at(whole);
            write!(text, "{whole}.{fraction}")
        }
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_strings_are_those_of_php() {
        for text in [
            "1.",
            " 1",
            "1 ",
            "1\x0b",
            " \t\n\r\x0b\x0c1",
            ".5",
            "1.e5",
            "1e5",
            "+1",
            "-1",
            "1E-3",
            "00",
        ] {
            assert!(numeric(text).is_some(), "{text:?}");
        }
        for text in [
            "", ".", "1e", "1e+", "--1", "+ 1", "0x1", "1_0", "٣", " ", "1\0", "abc", "1a", "e5", "-", "-.",
        ] {
            assert!(numeric(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn large_integers_become_floats_that_remember_it() {
        assert_eq!(numeric("9223372036854775807 "), Some(Numeric::Int(i64::MAX)));
        assert_eq!(numeric("-9223372036854775808"), Some(Numeric::Int(i64::MIN)));
        assert_eq!(numeric(" -9223372036854775808"), Some(Numeric::Int(i64::MIN)));
        assert!(matches!(
            numeric("-9223372036854775808 "),
            Some(Numeric::Float { overflow: -1, .. })
        ));
        let Some(Numeric::Float { value, overflow }) = numeric("-9223372036854775809") else {
            panic!("not a float");
        };
        assert!(value < -9.2e18);
        assert_eq!(overflow, -1);
        assert_eq!(
            numeric("1e0"),
            Some(Numeric::Float {
                value: 1.0,
                overflow: 0
            })
        );
    }

    #[test]
    fn floats_are_written_with_14_digits() {
        for (value, text) in [
            (1e15, "1.0E+15"),
            (1e14, "1.0E+14"),
            (1e13, "10000000000000"),
            (123_456_789_012_345_678.0, "1.2345678901235E+17"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1.5e-7, "1.5E-7"),
            (0.0001, "0.0001"),
            (0.000_01, "1.0E-5"),
            (f64::INFINITY, "INF"),
            (1.0, "1"),
            (1_711_971_024.123_456, "1711971024.1235"),
            (-9.99, "-9.99"),
            (5e-324, "4.9406564584125E-324"),
            (f64::MAX, "1.7976931348623E+308"),
        ] {
            assert_eq!(float_text(value).as_str(), text);
        }
        assert_eq!(int_text(i64::MIN).as_str(), "-9223372036854775808");
    }

    #[test]
    fn floats_become_integers_modulo_two_to_the_64() {
        assert_eq!(float_to_int(1.9), 1);
        assert_eq!(float_to_int(-1.9), -1);
        assert_eq!(float_to_int(f64::INFINITY), 0);
        assert_eq!(float_to_int(1e20), 7_766_279_631_452_241_920);
        assert_eq!(float_to_int(-1e20), -7_766_279_631_452_241_920);
    }

    #[test]
    fn only_canonical_indices_are_indices() {
        assert_eq!(list_index("0"), Some(0));
        assert_eq!(list_index("17"), Some(17));
        for text in ["", "01", "-1", "+1", "1.0", "a", "99999999999999999999999"] {
            assert_eq!(list_index(text), None, "{text:?}");
        }
    }
}
