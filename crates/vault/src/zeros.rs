//! Zeros, which occupy nothing when they are not written.

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| *block == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zeros_until_one_byte_is_none() {
        for size in [0, 1, 63, 64, 65, 300] {
            let mut bytes = vec![0; size];
            assert!(is_zero(&bytes));
            for place in 0..size {
                bytes[place] = 1;
                assert!(!is_zero(&bytes), "{size} {place}");
                bytes[place] = 0;
            }
        }
    }
}
