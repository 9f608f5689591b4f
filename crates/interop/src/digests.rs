//! Lists of digests: `SHA256SUMS` (GNU coreutils), hashdeep 1.0, and a log in the shape of FTK Imager's.

use std::io::{self, Write};

use custodia_format::Hash;
use custodia_format::text::escape_untrusted;

use crate::{Exported, text};

/// The first lines of a hashdeep file whose digests are SHA-256 alone. `hashdeep -c sha256 -a -k` reads it.
pub const HASHDEEP_HEAD: &str =
    "%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n## Paths are below the folder of this file.\n##\n";

/// A line as `sha256sum` prints it: a name with a backslash, an LF or a CR is escaped, and the line begins with one.
///
/// # Errors
/// The writer's.
pub fn sha256sums_line(out: &mut impl Write, sha256: &Hash, path: &[u8]) -> io::Result<()> {
    if path.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
        out.write_all(b"\\")?;
    }
    write!(out, "{sha256}  ")?;
    for byte in path {
        match byte {
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            other => out.write_all(&[*other])?,
        }
    }
    out.write_all(b"\n")
}

/// A line of a hashdeep file. Its format has no way to write a name with a line break: such a line names the digest alone, by which
/// hashdeep compares in any case.
///
/// # Errors
/// The writer's.
pub fn hashdeep_line(out: &mut impl Write, file: &Exported<'_>) -> io::Result<()> {
    write!(out, "{},{},", file.size, file.sha256)?;
    if file.path.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        write!(out, "{}", file.sha256)?;
    } else {
        out.write_all(file.path)?;
    }
    out.write_all(b"\n")
}

/// A log in the shape that examiners know from FTK Imager: the case, and for each file its digest as computed and as verified.
#[derive(Debug)]
pub struct FtkLog<W>(W);

impl<W: Write> FtkLog<W> {
    /// Begins it.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(mut out: W, program: &str, case: &str, package: &Hash, title: &str) -> io::Result<Self> {
        write!(
            out,
            "Created By {program}\n\nCase Information:\nAcquired using: {program}\nCase Number: {}\nEvidence Number: {package}\n\
             Unique description: {}\nExaminer: \nNotes: SHA-256 alone; who did what, and when, is in proof.json\n\n\
             --------------------------------------------------------------\n",
            escape_untrusted(case),
            escape_untrusted(title)
        )?;
        Ok(Self(out))
    }

    /// One file, whose digest was verified while it was written.
    ///
    /// # Errors
    /// The writer's.
    pub fn file(&mut self, file: &Exported<'_>) -> io::Result<()> {
        let path = escape_untrusted(&String::from_utf8_lossy(file.path));
        write!(
            self.0,
            "\nInformation for {path}:\n\nEvidence item: {}\nSize in bytes: {}\n[Computed Hashes]\n SHA256 checksum: {}\n\n\
             Verification Results:\n SHA256 checksum: {} : verified\n",
            escape_untrusted(text(file.record, "code")),
            file.size,
            file.sha256,
            file.sha256
        )
    }

    /// Ends it; gives the writer back.
    pub fn end(self) -> W {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_line_breaks_are_escaped() {
        let line = |path: &[u8]| {
            let mut out = Vec::new();
            sha256sums_line(&mut out, &Hash::ZERO, path).unwrap();
            String::from_utf8(out).unwrap()
        };
        let zeros = "0".repeat(64);
        assert_eq!(line(b"items/a b"), format!("{zeros}  items/a b\n"));
        assert_eq!(line(b"a\nb\\c\r"), format!("\\{zeros}  a\\nb\\\\c\\r\n"));
    }
}
