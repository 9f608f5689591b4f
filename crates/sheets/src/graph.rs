//! Parents: what was taken from what. A chain of parents has an end.

/// The rows of a circle, if there is one: `parents` has, for each row, those that it names as its parents.
pub(crate) fn circle(parents: &[Vec<usize>]) -> Option<Vec<usize>> {
    /// Not looked at, on the way that is looked at, and done with.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Seen {
        No,
        OnTheWay,
        Done,
    }
    let of = |row: usize| parents.get(row).map_or(&[][..], Vec::as_slice);
    let mut seen = vec![Seen::No; parents.len()];
    for start in 0..parents.len() {
        if seen.get(start) != Some(&Seen::No) {
            continue;
        }
        // The way from the start, each row with the parents that are still to be looked at.
        let mut way = vec![(start, of(start))];
        if let Some(seen) = seen.get_mut(start) {
            *seen = Seen::OnTheWay;
        }
        while let Some((row, left)) = way.last_mut() {
            let row = *row;
            let Some((next, rest)) = left.split_first() else {
                if let Some(seen) = seen.get_mut(row) {
                    *seen = Seen::Done;
                }
                way.pop();
                continue;
            };
            *left = rest;
            let next = *next;
            match seen.get_mut(next) {
                Some(state @ Seen::No) => {
                    *state = Seen::OnTheWay;
                    way.push((next, of(next)));
                }
                Some(Seen::OnTheWay) => {
                    return Some(way.iter().map(|(row, _)| *row).skip_while(|row| *row != next).collect());
                }
                Some(Seen::Done) | None => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_nothing_else() {
        let of = |parents: &[&[usize]]| circle(&parents.iter().map(|own| own.to_vec()).collect::<Vec<_>>());
        assert_eq!(of(&[&[], &[0], &[0, 1], &[2, 0]]), None);
        assert_eq!(of(&[&[0]]), Some(vec![0]));
        assert_eq!(of(&[&[], &[0, 3], &[1], &[2]]).map(|circle| circle.len()), Some(3));
        // Long chains need no stack.
        let chain: Vec<Vec<usize>> = (0..100_000_usize).map(|row| row.checked_sub(1).into_iter().collect()).collect();
        assert_eq!(circle(&chain), None);
    }
}
