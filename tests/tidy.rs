//! The tidiness of the tree: sizes, words, links, numbers in docs, and the shape of every crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use custodia_tests::{Graph, files, required, text, tree};

/// Lines of the longest source or page that a reader still takes in.
const LINES: usize = 800;

/// Material that is not ours to tidy: it is signed, hashed or licensed as it is.
fn is_ours(file: &str) -> bool {
    !file.starts_with("tests/vectors/")
        && !file.starts_with("crates/cli/sample/")
        && file != "Cargo.lock"
        && file != "LICENSE"
}

fn ending(file: &str) -> &str {
    Path::new(file).extension().and_then(|e| e.to_str()).unwrap_or_default()
}

/// All of our own files that are text.
fn our_texts() -> Vec<(String, String)> {
    files().into_iter().filter(|file| is_ours(file)).filter_map(|file| text(&file).map(|text| (file, text))).collect()
}

/// Fails with all that was found, not with the first.
#[track_caller]
fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let mut found = Vec::new();
    for (file, text) in our_texts() {
        let lines = text.lines().count();
        if ["rs", "ts", "js", "py", "go", "sh", "md", "html", "toml"].contains(&ending(&file)) && lines > LINES {
            found.push(format!("{file}: {lines} lines, more than {LINES}"));
        }
    }
    none(&found);
}

#[test]
fn nothing_is_switched_off_or_left_undone() {
    // Spelled in parts, so that this file does not name them itself.
    let words = [["#[ig", "nore"], ["to", "do!("], ["unimple", "mented!("], ["db", "g!("], ["FIX", "ME"], ["XX", "X:"]]
        .map(|w| w.concat());
    let mut found = Vec::new();
    for (file, text) in our_texts() {
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                found.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    none(&found);
}

#[test]
fn nothing_speaks_of_how_the_tree_was_made() {
    let words = [
        ["/wo", "rk/"],
        ["/tmp/ba", "sh_jobs"],
        ["suba", "gent"],
        ["farm-be", "nch"],
        ["farm-stu", "dio"],
        [".libr", "ary/"],
        ["../sha", "red"],
        ["shared/ve", "ctors"],
        ["plan", ".md"],
        ["formats-bod", "ies"],
        ["formats", ".md"],
        ["experience", ".md"],
        ["issues sh", "ow"],
        ["Clau", "de"],
        ["Chat", "GPT"],
        ["language mo", "del"],
        ["AI ag", "ent"],
    ]
    .map(|w| w.concat());
    let mut found = Vec::new();
    for (file, text) in our_texts() {
        for (number, line) in text.lines().enumerate() {
            // A page of ours whose name ends like one that is not.
            let line = line.replace("log-formats", "");
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                found.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    none(&found);
}

#[test]
fn every_crate_keeps_the_lints_and_the_licence() {
    let graph = Graph::of_target("x86_64-unknown-linux-gnu");
    let mut found = Vec::new();
    for package in graph.ours() {
        let manifest = std::fs::read_to_string(package.folder.join("Cargo.toml")).expect("a package has a manifest");
        if !manifest.contains("[lints]\nworkspace = true\n") {
            found.push(format!("{}: Cargo.toml lacks `[lints] workspace = true`", package.name));
        }
        if !["[package]", "license.workspace = true", "rust-version.workspace = true"]
            .iter()
            .all(|line| manifest.contains(line))
        {
            found.push(format!(
                "{}: Cargo.toml does not take licence and Rust version from the workspace",
                package.name
            ));
        }
    }
    none(&found);
}

#[test]
fn every_source_says_what_it_owns() {
    let mut found = Vec::new();
    for (file, text) in our_texts() {
        if ending(&file) == "rs" && !text.starts_with("//! ") {
            found.push(format!("{file}: no `//!` at the top"));
        }
    }
    none(&found);
}

#[test]
fn pages_that_sources_cite_exist() {
    let mut found = Vec::new();
    let all: BTreeSet<String> = files().into_iter().collect();
    for (file, text) in
        our_texts().into_iter().filter(|(file, _)| ["rs", "toml", "sh", "py", "md", ""].contains(&ending(file)))
    {
        for (number, line) in text.lines().enumerate() {
            for start in line.match_indices("docs/").map(|(at, _)| at) {
                let cited: String = line
                    .get(start..)
                    .unwrap_or_default()
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || "/._-".contains(*c))
                    .collect();
                let before = line.get(..start).unwrap_or_default();
                let inside = before.ends_with(|c: char| c.is_ascii_alphanumeric() || "/._-".contains(c));
                let cited = cited.split(".md").next().unwrap_or_default().to_owned() + ".md";
                if !inside && line.get(start..).is_some_and(|rest| rest.starts_with(&cited)) && !all.contains(&cited) {
                    found.push(format!("{file}:{}: {cited} does not exist", number + 1));
                }
            }
        }
    }
    none(&found);
}

#[test]
fn links_resolve() {
    let pages: BTreeMap<String, String> = our_texts().into_iter().filter(|(file, _)| ending(file) == "md").collect();
    assert!(pages.contains_key("README.md"), "there is no README.md");
    let all: BTreeSet<String> = files().into_iter().collect();
    let mut found = Vec::new();
    for (page, text) in &pages {
        for target in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { resolve(page, path) };
            let is_folder = all.iter().any(|known| known.starts_with(&format!("{}/", file.trim_end_matches('/'))));
            if !all.contains(&file) && !is_folder {
                found.push(format!("{page}: {target} leads nowhere"));
            } else if !anchor.is_empty() && !pages.get(&file).is_some_and(|text| anchors(text).contains(anchor)) {
                found.push(format!("{page}: {target} has no such heading"));
            }
        }
    }
    none(&found);
}

/// The file that a link on a page means.
fn resolve(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            _ => {}
        }
    }
    parts.join("/")
}

/// The targets of `[text](target)` and `[name]: target` outside of code.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let bare = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for (at, _) in bare.match_indices("](") {
            let rest = bare.get(at + 2..).unwrap_or_default();
            found.push(rest.split([')', ' ']).next().unwrap_or_default().to_owned());
        }
        if let Some((name, target)) = bare.strip_prefix('[').and_then(|rest| rest.split_once("]: "))
            && !name.contains('[')
        {
            found.push(target.trim().to_owned());
        }
    }
    found
}

/// The anchors that headings give, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in prose(page).filter_map(|line| line.strip_prefix('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut unique = anchor.clone();
        let mut number = 0;
        while !found.insert(unique.clone()) {
            number += 1;
            unique = format!("{anchor}-{number}");
        }
    }
    found
}

/// The lines of a page that are not in a fenced block.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// `docs/spec/limits.md` has a row `| NAME | value | reason |` for each constant of `custodia_format::limits`, and no other.
#[test]
fn numbers_in_the_page_of_limits_equal_the_constants() {
    let constants = constants(&required("crates/format/src/limits.rs"));
    assert!(constants.len() > 10, "only {} constants were found", constants.len());
    let mut rows = BTreeMap::new();
    for line in required("docs/spec/limits.md").lines() {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        if let ["", name, value, ..] = cells.as_slice()
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && !name.is_empty()
        {
            assert!(rows.insert((*name).to_owned(), (*value).to_owned()).is_none(), "{name} stands there twice");
        }
    }
    let mut found = Vec::new();
    for (name, value) in &constants {
        match rows.remove(name) {
            None => found.push(format!("{name} is not in docs/spec/limits.md")),
            Some(said) if number(&said) != Some(*value) => {
                found.push(format!("{name} is {value}, docs/spec/limits.md says {said}"))
            }
            Some(_) => {}
        }
    }
    found.extend(rows.keys().map(|name| format!("{name} of docs/spec/limits.md is no constant")));
    none(&found);
}

/// Reads `pub const NAME: type = expression;`.
fn constants(source: &str) -> BTreeMap<String, u128> {
    let mut found = BTreeMap::new();
    for line in source.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("no type: {line}"));
        let (_, expression) =
            rest.trim_end_matches(';').split_once('=').unwrap_or_else(|| panic!("not on one line: {line}"));
        let value = evaluate(expression).unwrap_or_else(|| panic!("{name}: cannot read {expression}"));
        found.insert(name.to_owned(), value);
    }
    found
}

/// A number as pages write it: `1,000,000`, `48 KiB`, `2^63 - 1`.
fn number(said: &str) -> Option<u128> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let plain = said.replace([',', '`'], "").replace("2^63", "9223372036854775808").replace('−', "-");
    for (unit, bits) in UNITS {
        if let Some(count) = plain.strip_suffix(unit) {
            return count.trim().parse::<u128>().ok().map(|count| count << bits);
        }
    }
    evaluate(plain.trim_end_matches(" bytes"))
}

/// Integers with `<<`, `*`, `+`, `-` and parentheses, in Rust's order.
fn evaluate(expression: &str) -> Option<u128> {
    let spaced = ["<<", "*", "+", "-", "(", ")"]
        .iter()
        .fold(expression.replace('_', ""), |text, op| text.replace(op, &format!(" {op} ")));
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let value = shift(&mut words)?;
    words.is_empty().then_some(value)
}

fn shift(words: &mut Vec<&str>) -> Option<u128> {
    let mut value = sum(words)?;
    while words.pop_if(|word| *word == "<<").is_some() {
        value = value.checked_shl(sum(words)?.try_into().ok()?)?;
    }
    Some(value)
}

fn sum(words: &mut Vec<&str>) -> Option<u128> {
    let mut value = product(words)?;
    while let Some(op) = words.pop_if(|word| ["+", "-"].contains(word)) {
        let next = product(words)?;
        value = if op == "+" { value.checked_add(next)? } else { value.checked_sub(next)? };
    }
    Some(value)
}

fn product(words: &mut Vec<&str>) -> Option<u128> {
    let mut value = atom(words)?;
    while words.pop_if(|word| *word == "*").is_some() {
        value = value.checked_mul(atom(words)?)?;
    }
    Some(value)
}

fn atom(words: &mut Vec<&str>) -> Option<u128> {
    match words.pop()? {
        "(" => {
            let value = shift(words)?;
            words.pop_if(|word| *word == ")").map(|_| value)
        }
        word => word.parse().ok(),
    }
}

#[test]
fn every_error_code_is_explained() {
    let explained = error_codes(&required("docs/operate/errors.md"));
    let mut found = Vec::new();
    for (file, text) in
        our_texts().into_iter().filter(|(file, _)| ["rs", "md"].contains(&ending(file)) && file != "tests/tidy.rs")
    {
        found.extend(
            error_codes(&text)
                .difference(&explained)
                .map(|code| format!("{file}: {code} is not in docs/operate/errors.md")),
        );
    }
    none(&found);
}

/// Words such as `E-PEER-REFUSED`.
fn error_codes(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words
        .map(|word| word.trim_end_matches('-'))
        .filter(|word| word.strip_prefix("E-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase())))
        .filter(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '-'))
        .map(str::to_owned)
        .collect()
}

/// Steps of docs/spec/proof.md (`## Step N …` or `N. …` under a heading "Steps") and functions `step_N_…` of `verify`, in files
/// `step_N_….rs`, carry the same numbers.
#[test]
fn the_verifier_follows_the_numbered_steps() {
    for (page, function, count) in
        [("docs/spec/proof.md", "fn step_", 10), ("docs/spec/time-stamps.md", "fn token_step_", 6)]
    {
        let told: BTreeSet<u32> = told_steps(&required(page));
        let mut kept = BTreeSet::new();
        for file in files().iter().filter(|file| file.starts_with("crates/verify/src/")) {
            for name in required(file).split(function).skip(1) {
                kept.extend(name.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>());
            }
        }
        assert_eq!(told, (1..=count).collect(), "the steps that {page} tells");
        assert_eq!(told, kept, "the steps of {page} and the functions of crates/verify");
    }
}

fn told_steps(page: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut under_steps = false;
    for line in page.lines() {
        let leading =
            |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
        if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim();
            under_steps = heading.starts_with("Steps") || (under_steps && line.starts_with("###"));
            found.extend(heading.strip_prefix("Step ").and_then(leading));
        } else if under_steps && line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok()) {
            found.extend(leading(line));
        }
    }
    found
}

#[test]
fn scripts_have_no_fault_of_syntax() {
    let mut checked = 0;
    for (file, text) in our_texts() {
        if text.starts_with("#!/usr/bin/env bash") || ending(&file) == "sh" {
            let done =
                std::process::Command::new("bash").arg("-n").arg(tree().join(&file)).output().expect("bash runs");
            assert!(done.status.success(), "{file}: {}", String::from_utf8_lossy(&done.stderr));
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} scripts were found");
}

#[test]
fn the_readers_of_this_file_read_right() {
    assert_eq!(evaluate("48 * 1024"), Some(49_152));
    assert_eq!(evaluate("(1 << 63) - 1"), Some(9_223_372_036_854_775_807));
    assert_eq!(evaluate("16 << 40"), Some(16 << 40));
    assert_eq!(evaluate("2 + 3 *"), None);
    assert_eq!(number("2^63 - 1"), evaluate("(1 << 63) - 1"));
    assert_eq!(number("1,000,000"), Some(1_000_000));
    assert_eq!(number("72 KiB"), Some(73_728));
    assert_eq!(links("see [a](b.md#c), `[x](y)` and\n```\n[no](no)\n```\n[d]: e.md"), ["b.md#c", "e.md"]);
    assert!(
        anchors("# The `proof` file, v1\n## A\n## A\n")
            .is_superset(&["the-proof-file-v1", "a", "a-1"].map(str::to_owned).into())
    );
    assert_eq!(resolve("docs/spec/proof.md", "../ARCHITECTURE.md"), "docs/ARCHITECTURE.md");
    assert_eq!(told_steps("# Steps\n1. a\n2. b\n10. c\n# Else\n3. d\n"), [1, 2, 10].into());
    assert_eq!(
        error_codes("\"E-PEER-REFUSED\", E-x, `E-IO`; TYPE-A"),
        ["E-PEER-REFUSED", "E-IO"].map(str::to_owned).into()
    );
    assert_eq!(told_steps("## Step 1: a\n### Step 2: b\n"), [1, 2].into());
}
