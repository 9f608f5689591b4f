//! Parents: what was taken from what. A chain of parents has an end.

/// A row of a circle, if there is one: `parents` gives the rows that a row names as its parents.
pub(crate) fn circle(rows: usize, parents: impl Fn(usize) -> Vec<usize>) -> Option<Vec<usize>> {
    /// Not looked at, on the way that is looked at, and done with.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Seen {
        No,
        OnTheWay,
        Done,
    }
    let mut seen = vec![Seen::No; rows];
    for start in 0..rows {
        if seen.get(start) != Some(&Seen::No) {
            continue;
        }
        // The way from the start, each row with the parents that are still to be looked at.
        let mut way = vec![(start, parents(start))];
        if let Some(seen) = seen.get_mut(start) {
            *seen = Seen::OnTheWay;
        }
        while let Some((row, left)) = way.last_mut() {
            let row = *row;
            let Some(next) = left.pop() else {
                if let Some(seen) = seen.get_mut(row) {
                    *seen = Seen::Done;
                }
                way.pop();
                continue;
            };
            match seen.get_mut(next) {
                Some(state @ Seen::No) => {
                    *state = Seen::OnTheWay;
                    way.push((next, parents(next)));
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
        let of = |parents: &'static [&'static [usize]]| circle(parents.len(), |row| parents[row].to_vec());
        assert_eq!(of(&[&[], &[0], &[0, 1], &[2, 0]]), None);
        assert_eq!(of(&[&[0]]), Some(vec![0]));
        assert_eq!(of(&[&[], &[0, 3], &[1], &[2]]).map(|circle| circle.len()), Some(3));
        // Long chains need no stack.
        assert_eq!(circle(100_000, |row| (row > 0).then(|| row - 1).into_iter().collect()), None);
    }
}
