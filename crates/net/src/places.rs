//! So many places, of everybody and of each one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// How many places each one has taken; who has none does not stand here.
#[derive(Debug)]
pub(crate) struct Places<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// Takes a place for this one, if it may have one more: `may` is told how many it has, and how many all have.
    pub(crate) fn take(self: &Arc<Self>, one: K, may: impl FnOnce(usize, usize) -> bool) -> Option<Place<K>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has = taken.get(&one).copied().unwrap_or_default();
        if !may(has, taken.values().sum()) {
            return None;
        }
        taken.insert(one, has + 1);
        Some(Place { places: self.clone(), one })
    }

    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    one: K,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.one) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.one);
            }
        }
    }
}
