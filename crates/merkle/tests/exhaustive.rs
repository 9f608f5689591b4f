//! Every tree to a hundred leaves, every proof of it, and every proof with one thing wrong.

use std::collections::HashMap;

use custodia_merkle::{
    Frontier, Hash, Leaves, ProofError, SIZE_MAX, leaf_hash, node_hash, prove_consistency, prove_inclusion,
    proven_subtrees, root, tree_root, verify_consistency, verify_inclusion,
};

const SIZES: usize = 100;

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(n.to_string().as_bytes())).collect()
}

/// RFC 6962 §2.1, as it is written there.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// RFC 6962 §2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    proof.push(sibling);
    proof
}

/// RFC 6962 §2.1.2, SUBPROOF.
fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) =
        if m <= k { (subproof(m, left, known), mth(right)) } else { (subproof(m - k, right, false), mth(left)) };
    proof.push(sibling);
    proof
}

fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// Every way to spoil a proof by one thing.
fn spoiled(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = vec![[proof, &[Hash::ZERO]].concat(), [&[Hash::ZERO], proof].concat()];
    for place in 0..proof.len() {
        let mut missing = proof.to_vec();
        missing.remove(place);
        all.push(missing);
        let mut flipped = proof.to_vec();
        let mut bytes = *flipped[place].as_bytes();
        bytes[place % 32] ^= 1 << (place % 8);
        flipped[place] = Hash::new(bytes);
        all.push(flipped);
        if place > 0 && proof[place] != proof[place - 1] {
            let mut swapped = proof.to_vec();
            swapped.swap(place, place - 1);
            all.push(swapped);
        }
    }
    all
}

#[test]
fn roots_follow_the_recursion() {
    for size in 0..=SIZES {
        let leaves = leaves(size);
        let expected = mth(&leaves);
        assert_eq!(root(&leaves), expected);
        assert_eq!(tree_root(&Leaves(&leaves), size as u64), Ok(expected));
    }
}

#[test]
fn inclusion_proofs_hold_and_spoiled_ones_do_not() {
    for size in 1..=SIZES {
        let leaves = leaves(size);
        let expected = mth(&leaves);
        for index in 0..size {
            let proof = prove_inclusion(&Leaves(&leaves), index as u64, size as u64).unwrap();
            assert_eq!(proof, path(index, &leaves));
            let verify = |index: usize, size: usize, leaf: &Hash, proof: &[Hash], root: &Hash| {
                verify_inclusion(index as u64, size as u64, leaf, proof, root)
            };
            verify(index, size, &leaves[index], &proof, &expected).unwrap();
            for bad in spoiled(&proof) {
                assert!(verify(index, size, &leaves[index], &bad, &expected).is_err());
            }
            assert!(verify(index, size, &Hash::ZERO, &proof, &expected).is_err());
            assert!(verify(index, size, &leaves[index], &proof, &Hash::ZERO).is_err());
            if size > 1 {
                assert!(verify((index + 1) % size, size, &leaves[index], &proof, &expected).is_err());
            }
        }
    }
}

#[test]
fn consistency_proofs_hold_and_spoiled_ones_do_not() {
    for new in 1..=SIZES {
        let leaves = leaves(new);
        let new_root = mth(&leaves);
        for old in 1..=new {
            let old_root = mth(&leaves[..old]);
            let proof = prove_consistency(&Leaves(&leaves), old as u64, new as u64).unwrap();
            assert_eq!(proof, subproof(old, &leaves, true));
            let verify = |proof: &[Hash], old_root: &Hash, new_root: &Hash| {
                verify_consistency(old as u64, new as u64, old_root, new_root, proof)
            };
            verify(&proof, &old_root, &new_root).unwrap();
            for bad in spoiled(&proof) {
                assert!(verify(&bad, &old_root, &new_root).is_err(), "{old} {new}");
            }
            assert!(verify(&proof, &Hash::ZERO, &new_root).is_err());
            assert!(verify(&proof, &old_root, &Hash::ZERO).is_err());
        }
    }
}

#[test]
fn what_a_proof_shows_is_what_stands_in_the_tree() {
    for size in 1..=SIZES {
        let leaves = leaves(size);
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = path(index, &leaves);
            let shown = proven_subtrees(index as u64, size as u64, leaf, &proof);
            let places: HashMap<_, _> = shown.iter().copied().collect();
            assert_eq!(places.len(), shown.len(), "no place is shown twice");
            for (at, hash) in &shown {
                let width = 1_usize << at.level;
                let first = at.index as usize * width;
                assert!(first + width <= size, "{at:?} is complete in {size}");
                assert_eq!(*hash, mth(&leaves[first..first + width]), "{at:?} for {index} of {size}");
            }
            let complete = |hash: &&Hash| shown.iter().any(|(_, shown)| shown == *hash);
            let siblings = proof.iter().filter(complete).count();
            assert!(siblings + 1 >= proof.len(), "at most one sibling, at the right edge, is not complete");
        }
    }
}

#[test]
fn numbers_out_of_range_are_refused_and_nothing_panics() {
    let zero = Hash::ZERO;
    for size in [0, 1, 2, SIZE_MAX - 1, SIZE_MAX, SIZE_MAX + 1, u64::MAX] {
        for index in [0, 1, size.wrapping_sub(1), size, size.wrapping_add(1), u64::MAX] {
            for length in [0, 1, 62, 63, 64, 65] {
                let proof = vec![zero; length];
                let inclusion = verify_inclusion(index, size, &zero, &proof, &zero);
                let consistency = verify_consistency(index, size, &zero, &Hash::of(b"other"), &proof);
                if index >= size || size > SIZE_MAX {
                    assert!(matches!(inclusion, Err(ProofError::Range { .. })));
                }
                if index == 0 || index > size || size > SIZE_MAX {
                    assert!(matches!(consistency, Err(ProofError::Range { .. })));
                }
                assert!(consistency.is_err());
                proven_subtrees(index, size, &zero, &proof);
            }
        }
    }
}

#[test]
fn a_frontier_goes_on_from_its_subtrees() {
    let leaves = leaves(SIZES);
    for cut in 0..=SIZES {
        let subtrees = Frontier::positions(cut as u64)
            .map(|at| mth(&leaves[(at.index as usize) << at.level..(at.index as usize + 1) << at.level]))
            .collect();
        let mut frontier = Frontier::of(cut as u64, subtrees).unwrap();
        assert_eq!(frontier.root(), mth(&leaves[..cut]));
        leaves[cut..].iter().for_each(|leaf| frontier.push(*leaf));
        assert_eq!(frontier.root(), mth(&leaves));
        assert_eq!(frontier.size(), SIZES as u64);
    }
    assert_eq!(Frontier::of(3, vec![Hash::ZERO]), None);
}
