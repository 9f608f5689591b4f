//! The sample set of an exhumation, carried inside the program so that the demo needs no source tree.

use std::fs;
use std::path::Path;

use custodia_node::failure::Failure;

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[$(($path, include_bytes!(concat!("../../sample/", $path)))),*] };
}

/// Its files: path and bytes.
const FILES: &[(&str, &[u8])] = files![
    "ABOUT.txt",
    "notes/Skizze-Grabstätte-Č4.txt",
    "photos/IMG_0001.jpg",
    "photos/IMG_0002.jpg",
    "photos/IMG_0003.jpg",
    "photos/IMG_0004.jpg",
    "photos/photo-log.csv",
    "records/burial-log.csv",
    "records/evidence-list.csv",
    "records/field-report.pdf",
    "tracks/edge.gpx",
    "voice/NOTE0007.WAV",
];

/// Writes the sample into a new folder.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| Failure::io(&error, parent))?;
        fs::write(&path, bytes).map_err(|error| Failure::io(&error, &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_folder_that_the_source_has() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
        let mut found = Vec::new();
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        assert_eq!(found, FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }
}
