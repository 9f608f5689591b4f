//! A bag (RFC 8493): payload under `data/`, everything else as tag files.

use std::io::{self, Write};

use custodia_format::Hash;
use custodia_format::text::escape_untrusted;

/// `bagit.txt` (§2.1.1).
pub const DECLARATION: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// What `bag-info.txt` tells (§2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagInfo<'a> {
    /// The authority that exports.
    pub organization: &'a str,
    /// The package's root.
    pub identifier: String,
    /// The case and the title.
    pub description: String,
    /// Bytes and files of the payload.
    pub oxum: (u64, u64),
}

impl BagInfo<'_> {
    /// Prints it.
    pub fn print(&self) -> String {
        let (bytes, files) = self.oxum;
        format!(
            "Source-Organization: {}\nExternal-Identifier: {}\nExternal-Description: {}\nPayload-Oxum: {bytes}.{files}\n",
            escape_untrusted(self.organization),
            self.identifier,
            escape_untrusted(&self.description)
        )
    }
}

/// A line of a manifest (§2.1.3): CR, LF and `%` are percent-encoded. The path is UTF-8.
///
/// # Errors
/// The writer's.
pub fn bag_line(out: &mut impl Write, sha256: &Hash, path: &[u8]) -> io::Result<()> {
    write!(out, "{sha256}  ")?;
    for byte in path {
        match byte {
            b'\n' => out.write_all(b"%0A")?,
            b'\r' => out.write_all(b"%0D")?,
            b'%' => out.write_all(b"%25")?,
            other => out.write_all(&[*other])?,
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_and_percents_are_encoded() {
        let mut out = Vec::new();
        bag_line(&mut out, &Hash::ZERO, b"data/100 %\r\nof it").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{}  data/100 %25%0D%0Aof it\n", "0".repeat(64)));
    }
}
