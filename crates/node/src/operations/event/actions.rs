//! What can happen to what is in a package, and what must be told of it (docs/operate/custody.md).

/// An action of a custody event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its word.
    pub word: &'static str,
    /// What was done.
    pub what: &'static str,
    /// What must be told.
    pub needs: &'static [Need],
}

/// Something that must be told of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A code of this name.
    Code(&'static str),
    /// A bag seal and its state.
    BagSeal,
    /// Why it was done.
    Purpose,
    /// Where.
    Place,
    /// On which order, request or consent.
    Order,
    /// A person in this role.
    Person(&'static str),
}

impl Need {
    /// How it is told.
    pub fn option(self) -> String {
        match self {
            Self::Code(name) => format!("--code {name}=VALUE"),
            Self::BagSeal => "--bag-seal NUMBER=STATE".to_owned(),
            Self::Purpose => "--purpose TEXT".to_owned(),
            Self::Place => "--place TEXT".to_owned(),
            Self::Order => "--order TEXT".to_owned(),
            Self::Person(role) => format!("--person {role}=NAME"),
        }
    }
}

/// All of them; any other word may be used too, and needs nothing.
pub const ACTIONS: &[Action] = &[
    Action { word: "open", what: "A container or a file was opened.", needs: &[Need::Purpose] },
    Action { word: "examine", what: "Something was examined.", needs: &[Need::Purpose] },
    Action { word: "sample", what: "A sample was taken.", needs: &[Need::Code("sample")] },
    Action { word: "copy", what: "A copy was made.", needs: &[Need::Purpose] },
    Action { word: "convert", what: "Something was converted.", needs: &[Need::Code("tool"), Need::Code("derived")] },
    Action {
        word: "redact",
        what: "A redacted version was made.",
        needs: &[Need::Code("head"), Need::Code("derived")],
    },
    Action {
        word: "translate",
        what: "A translation was made.",
        needs: &[Need::Code("language"), Need::Code("derived")],
    },
    Action { word: "move", what: "Something was brought to another place.", needs: &[Need::Place] },
    Action { word: "transport", what: "Something was on its way.", needs: &[Need::Person("carrier")] },
    Action {
        word: "hand-over",
        what: "Something was given to somebody.",
        needs: &[Need::Person("giver"), Need::Person("receiver")],
    },
    Action { word: "reseal", what: "A container was sealed anew.", needs: &[Need::BagSeal, Need::Purpose] },
    Action { word: "return", what: "Something was given back.", needs: &[Need::Order, Need::Person("receiver")] },
    Action { word: "destroy", what: "Something was destroyed.", needs: &[Need::Order] },
    Action { word: "lose", what: "Something is missing.", needs: &[] },
    Action { word: "find", what: "Something that was missing is there again.", needs: &[] },
    Action {
        word: "found-history",
        what: "What came with the material of its earlier custody was taken in as found.",
        needs: &[],
    },
    Action {
        word: "withheld-segment",
        what: "A part of the custody is known and withheld.",
        needs: &[Need::Code("holder"), Need::Purpose],
    },
    Action {
        word: "consent",
        what: "Its originator consented to a hand-over.",
        needs: &[Need::Code("to"), Need::Order],
    },
    Action {
        word: "exculpatory-notice",
        what: "It may exculpate an accused person, and goes whatever its limits.",
        needs: &[Need::Code("to"), Need::Order],
    },
    Action {
        word: "release-refused",
        what: "A gate was closed, and nothing was released.",
        needs: &[Need::Code("to"), Need::Code("gate")],
    },
    Action {
        word: "release-although",
        what: "A gate was closed, and it was released all the same.",
        needs: &[Need::Code("to"), Need::Code("gate"), Need::Purpose],
    },
    Action { word: "correct", what: "An earlier event was told wrongly.", needs: &[Need::Purpose] },
];

/// The action of this word.
pub(super) fn action(word: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.word == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_every_action_and_what_it_needs() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/custody.md"));
        for action in ACTIONS {
            let needs = action.needs.iter().map(|need| format!("`{}`", need.option())).collect::<Vec<_>>().join(", ");
            let row = format!("| `{}` | {} | {needs} |", action.word, action.what);
            assert!(page.contains(&row), "docs/operate/custody.md lacks\n{row}");
        }
        let table = page.split("## The chain").next().unwrap();
        assert_eq!(table.matches("\n| `").count(), ACTIONS.len());
    }
}
