//! DER (ITU-T X.690), element by element: every length in its one spelling, nothing left over, each failure with its place.
//!
//! Shapes are few and fixed, so nothing here recurses, and nothing is copied.

use custodia_format::Malformed;
use der::asn1::{ObjectIdentifier, OctetStringRef};
use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber};

/// One value with its tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    what: &'static str,
    place: &'static str,
    pub(super) tag: Tag,
    /// What stands under the tag.
    pub(super) value: &'a [u8],
    /// Tag, length and value.
    pub(super) whole: &'a [u8],
}

/// The values inside a constructed one, in their order.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    what: &'static str,
    place: &'static str,
    reader: SliceReader<'a>,
}

/// The tag `[n]` around whole elements.
pub(super) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// The tag `[n]` in place of a primitive's own.
pub(super) const fn context_primitive(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: false, number: TagNumber(number) }
}

impl<'a> Elements<'a> {
    /// The elements that these bytes hold; `what` is the format that they belong to.
    pub(super) fn of(what: &'static str, place: &'static str, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let reader = SliceReader::new(bytes).map_err(|error| malformed(what, place, "DER", &error))?;
        Ok(Self { what, place, reader })
    }

    /// The one element that these bytes are.
    pub(super) fn only(what: &'static str, bytes: &'a [u8], tag: Tag) -> Result<Element<'a>, Malformed> {
        let mut elements = Self::of(what, "", bytes)?;
        let element = elements.take("", tag)?;
        elements.end()?;
        Ok(element)
    }

    /// The next element, which has this tag.
    pub(super) fn take(&mut self, place: &'static str, tag: Tag) -> Result<Element<'a>, Malformed> {
        match self.take_any(place)? {
            Some(element) if element.tag == tag => Ok(element),
            Some(element) => Err(Malformed::new(self.what, place, tag.to_string(), element.tag.to_string())),
            None => Err(Malformed::new(self.what, place, tag.to_string(), "the end")),
        }
    }

    /// The next element if it has this tag.
    pub(super) fn take_if(&mut self, place: &'static str, tag: Tag) -> Result<Option<Element<'a>>, Malformed> {
        match self.clone().take_any(place)? {
            Some(element) if element.tag == tag => self.take_any(place),
            _ => Ok(None),
        }
    }

    /// The next element, if there is one.
    pub(super) fn take_any(&mut self, place: &'static str) -> Result<Option<Element<'a>>, Malformed> {
        if self.reader.is_finished() {
            return Ok(None);
        }
        let what = self.what;
        let mut read = || -> der::Result<Element<'a>> {
            let header = Header::peek(&self.reader)?;
            let whole = self.reader.tlv_bytes()?;
            let length = usize::try_from(header.length())?;
            let value = whole.get(whole.len().saturating_sub(length)..).unwrap_or_default();
            Ok(Element { what, place, tag: header.tag(), value, whole })
        };
        read().map(Some).map_err(|error| malformed(what, place, "DER", &error))
    }

    /// All that follow; each has this tag.
    pub(super) fn all(mut self, place: &'static str, tag: Tag) -> Result<Vec<Element<'a>>, Malformed> {
        let mut all = Vec::new();
        while !self.reader.is_finished() {
            all.push(self.take(place, tag)?);
        }
        Ok(all)
    }

    /// Nothing follows.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.reader.is_finished() {
            return Ok(());
        }
        Err(Malformed::new(self.what, self.place, "the end", "more"))
    }
}

impl<'a> Element<'a> {
    /// What is inside it.
    pub(super) fn elements(&self) -> Result<Elements<'a>, Malformed> {
        Elements::of(self.what, self.place, self.value)
    }

    /// The one element inside it.
    pub(super) fn only(&self, tag: Tag) -> Result<Element<'a>, Malformed> {
        let mut elements = self.elements()?;
        let element = elements.take(self.place, tag)?;
        elements.end()?;
        Ok(element)
    }

    /// It as a value of the type.
    pub(super) fn decode<T: Decode<'a, Error = der::Error>>(&self, expected: &str) -> Result<T, Malformed> {
        T::from_der(self.whole).map_err(|error| malformed(self.what, self.place, expected, &error))
    }

    /// It as an object identifier.
    pub(super) fn oid(&self) -> Result<ObjectIdentifier, Malformed> {
        self.decode("an object identifier")
    }

    /// It as bytes.
    pub(super) fn octets(&self) -> Result<&'a [u8], Malformed> {
        Ok(self.decode::<&OctetStringRef>("octets")?.as_bytes())
    }

    /// The deviation that something else stands here.
    pub(super) fn wrong(&self, expected: &str, found: impl AsRef<str>) -> Malformed {
        Malformed::new(self.what, self.place, expected, found)
    }

    /// It is an integer of this one value.
    pub(super) fn is_version(&self, versions: &[u8]) -> Result<u8, Malformed> {
        let found: u8 = self.decode("a version")?;
        if versions.contains(&found) { Ok(found) } else { Err(self.wrong("a known version", found.to_string())) }
    }
}

fn malformed(what: &'static str, place: &str, expected: &str, error: &der::Error) -> Malformed {
    Malformed::new(what, place, expected, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_and_nothing_left_over() {
        let number = |bytes: &[u8]| {
            let mut inside = Elements::only("test", bytes, Tag::Sequence)?.elements()?;
            let number = inside.take("number", Tag::Integer)?.is_version(&[5])?;
            inside.end().map(|()| number)
        };
        assert_eq!(number(&[0x30, 3, 2, 1, 5]), Ok(5));
        for bad in [
            &[0x30, 3, 2, 1, 6][..],
            &[0x30, 0x81, 3, 2, 1, 5],
            &[0x30, 0x80, 2, 1, 5, 0, 0],
            &[0x30, 4, 2, 2, 0, 5],
            &[0x30, 4, 2, 1, 5, 5],
            &[0x30, 3, 2, 1, 5, 0],
            &[0x30, 2, 2, 1],
            &[0x31, 3, 2, 1, 5],
            &[0x30, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[],
        ] {
            assert!(number(bad).is_err(), "{bad:02x?}");
        }
    }
}
