//! The names of columns that are asked for with every row, each with a number, so that a layout keeps their places in an array.

use crate::metadata::METADATA;

/// What else is asked for by name.
const OTHERS: [&str; 4] = ["deck", "schemaversion", "schemaVersion", "object"];

/// How many names are known.
pub(super) const KNOWN: usize = METADATA.len() + OTHERS.len();

const NAMES: [&str; KNOWN] = {
    let mut names = [""; KNOWN];
    let mut at = 0;
    while at < KNOWN {
        names[at] = if at < METADATA.len() {
            METADATA[at]
        } else {
            OTHERS[at - METADATA.len()]
        };
        at += 1;
    }
    names
};

/// No name.
const NONE: u8 = u8::MAX;

/// The number of the name that has this hash. It does not compile if two names have the same hash: then [`hash`] needs other factors.
const BY_HASH: [u8; 128] = {
    let mut numbers = [NONE; 128];
    let mut number: u8 = 0;
    while (number as usize) < KNOWN {
        let at = hash(NAMES[number as usize].as_bytes());
        assert!(numbers[at] == NONE, "two names have the same hash");
        numbers[at] = number;
        number += 1;
    }
    numbers
};

/// Of a text that is not empty.
const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    let (first, last, middle) = (
        name[0] as usize,
        name[length - 1] as usize,
        name[length / 2] as usize,
    );
    (length + first * 2 + last * 14 + middle * 15) % 128
}

/// The number of a known name.
pub(super) fn number_of(name: &[u8]) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let number = usize::from(BY_HASH[hash(name)]);
    NAMES
        .get(number)
        .is_some_and(|known| known.as_bytes() == name)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_number() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(number_of(name.as_bytes()), Some(number), "{name}");
            assert_eq!(number_of(format!("{name}x").as_bytes()), None);
        }
        assert_eq!(number_of(b""), None);
    }
}
