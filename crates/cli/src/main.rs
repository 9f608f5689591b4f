//! `custodia`: every command is a request to the node's API.

fn main() {}
