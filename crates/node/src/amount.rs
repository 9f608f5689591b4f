//! Amounts of bytes as people write them.

/// Each unit is 1,024 of the one before.
const UNITS: [(char, u32); 4] = [('k', 10), ('M', 20), ('G', 30), ('T', 40)];

/// A number of bytes, with one of these units after it or none.
pub(crate) fn parse(text: &str, units: &[char]) -> Option<u64> {
    let of_unit = |(letter, shift): (char, u32)| Some((text.strip_suffix(letter)?, 1_u64 << shift));
    let known = UNITS.into_iter().filter(|(letter, _)| units.contains(letter));
    let (number, unit) = known.into_iter().find_map(of_unit).unwrap_or((text, 1));
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// An amount as [`parse`] reads it, in the largest of these units that leaves nothing over.
pub(crate) fn print(bytes: u64, units: &[char]) -> String {
    let fits = |(letter, shift): &(char, u32)| bytes > 0 && units.contains(letter) && bytes.is_multiple_of(1 << shift);
    let unit = UNITS.into_iter().rev().find(fits);
    unit.map_or_else(|| bytes.to_string(), |(letter, shift)| format!("{}{letter}", bytes >> shift))
}
