//! An authority's node (its parts are not joined yet).
