//! The record types of the standard: what `records.tsv` says, as constants.
//!
//! That table is the only place where a type or a field is written down. What else knows of them (the page
//! docs/spec/records.md, templates, forms, imports) is made from it.

use super::grammar::Grammar;

/// A record type of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType {
    /// Its name with its version, such as `file/1`.
    pub name: &'static str,
    /// What a record of it is, in a sentence without its full stop.
    pub what: &'static str,
    /// Its fields in order; the first is `type`, the second `code`.
    pub fields: &'static [Field],
}

/// A field of a record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub grammar: Grammar,
    /// Whether it may be null.
    pub needed: Needed,
    /// Who fills it.
    pub by: By,
    /// For words, the words; for codes, the types of the records that they may name, `*` being any.
    pub of: &'static [&'static str],
    /// What it says.
    pub what: &'static str,
}

/// Whether a field must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// It is never null.
    Always,
    /// It may be null: nothing is said.
    No,
}

/// Who fills a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The people who describe what they found.
    People,
    /// The node that seals.
    Seal,
    /// A node, in the annex of a statement: such records stand in no package.
    Annex,
}

include!(concat!(env!("OUT_DIR"), "/record_types.rs"));

/// The standard's record type of this name.
pub fn schema(name: &str) -> Option<&'static RecordType> {
    STANDARD.iter().find(|known| known.name == name)
}

impl RecordType {
    /// The names of its fields, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &'static str> + Clone + use<> {
        self.fields.iter().map(|field| field.name)
    }

    /// The position of a field.
    pub fn position(&self, field: &str) -> Option<usize> {
        self.names().position(|known| known == field)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_holds_together() {
        let names: BTreeSet<&str> = STANDARD.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), STANDARD.len());
        for known in STANDARD {
            let first: Vec<&str> = known.names().take(2).collect();
            assert_eq!(first, ["type", "code"], "{}", known.name);
            let fields: BTreeSet<&str> = known.names().collect();
            assert_eq!(fields.len(), known.fields.len(), "{}", known.name);
            for field in known.fields {
                assert!(!field.what.is_empty() && !field.what.ends_with('.'), "{} of {}", field.name, known.name);
                let names_others = matches!(field.grammar, Grammar::Code | Grammar::Codes);
                assert_eq!(field.of.is_empty(), !names_others && field.grammar != Grammar::Word, "{}", field.name);
                if names_others {
                    assert!(field.of == ["*"] || field.of.iter().all(|of| names.contains(of)), "{:?}", field.of);
                }
            }
        }
    }
}
