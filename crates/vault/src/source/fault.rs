//! What is wrong with a source, and what is only worth knowing, in sentences for the person who named it.

use std::fmt;
use std::path::PathBuf;

use custodia_format::limits;

use super::{FILES, Seen, shown};

/// One reason why a source cannot be sealed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it lies.
    pub source: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.source), self.fault)
    }
}

/// What is wrong with one file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A link: sealing what it leads to would seal something that lies elsewhere. Name that, or leave the link out.
    Link {
        /// Where it leads, when it can be read.
        target: Option<PathBuf>,
    },
    /// Something without bytes that could be sealed.
    Special(Special),
    /// Another file system is mounted there. Name it by itself if it belongs to the package.
    Mounted,
    /// We may not, or cannot, read it.
    Unreadable {
        /// What the system says.
        error: String,
    },
    /// Nothing is there.
    Missing,
    /// The path has no last part that could name it in the package.
    Nameless,
    /// The sealed path would exceed a limit of the format.
    TooLong(Length),
    /// The file has more bytes than an item may have.
    TooLarge {
        /// Bytes it has.
        size: u64,
    },
    /// The package would have more files than one may have. The walk ended there.
    TooMany,
    /// Its sealed path is another's too, or lies below it.
    Collides {
        /// The source of the other one.
        other: PathBuf,
    },
    /// Nothing that could be sealed lies there.
    NoFiles,
    /// It was not the same after reading as when it was found. Wait until nobody writes to it any more.
    Changed {
        /// What it was.
        expected: Seen,
        /// What it became.
        found: Seen,
    },
    /// Fewer or more bytes came out of it than it has.
    Length {
        /// Bytes it has.
        expected: u64,
        /// Bytes that were read.
        found: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { target: Some(target) } => write!(f, "a link to {}; links are not followed", shown(target)),
            Self::Link { target: None } => write!(f, "a link; links are not followed"),
            Self::Special(special) => write!(f, "{special}, not a regular file"),
            Self::Mounted => write!(f, "another file system is mounted here"),
            Self::Unreadable { error } => write!(f, "cannot be read: {error}"),
            Self::Missing => write!(f, "there is nothing here"),
            Self::Nameless => write!(f, "has no name of its own"),
            Self::TooLong(length) => write!(f, "{length}"),
            Self::TooLarge { size } => write!(f, "has {size} bytes; an item has at most {}", limits::ITEM_BYTES),
            Self::TooMany => write!(f, "a package has at most {FILES} files; nothing beyond this one was looked at"),
            Self::Collides { other } => {
                write!(f, "would have the same name in the package as {}", shown(other))
            }
            Self::NoFiles => write!(f, "holds no file that could be sealed"),
            Self::Changed { expected, found } => {
                write!(f, "changed since it was found: ")?;
                match (expected, found) {
                    _ if (expected.device, expected.inode) != (found.device, found.inode) => {
                        write!(f, "another file has taken its place")
                    }
                    _ if expected.size != found.size => write!(f, "it had {} bytes, now {}", expected.size, found.size),
                    _ if expected.modified != found.modified => write!(f, "it was written to"),
                    _ => write!(f, "its names or rights, or its bytes, were changed"),
                }
            }
            Self::Length { expected, found } => {
                write!(f, "has {expected} bytes, but {found} could be read; somebody writes to it")
            }
        }
    }
}

/// What is no regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A disk or the like.
    BlockDevice,
    /// A terminal or the like.
    CharacterDevice,
    /// Something that this version does not know.
    Unknown,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::BlockDevice => "a block device",
            Self::CharacterDevice => "a character device",
            Self::Unknown => "something unknown",
        })
    }
}

/// Which limit a sealed path exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The whole path.
    Path,
    /// One part of it.
    Component,
    /// The number of its parts.
    Depth,
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => write!(f, "its path is longer than {} bytes", limits::PATH_BYTES),
            Self::Component => write!(f, "its name is longer than {} bytes", limits::PATH_COMPONENT_BYTES),
            Self::Depth => write!(f, "it lies deeper than {} folders", limits::PATH_DEPTH),
        }
    }
}

/// Something that a person should know about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where it lies.
    pub source: PathBuf,
    /// What there is to know.
    pub kind: RemarkKind,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.source), self.kind)
    }
}

/// What there is to know about one file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemarkKind {
    /// A folder without any file below it. A package holds files: the folder is not sealed.
    EmptyFolder,
    /// The file has several names; the others may lie outside of the source.
    HardLinks {
        /// How many names.
        count: u64,
    },
    /// The file has holes, or its file system stores it smaller: its bytes are sealed in full, as they are read.
    Sparse {
        /// Bytes.
        size: u64,
        /// Bytes that it occupies.
        allocated: u64,
    },
    /// Its name has characters that are not seen, or turn what is seen.
    HiddenCharacters,
    /// Other systems, where case and dots at the end do not count, would take its name for another's.
    SameElsewhere {
        /// The source of the other one.
        other: PathBuf,
    },
}

impl fmt::Display for RemarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyFolder => write!(f, "a folder without files, which is not sealed"),
            Self::HardLinks { count } => write!(f, "the file has {count} names"),
            Self::Sparse { size, allocated } => {
                write!(f, "the file has {size} bytes and occupies {allocated}; all of its bytes are sealed")
            }
            Self::HiddenCharacters => write!(f, "the name has characters that are not seen"),
            Self::SameElsewhere { other } => {
                write!(f, "other systems would take its name for that of {}", shown(other))
            }
        }
    }
}
