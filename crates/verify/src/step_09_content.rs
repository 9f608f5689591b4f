//! Step 9: the files, byte by byte, on all cores. Every byte is read once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::midstate::{
    CHUNK_BYTES, ItemHasher, Midstate, chunk_bytes, chunk_count, midstates_root, parse_midstates, prove_chunk,
};

use crate::case::Case;
use crate::content::{Content, ContentError, ContentFile};
use crate::finding::FindingCode;
use crate::step_08_records::FileRecord;

/// Compares each disclosed file with the given bytes.
pub(crate) fn step_9_content(
    case: &mut Case<'_>,
    files: &[FileRecord],
    content: Option<&dyn Content>,
    cores: NonZeroUsize,
) {
    let Some(content) = content else {
        case.find(FindingCode::NotGiven, "files", "name the folder that holds them to have them checked");
        return;
    };
    let given = match content.files() {
        Ok(given) => given,
        Err(error) => {
            case.find(FindingCode::Missing, "files", error.why);
            return;
        }
    };
    let given: BTreeMap<&[u8], &ContentFile> = given.iter().map(|file| (file.path.as_slice(), file)).collect();
    let erased = erased(case);
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut absent = Vec::new();
    for file in files {
        let (Some(size), Some(sha256)) = (file.size, file.sha256) else {
            case.find(FindingCode::Missing, file.place(), "its size or digest is withheld: it cannot be compared");
            continue;
        };
        let at = file.path.as_deref().and_then(|path| given.get_key_value(path));
        let Some((path, found)) = at else {
            absent.push((file, sha256));
            continue;
        };
        seen.insert(path);
        let outcome = if found.size == size {
            check(content, path, size, &sha256, file.midstates.as_ref(), cores)
        } else {
            Ok(Some(format!("sealed {size} bytes, found {}", found.size)))
        };
        match outcome {
            Ok(None) => {
                case.items.unchanged += 1;
                case.items.bytes += size;
            }
            Ok(Some(detail)) => case.find(FindingCode::Bytes, file.place(), detail),
            Err(error) => case.find(FindingCode::Missing, file.place(), error.why),
        }
    }
    look_elsewhere(case, &absent, &given, &mut seen, content, cores, &erased);
    for (path, _) in given.iter().filter(|(path, _)| !seen.contains(*path)) {
        case.find(FindingCode::Extra, String::from_utf8_lossy(path), "no record names it");
    }
}

/// Digests of items that were destroyed by order.
fn erased(case: &Case<'_>) -> BTreeSet<Hash> {
    let bodies =
        case.signed_bodies().filter_map(|(_, _, body)| if let Body::Erasure(body) = body { Some(body) } else { None });
    bodies.flat_map(|erasure| erasure.objects.iter().copied()).collect()
}

/// A file that is not at its path may lie there under another name: it is looked up by its digest.
fn look_elsewhere<'a>(
    case: &mut Case<'_>,
    absent: &[(&FileRecord, Hash)],
    given: &BTreeMap<&'a [u8], &'a ContentFile>,
    seen: &mut HashSet<&'a [u8]>,
    content: &dyn Content,
    cores: NonZeroUsize,
    erased: &BTreeSet<Hash>,
) {
    let sizes: HashSet<u64> = absent.iter().filter_map(|(file, _)| file.size).collect();
    let strays = given.iter().filter(|(path, file)| !seen.contains(*path) && sizes.contains(&file.size));
    let mut by_digest: BTreeMap<Hash, &[u8]> = BTreeMap::new();
    for (path, file) in strays {
        if let Ok(digest) = whole(content, path, file.size) {
            by_digest.entry(digest).or_insert(path);
        }
    }
    let _ = cores;
    for (file, sha256) in absent {
        match by_digest.get(sha256) {
            Some(path) => {
                seen.insert(path);
                case.items.unchanged += 1;
                case.items.bytes += file.size.unwrap_or_default();
                case.find(FindingCode::Moved, file.place(), format!("found as {}", String::from_utf8_lossy(path)));
            }
            None if erased.contains(sha256) => {
                case.find(FindingCode::ErasedByOrder, file.place(), "it was destroyed by order");
            }
            None => {
                case.find(
                    FindingCode::Missing,
                    file.place(),
                    "add the folder that holds it, or ask a custodian for it",
                );
            }
        }
    }
}

/// Checks one file; says what differs.
fn check(
    content: &dyn Content,
    path: &[u8],
    size: u64,
    sha256: &Hash,
    root: Option<&Hash>,
    cores: NonZeroUsize,
) -> Result<Option<String>, ContentError> {
    // The list of midstates is nobody's word: it counts only if it leads to the sealed root.
    let list = root.filter(|_| cores.get() > 1 && size > 2 * CHUNK_BYTES).and_then(|root| {
        let states = parse_midstates(&content.midstates(sha256)?, size).ok()?;
        (midstates_root(&states) == *root).then_some(states)
    });
    if let Some(states) = list {
        return by_chunks(content, path, size, sha256, &states, cores);
    }
    let mut hasher = ItemHasher::new();
    read_through(content, path, size, &mut |bytes| hasher.update(bytes))?;
    let found = hasher.finish();
    if found.sha256 != *sha256 {
        return Ok(Some(format!("sealed {sha256}, found {}", found.sha256)));
    }
    match root {
        Some(root) if midstates_root(&found.midstates) != *root => {
            Ok(Some("its midstates are not those that were sealed".to_owned()))
        }
        _ => Ok(None),
    }
}

/// Proves every chunk by itself, each core taking the next one.
fn by_chunks(
    content: &dyn Content,
    path: &[u8],
    size: u64,
    sha256: &Hash,
    states: &[Midstate],
    cores: NonZeroUsize,
) -> Result<Option<String>, ContentError> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let outcome: Mutex<Result<Option<String>, ContentError>> = Mutex::new(Ok(None));
    let settle = |result| {
        stop.store(true, Ordering::Relaxed);
        *outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = result;
    };
    std::thread::scope(|scope| {
        for _ in 0..cores.get() {
            scope.spawn(|| {
                let mut buffer = vec![0; CHUNK_BYTES as usize];
                while !stop.load(Ordering::Relaxed) {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    if chunk >= chunk_count(size) {
                        return;
                    }
                    let wanted = buffer.get_mut(..chunk_bytes(size, chunk) as usize).unwrap_or_default();
                    match content.read_at(path, chunk * CHUNK_BYTES, wanted) {
                        Err(error) => return settle(Err(error)),
                        Ok(read) => {
                            let bytes = wanted.get(..read).unwrap_or_default();
                            if let Err(error) = prove_chunk(size, sha256, states, chunk, bytes) {
                                return settle(Ok(Some(format!("{error}, at byte {}", chunk * CHUNK_BYTES))));
                            }
                        }
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn whole(content: &dyn Content, path: &[u8], size: u64) -> Result<Hash, ContentError> {
    let mut hasher = ItemHasher::new();
    read_through(content, path, size, &mut |bytes| hasher.update(bytes))?;
    Ok(hasher.finish().sha256)
}

fn read_through(
    content: &dyn Content,
    path: &[u8],
    size: u64,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), ContentError> {
    let mut buffer = vec![0; size.clamp(1, CHUNK_BYTES) as usize];
    let mut offset = 0;
    while offset < size {
        let read = content.read_at(path, offset, &mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        take(buffer.get(..read).unwrap_or_default());
        offset += read as u64;
    }
    Ok(())
}
