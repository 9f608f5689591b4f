//! Heads under which something is withheld, as a court's practice words them. The table is data, for a lawyer to correct; any other
//! head may be used too.

/// Each head, and what it is for.
pub fn heads() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("heads.tsv").lines().filter_map(|line| line.split_once('\t'))
}

/// What a head is for; none when it is not in the table.
pub(super) fn meaning(head: &str) -> Option<&'static str> {
    heads().find(|(known, _)| *known == head).map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_head() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/disclosure.md"));
        for (head, words) in heads() {
            assert!(page.contains(&format!("| {head} | {words} |")), "docs/operate/disclosure.md lacks {head}");
        }
        assert_eq!(heads().count(), 13);
    }
}
