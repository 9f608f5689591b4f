//! Labels for bags, boxes and samples: a number that people read, with a check character, and a code that a machine reads. One for the
//! outside and one for the inside. Nothing on them is a name or a place that the record does not have as its code.

use std::fmt::Write;

use custodia_format::Hash;
use qrcode::{Color, EcLevel, QrCode};

/// What labels are printed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sheet {
    /// A4 with 24 labels of 70 by 37 mm.
    A4,
    /// A roll of 62 mm, cut at 29 mm.
    Roll62,
    /// Single labels of 50 by 30 mm.
    Small,
}

/// Millimetres of a page and of a label, and how many labels are beside and above each other.
struct Layout {
    page: (f64, f64),
    label: (f64, f64),
    across: usize,
    down: usize,
}

impl Sheet {
    /// Every one, by its name.
    pub const ALL: [(&'static str, Self); 3] = [("a4-24", Self::A4), ("62mm", Self::Roll62), ("50x30", Self::Small)];

    /// The sheet of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, sheet)| *sheet)
    }

    const fn layout(self) -> Layout {
        match self {
            Self::A4 => Layout { page: (210.0, 297.0), label: (70.0, 37.125), across: 3, down: 8 },
            Self::Roll62 => Layout { page: (62.0, 29.0), label: (62.0, 29.0), across: 1, down: 1 },
            Self::Small => Layout { page: (50.0, 30.0), label: (50.0, 30.0), across: 1, down: 1 },
        }
    }
}

/// One label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The number that people read.
    pub number: String,
    /// The package, and the record in it; none of a label that is printed before anything is sealed.
    pub of: Option<(Hash, u64)>,
    /// What else stands on it, the most important first.
    pub lines: Vec<String>,
}

impl Label {
    /// What its code says: docs/spec/interop.md, "Labels".
    pub fn machine_text(&self) -> String {
        match &self.of {
            Some((root, record)) => {
                let mut bytes = root.as_bytes().to_vec();
                bytes.extend_from_slice(&u32::try_from(*record).unwrap_or(u32::MAX).to_be_bytes());
                format!("CUSTODIA1:{}", base32(&bytes))
            }
            None => format!("CUSTODIA0:{}", self.checked().to_ascii_uppercase()),
        }
    }

    /// The number with its check character.
    pub fn checked(&self) -> String {
        format!("{}-{}", self.number, check_character(&self.number))
    }
}

/// The check character of a number: ISO/IEC 7064, MOD 37,36, over its letters and digits. It finds every single wrong character, and
/// every two neighbours that changed places.
pub fn check_character(number: &str) -> char {
    const MODULUS: u32 = 36;
    let product = number.chars().filter_map(|c| c.to_digit(MODULUS)).fold(MODULUS, |product, value| {
        let sum = match (product + value) % MODULUS {
            0 => MODULUS,
            sum => sum,
        };
        (sum * 2) % (MODULUS + 1)
    });
    let check = (MODULUS + 1 - product) % MODULUS;
    char::from_digit(check, MODULUS).map_or('0', |c| c.to_ascii_uppercase())
}

/// Draws labels, each twice, as pages (SVG 1.1) in millimetres.
pub fn pages(sheet: Sheet, labels: &[Label]) -> Vec<String> {
    let Layout { page: (width, height), label, across, down } = sheet.layout();
    let twice: Vec<(&Label, &str)> = labels.iter().flat_map(|it| [(it, "outside"), (it, "inside")]).collect();
    twice
        .chunks(across * down)
        .map(|page| {
            let mut svg = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" viewBox=\"0 0 {width} {height}\" \
                 font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
            );
            for (place, (one, side)) in page.iter().enumerate() {
                let (x, y) = ((place % across) as f64 * label.0, (place / across) as f64 * label.1);
                draw(&mut svg, one, side, (x, y), label);
            }
            svg.push_str("</svg>\n");
            svg
        })
        .collect()
}

/// Draws one label at a place.
fn draw(svg: &mut String, label: &Label, side: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let code = 19.0_f64.min(height - 8.0);
    let _ = writeln!(svg, "<g transform=\"translate({x:.3} {y:.3})\">");
    machine_code(svg, &label.machine_text(), (width - code - 3.0, 3.0), code);
    let number = label.checked();
    // Large, and as wide as there is room.
    let room = width - code - 8.0;
    let size = (room / (number.chars().count() as f64 * 0.62)).clamp(2.2, 6.5);
    let _ = writeln!(
        svg,
        "<text x=\"3\" y=\"{:.2}\" font-size=\"{size:.2}\" font-weight=\"bold\">{}</text>",
        4.0 + size,
        escape(&number)
    );
    let mut line_at = 4.0 + size + 4.0;
    for line in label.lines.iter().take(4) {
        let chars = (room / 1.25) as usize;
        let told: String = line.chars().take(chars).collect();
        let _ = writeln!(svg, "<text x=\"3\" y=\"{line_at:.2}\" font-size=\"2.4\">{}</text>", escape(&told));
        line_at += 3.2;
    }
    let _ = writeln!(
        svg,
        "<text x=\"3\" y=\"{:.2}\" font-size=\"2.1\">{side}   date ____________   initials ________</text>",
        height - 2.5
    );
    svg.push_str("</g>\n");
}

/// A QR code (ISO/IEC 18004, level Q) with its quiet zone, in a square of so many millimetres.
fn machine_code(svg: &mut String, text: &str, (x, y): (f64, f64), size: f64) {
    let Ok(code) = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::Q) else { return };
    let modules = code.width();
    let module = size / (modules + 8) as f64;
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let _ = write!(path, "M{} {}h1v1h-1z", at % modules + 4, at / modules + 4);
        }
    }
    let _ =
        writeln!(svg, "<path transform=\"translate({x:.3} {y:.3}) scale({module:.4})\" d=\"{path}\" fill=\"#000\"/>");
}

/// RFC 4648 §6 without padding: the letters and digits that a QR code packs densest.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bits, mut held, mut text) = (0_u32, 0_u32, String::new());
    let mut push = |value: u32| text.push(DIGITS.get((value & 31) as usize).map_or('A', |digit| char::from(*digit)));
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        push(held << (5 - bits));
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_character_is_that_of_the_standard() {
        // The identifier of a recording in the standard GRid, whose check character is this one.
        assert_eq!(check_character("A12425GABC1234002"), 'M');
        assert_eq!(check_character("a1-2425g-abc1234002"), 'M');
        // One wrong character, or two that changed places, is found.
        let right = check_character("KV-0417");
        for wrong in ["KV-0471", "KV-0418", "VK-0417", "KV-4017"] {
            assert_ne!(check_character(wrong), right, "{wrong}");
        }
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        for (text, encoded) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn each_label_is_there_twice_and_says_no_more_than_it_must() {
        let label = Label {
            number: "KV-019".to_owned(),
            of: Some((Hash::ZERO, 7)),
            lines: vec!["remains  <1 of 2>".to_owned()],
        };
        assert_eq!(label.machine_text().len(), 10 + 58);
        let pages = pages(Sheet::A4, &vec![label.clone(); 13]);
        assert_eq!(pages.len(), 2);
        assert_eq!(pages[0].matches("KV-019-").count() + pages[1].matches("KV-019-").count(), 26);
        assert!(pages[0].contains("&lt;1 of 2&gt;") && pages[0].starts_with("<svg "));
        for (_, sheet) in Sheet::ALL {
            assert!(!super::pages(sheet, std::slice::from_ref(&label)).is_empty());
        }
    }
}
