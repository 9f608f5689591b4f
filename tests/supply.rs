//! What is built in, against `deny.toml`: licences, bans and sources, as `cargo deny check licenses bans sources` does it.
//! The advisory database is not here; what is known of advisories must carry a reason and a date.

use std::collections::BTreeSet;

use custodia_tests::{Graph, Package, required};
use toml::{Table, Value};

/// The part of `deny.toml` that is enforced. Keys that this file does not know are refused, so that nothing in there
/// looks enforced and is not.
struct Deny {
    targets: Vec<String>,
    ignored: Vec<(String, String)>,
    allowed_licenses: BTreeSet<String>,
    banned: BTreeSet<String>,
    registries: BTreeSet<String>,
}

impl Deny {
    fn parse(text: &str) -> Self {
        let file: Table = text.parse().expect("deny.toml is TOML");
        only(&file, "the file", &["graph", "advisories", "licenses", "bans", "sources"]);
        let (graph, advisories, licenses) =
            (section(&file, "graph"), section(&file, "advisories"), section(&file, "licenses"));
        let (bans, sources) = (section(&file, "bans"), section(&file, "sources"));
        only(graph, "graph", &["targets", "all-features"]);
        assert_eq!(graph["all-features"], Value::Boolean(false));
        only(advisories, "advisories", &["ignore", "unmaintained", "yanked"]);
        only(licenses, "licenses", &["allow", "unused-allowed-license", "confidence-threshold"]);
        only(bans, "bans", &["multiple-versions", "wildcards", "allow-wildcard-paths", "deny"]);
        assert_eq!(bans["wildcards"].as_str(), Some("deny"));
        only(sources, "sources", &["unknown-registry", "unknown-git", "allow-registry", "allow-git"]);
        assert_eq!(sources["unknown-registry"].as_str(), Some("deny"));
        assert_eq!(sources["unknown-git"].as_str(), Some("deny"));
        assert!(strings(&sources["allow-git"]).is_empty(), "no repository is a source");
        Self {
            targets: strings(&graph["targets"]),
            ignored: tables(&advisories["ignore"], &["id", "reason"], "id", "reason"),
            allowed_licenses: strings(&licenses["allow"]).into_iter().collect(),
            banned: tables(&bans["deny"], &["crate", "reason"], "crate", "reason")
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
            registries: strings(&sources["allow-registry"]).into_iter().collect(),
        }
    }

    /// Every breach by one package, in words.
    fn breaches(&self, package: &Package) -> Vec<String> {
        let name = format!("{} {}", package.name, package.version);
        let mut found = Vec::new();
        match satisfied(&package.license, &self.allowed_licenses) {
            Ok(true) => {}
            Ok(false) => found.push(format!("{name}: licence {:?} is not allowed", package.license)),
            Err(why) => found.push(format!("{name}: licence {:?}: {why}", package.license)),
        }
        if self.banned.contains(&package.name) {
            found.push(format!("{name} is banned"));
        }
        if let Some(source) = &package.source {
            let allowed = source.strip_prefix("registry+").is_some_and(|registry| self.registries.contains(registry));
            if !allowed {
                found.push(format!("{name} comes from {source}"));
            }
        } else {
            for (dependency, requirement) in &package.requirements {
                if requirement == "*" {
                    found.push(format!("{name} takes any version of {dependency}"));
                }
            }
        }
        found
    }
}

fn section<'a>(file: &'a Table, name: &str) -> &'a Table {
    file.get(name).and_then(Value::as_table).unwrap_or_else(|| panic!("deny.toml has no section {name}"))
}

fn only(table: &Table, place: &str, known: &[&str]) {
    for key in table.keys() {
        assert!(known.contains(&key.as_str()), "deny.toml, {place}: `{key}` is not enforced by this test");
    }
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list of strings");
    list.iter().map(|item| item.as_str().expect("a string").to_owned()).collect()
}

fn tables(value: &Value, known: &[&str], first: &str, second: &str) -> Vec<(String, String)> {
    let list = value.as_array().expect("a list of tables");
    let member = |table: &Table, key: &str| {
        table.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    list.iter()
        .map(|item| {
            let table = item.as_table().expect("a table");
            only(table, "a list", known);
            (member(table, first), member(table, second))
        })
        .collect()
}

/// Whether an SPDX expression can be met by allowed licences alone. `/` is the old way to write OR.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let met = any_of(&mut words, allowed)?;
    match words.pop() {
        None => Ok(met),
        Some(word) => Err(format!("{word:?} where the end should be")),
    }
}

fn any_of(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut met = all_of(words, allowed)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        met |= all_of(words, allowed)?;
    }
    Ok(met)
}

fn all_of(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut met = one(words, allowed)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        met &= one(words, allowed)?;
    }
    Ok(met)
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    match words.pop() {
        Some("(") => {
            let met = any_of(words, allowed)?;
            if words.pop() == Some(")") { Ok(met) } else { Err("a parenthesis is not closed".to_owned()) }
        }
        Some(")" | "AND" | "OR" | "WITH") | None => Err("a licence is missing".to_owned()),
        Some(licence) => {
            let mut name = licence.to_owned();
            if words.pop_if(|word| *word == "WITH").is_some() {
                name = format!("{licence} WITH {}", words.pop().ok_or("an exception is missing")?);
            }
            Ok(allowed.contains(&name))
        }
    }
}

#[test]
fn all_that_is_built_in_is_allowed() {
    let deny = Deny::parse(&required("deny.toml"));
    let mut breaches = BTreeSet::new();
    for target in &deny.targets {
        for package in Graph::of_target(target).packages() {
            breaches.extend(deny.breaches(package));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.into_iter().collect::<Vec<_>>().join("\n"));
}

/// An exception that names a crate which left the tree is a hole that nobody looks at.
#[test]
fn each_ignored_advisory_has_a_date_and_a_crate_that_is_in_the_lockfile() {
    let lockfile: Table = required("Cargo.lock").parse().expect("Cargo.lock is TOML");
    let locked: BTreeSet<&str> = lockfile["package"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let ignored = Deny::parse(&required("deny.toml")).ignored;
    assert!(!ignored.is_empty());
    for (id, reason) in ignored {
        let (date, words) = reason.split_once(": ").unwrap_or_else(|| panic!("{id}: no `date: reason`"));
        let digits = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
        assert_eq!(digits, "0000-00-00", "{id}: the reason starts with a date");
        let name = words.split(' ').next().expect("a reason has words");
        assert!(locked.contains(name), "{id}: {name} is not in Cargo.lock any more");
    }
}

#[test]
fn every_crate_of_the_lockfile_comes_from_the_registry_with_a_digest() {
    let lockfile: Table = required("Cargo.lock").parse().expect("Cargo.lock is TOML");
    let deny = Deny::parse(&required("deny.toml"));
    let mut foreign = 0;
    for package in lockfile["package"].as_array().expect("packages") {
        let Some(source) = package.get("source").and_then(Value::as_str) else { continue };
        foreign += 1;
        let registry = source.strip_prefix("registry+").unwrap_or_else(|| panic!("{source} is no registry"));
        assert!(deny.registries.contains(registry), "{source} is not an allowed registry");
        assert_eq!(package["checksum"].as_str().map(str::len), Some(64), "{:?} has no digest", package["name"]);
    }
    assert!(foreign > 0, "the lockfile names no crate at all");
}

/// The check itself must refuse what it is there for.
#[test]
fn a_breach_is_found() {
    let deny = Deny::parse(&required("deny.toml"));
    let package = |name: &str, license: &str, source: Option<&str>| Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: license.to_owned(),
        source: source.map(str::to_owned),
        folder: "/".into(),
        proc_macro: false,
        linked: BTreeSet::new(),
        requirements: vec![("serde".to_owned(), "*".to_owned())],
    };
    let registry = Some("registry+https://github.com/rust-lang/crates.io-index");
    assert!(deny.breaches(&package("good", "MIT/Apache-2.0", registry)).is_empty());
    assert!(deny.breaches(&package("good", "(MIT OR GPL-3.0-only) AND Unicode-3.0", registry)).is_empty());
    for bad in [
        package("openssl", "MIT", registry),
        package("zip", "MIT", registry),
        package("copyleft", "GPL-3.0-only", registry),
        package("both", "MIT AND GPL-3.0-only", registry),
        package("exception", "Apache-2.0 WITH Something-else", registry),
        package("nothing", "", registry),
        package("unclosed", "(MIT", registry),
        package("repository", "MIT", Some("git+https://example.org/repository")),
        package("other", "MIT", Some("registry+https://example.org/index")),
        package("wildcard", "MIT", None),
    ] {
        assert!(!deny.breaches(&bad).is_empty(), "{} was let through", bad.name);
    }
}
