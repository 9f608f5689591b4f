//! Helpers shared by the tests in this folder: the tree of the project, its files, and what cargo knows of its packages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Gives the folder of the whole project.
#[must_use]
pub fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a folder of the project").to_path_buf()
}

/// Lists the project's files, relative to [`tree`]: all that git tracks or would track.
///
/// # Panics
/// If git is missing or this is no checkout.
#[must_use]
pub fn files() -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(tree())
        .output()
        .expect("git runs");
    assert!(out.status.success(), "git ls-files: {}", String::from_utf8_lossy(&out.stderr));
    let names = String::from_utf8(out.stdout).expect("names of the project's files are UTF-8");
    let mut files: Vec<String> =
        names.split('\0').filter(|name| !name.is_empty() && tree().join(name).is_file()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    assert!(files.len() > 50, "only {} files: not the whole project", files.len());
    files
}

/// Reads one of [`files`] as text; `None` if it is not UTF-8.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn text(file: &str) -> Option<String> {
    String::from_utf8(std::fs::read(tree().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))).ok()
}

/// Reads one of [`files`] that must be there and be text.
///
/// # Panics
/// If it is missing or not UTF-8.
#[must_use]
pub fn required(file: &str) -> String {
    text(file).unwrap_or_else(|| panic!("{file} is not UTF-8"))
}

/// One package of the dependency graph.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name, as in `Cargo.toml`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression, or an empty string.
    pub license: String,
    /// Where it comes from: a registry or repository; `None` for the packages of this project.
    pub source: Option<String>,
    /// The folder of its `Cargo.toml`.
    pub folder: PathBuf,
    /// Whether it runs in the compiler only.
    pub proc_macro: bool,
    /// The ids of the packages that are linked into it (no build or development dependencies).
    pub linked: BTreeSet<String>,
    /// The version requirements it states, by dependency.
    pub requirements: Vec<(String, String)>,
}

/// The dependency graph for one target, by package id.
#[derive(Debug)]
pub struct Graph(BTreeMap<String, Package>);

impl Graph {
    /// Asks cargo for the graph of the lockfile. `cargo metadata` unites the features of all systems and so names crates that are
    /// never built; only what `cargo tree` lists for the target is kept.
    ///
    /// # Panics
    /// If cargo fails, or prints what it does not document.
    #[must_use]
    pub fn of_target(target: &str) -> Self {
        let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
        let mut graph = Self::parse(&serde_json::from_str(&metadata).expect("cargo metadata prints JSON"));
        let edges = ["--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}"];
        let built = cargo(&[&["tree", "--workspace", "--locked", "--target", target][..], &edges].concat());
        let built: BTreeSet<(&str, &str)> = built
            .lines()
            .filter_map(|line| line.split_once(" v"))
            .map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default()))
            .collect();
        graph.0.retain(|_, package| built.contains(&(package.name.as_str(), package.version.as_str())));
        assert!(!graph.0.is_empty(), "cargo tree and cargo metadata name no package in common");
        graph
    }

    /// Reads what `cargo metadata` printed. Packages that nothing resolved needs on the target are left out.
    ///
    /// # Panics
    /// If a member that cargo documents is missing.
    #[must_use]
    pub fn parse(metadata: &Value) -> Self {
        let mut graph = BTreeMap::new();
        for node in array(&metadata["resolve"]["nodes"]) {
            let linked = array(&node["deps"])
                .iter()
                .filter(|dep| array(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                .map(|dep| string(&dep["pkg"]))
                .collect();
            graph.insert(string(&node["id"]), linked);
        }
        let mut packages = BTreeMap::new();
        for package in array(&metadata["packages"]) {
            let id = string(&package["id"]);
            let Some(linked) = graph.remove(&id) else { continue };
            let manifest = PathBuf::from(string(&package["manifest_path"]));
            let of_kind =
                |kind: &str| array(&package["targets"]).iter().any(|t| array(&t["kind"]).iter().any(|k| k == kind));
            packages.insert(
                id,
                Package {
                    name: string(&package["name"]),
                    version: string(&package["version"]),
                    license: package["license"].as_str().unwrap_or_default().to_owned(),
                    source: package["source"].as_str().map(str::to_owned),
                    folder: manifest.parent().expect("a manifest lies in a folder").to_path_buf(),
                    proc_macro: of_kind("proc-macro"),
                    linked,
                    requirements: array(&package["dependencies"])
                        .iter()
                        .map(|dep| {
                            (
                                string(&dep["name"]),
                                if dep["path"].is_string() { "path".to_owned() } else { string(&dep["req"]) },
                            )
                        })
                        .collect(),
                },
            );
        }
        assert!(!packages.is_empty(), "cargo metadata names no package");
        Self(packages)
    }

    /// All packages.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.0.values()
    }

    /// The packages of this project.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages().filter(|package| package.source.is_none())
    }

    /// Finds a package of this project by name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn our(&self, name: &str) -> &Package {
        self.ours().find(|package| package.name == name).unwrap_or_else(|| panic!("no package {name}"))
    }

    /// The packages that are linked into this one directly.
    pub fn direct<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Package> {
        package.linked.iter().filter_map(|id| self.0.get(id))
    }

    /// Everything that is linked into this package, itself included, each once; what runs only in the compiler is left out.
    #[must_use]
    pub fn closure<'a>(&'a self, package: &'a Package) -> Vec<&'a Package> {
        let mut seen = BTreeSet::new();
        let mut out: Vec<&Package> = vec![package];
        let mut next = 0;
        while let Some(at) = out.get(next).copied() {
            next += 1;
            for id in &at.linked {
                if let Some(found) = self.0.get(id)
                    && !found.proc_macro
                    && seen.insert(id)
                {
                    out.push(found);
                }
            }
        }
        out
    }
}

/// Runs cargo in the tree and gives what it prints.
fn cargo(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO")).args(arguments).current_dir(tree()).output().expect("cargo runs");
    assert!(out.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("cargo prints UTF-8")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}")).to_owned()
}
