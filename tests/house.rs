//! The crates' arrows and refusals (docs/ARCHITECTURE.md): who may use whom, and what the pure crates cannot reach.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use custodia_tests::{Graph, Package};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// `(crate, the crates right below it)`. What lies below those may be used too.
const ARROWS: &[(&str, &[&str])] = &[
    ("custodia-merkle", &[]),
    ("custodia-format", &["custodia-merkle"]),
    ("custodia-sheets", &["custodia-format"]),
    ("custodia-verify", &["custodia-format"]),
    ("custodia-court", &["custodia-verify"]),
    ("custodia-interop", &["custodia-verify"]),
    ("custodia-disk", &[]),
    ("custodia-ledger", &["custodia-format", "custodia-disk"]),
    ("custodia-vault", &["custodia-format", "custodia-disk"]),
    ("custodia-index", &["custodia-format"]),
    ("custodia-exchange", &["custodia-format"]),
    ("custodia-net", &["custodia-exchange"]),
    (
        "custodia-node",
        &["custodia-interop", "custodia-sheets", "custodia-ledger", "custodia-vault", "custodia-index", "custodia-net"],
    ),
    ("custodia", &["custodia-node", "custodia-court"]),
    ("custodia-sim", &["custodia-node"]),
    ("custodia-tests", &["custodia", "custodia-court"]),
];

/// Crates that take bytes and give bytes: everything linked into them is searched, not only their own sources.
const PURE: &[&str] = &["custodia-merkle", "custodia-format", "custodia-verify"];

/// What no source of ours in a pure crate may name.
const OUTSIDE_WORLD: &[&str] =
    &["std::fs", "std::net", "std::os", "std::process", "SystemTime", "Instant", "getrandom", "OsRng", "thread_rng"];

/// What no foreign source that is linked into a pure crate may do. Types of `std::net` and `std::time` may be named: serde has
/// impls for them; randomness comes through crates that are doors.
const OUTSIDE_ACTS: &[&str] =
    &["std::fs", "SystemTime::now", "Instant::now", "TcpStream", "TcpListener", "UdpSocket", "std::process"];

/// Crates that are a door to the outside world, whatever their sources look like.
const DOORS: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "quinn",
    "quinn-proto",
    "rustls",
    "tokio-rustls",
    "yamux",
    "hyper",
    "axum",
    "getrandom",
    "rand",
    "tempfile",
];

#[test]
fn every_arrow_points_down() {
    let graph = Graph::of_target(TARGET);
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let below = |name: &str| {
        let mut found = BTreeSet::new();
        let mut open = vec![name];
        while let Some(at) = open.pop() {
            for next in arrows.get(at).copied().unwrap_or_default() {
                if found.insert(*next) {
                    open.push(next);
                }
            }
        }
        found
    };
    for package in graph.ours() {
        assert!(arrows.contains_key(package.name.as_str()), "{} has no place in the house", package.name);
        for used in graph.direct(package).filter(|used| used.source.is_none()) {
            assert!(below(&package.name).contains(used.name.as_str()), "{} must not use {}", package.name, used.name);
        }
    }
    for (name, _) in ARROWS {
        let _ = graph.our(name);
    }
}

#[test]
fn the_pure_crates_reach_no_file_no_socket_no_clock_and_no_randomness() {
    let graph = Graph::of_target(TARGET);
    let mut reached = BTreeSet::new();
    for name in PURE {
        for package in graph.closure(graph.our(name)) {
            if DOORS.contains(&package.name.as_str()) {
                reached.insert(format!("{name} reaches the crate {}", package.name));
            }
            for (file, word) in named(package, if package.source.is_none() { OUTSIDE_WORLD } else { OUTSIDE_ACTS }) {
                reached.insert(format!("{name} reaches {word} in {} ({file})", package.name));
            }
        }
    }
    assert!(reached.is_empty(), "{}", reached.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let graph = Graph::of_target(TARGET);
    let here = graph.our("custodia-tests");
    assert!(named(here, &["OUTSIDE_WORLD"]).is_empty(), "only src/ is searched");
    let vault = graph.our("custodia-merkle");
    assert!(!named(vault, &["Hash"]).is_empty(), "a word of the sources is found");
}

#[test]
fn the_courts_program_links_no_network() {
    let graph = Graph::of_target(TARGET);
    for package in graph.closure(graph.our("custodia-court")) {
        let network = ["tokio", "mio", "socket2", "quinn", "rustls", "tokio-rustls", "yamux", "hyper", "axum"];
        assert!(!network.contains(&package.name.as_str()), "custodia-court links {}", package.name);
    }
    assert_eq!(named(graph.our("custodia-court"), &["std::net", "UnixStream", "TcpStream"]), []);
}

#[test]
fn the_session_is_decided_without_sockets_disk_or_clock() {
    let graph = Graph::of_target(TARGET);
    let exchange = graph.our("custodia-exchange");
    for package in graph.closure(exchange) {
        assert!(!DOORS.contains(&package.name.as_str()), "custodia-exchange links {}", package.name);
    }
    assert_eq!(named(exchange, OUTSIDE_WORLD), []);
}

/// What changes a disk, as sources name it.
const CHANGES: &[&str] = &[
    "fs::rename(",
    "fs::remove_",
    "fs::write(",
    "fs::copy(",
    "fs::create_dir",
    "fs::hard_link(",
    "fs::set_permissions(",
    "OpenOptions",
    "DirBuilder",
    "fs::File::create",
    "fallocate",
    "fsync(",
    "syncfs(",
];

/// Sources that change it by themselves: what they write lies outside of a home, or is worth nothing after a crash.
const OUTSIDE_OF_HOMES: &[(&str, &str)] = &[
    ("src/home_lock.rs", "the lock, which the system takes back"),
    ("src/copy.rs", "items on their way out"),
    ("src/api/server.rs", "the socket"),
    ("src/serve.rs", "the socket"),
    ("src/stick/", "sticks"),
    ("src/copying.rs", "backups and restored homes"),
    ("src/operations/prove.rs", "proofs"),
    ("src/operations/export.rs", "exports"),
    ("src/operations/templates.rs", "empty sheets"),
    ("src/views.rs", "the index, which is rebuilt"),
    ("src/watched.rs", "what a simulator does"),
];

#[test]
fn a_home_is_changed_through_the_disk_alone() {
    let graph = Graph::of_target(TARGET);
    let mut found = Vec::new();
    for name in ["custodia-vault", "custodia-ledger", "custodia-node"] {
        for (file, word) in named(graph.our(name), CHANGES) {
            let is_test = file.contains("/tests/") || file.ends_with("tests.rs");
            if !is_test && !OUTSIDE_OF_HOMES.iter().any(|(outside, _)| file.starts_with(outside)) {
                found.push(format!("{name} has {word} in {file}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(!named(graph.our("custodia-disk"), CHANGES).is_empty(), "a word of the sources is found");
}

#[test]
fn the_program_that_is_shipped_is_not_watched() {
    let watched = |package: &str| {
        let out = std::process::Command::new("cargo")
            .args([
                "tree",
                "--locked",
                "--offline",
                "--package",
                package,
                "--edges",
                "normal,features",
                "--prefix",
                "none",
            ])
            .args(["--target", TARGET])
            .current_dir(custodia_tests::tree())
            .output()
            .expect("cargo runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).expect("cargo prints text");
        assert!(text.contains("custodia-format"), "{package} has no formats");
        ["watched", "remembered"].map(|feature| text.contains(&format!("feature \"{feature}\"")))
    };
    for shipped in ["custodia", "custodia-court"] {
        assert_eq!(watched(shipped), [false; 2], "{shipped} has a watcher, or remembers signatures");
    }
    assert_eq!(watched("custodia-sim"), [true; 2], "the simulator watches nothing");
}

#[test]
fn only_net_names_quic_and_tls() {
    let graph = Graph::of_target(TARGET);
    for package in graph.ours().filter(|package| package.name != "custodia-net") {
        for used in graph.direct(package) {
            assert!(
                !["quinn", "quinn-proto", "rustls", "tokio-rustls", "yamux"].contains(&used.name.as_str()),
                "{} uses {}",
                package.name,
                used.name
            );
        }
    }
}

/// The words that occur in a package's sources outside of comments, tests and code for other systems, with their files.
fn named(package: &Package, words: &[&'static str]) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    search(&package.folder.join("src"), &mut |path| {
        let source = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let code = without_tests(&source);
        for word in words {
            if code.contains(word) {
                found.push((path.strip_prefix(&package.folder).unwrap_or(path).display().to_string(), *word));
            }
        }
    });
    found
}

/// Cuts comments and everything from `#[cfg(test)]` on: our tests stand last in a file.
fn without_tests(source: &str) -> String {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn search(folder: &Path, each: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            search(&path, each);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            each(&path);
        }
    }
}
