#!/usr/bin/env python3
"""Makes the sample exhumation set under crates/cli/sample: the same bytes at every run with the same Pillow.

Nothing in it is real. People are codes, the site is a point in the open sea, and each picture is a drawing.

    python3 -m venv VENV && VENV/bin/pip install pillow==13.0.0 && VENV/bin/python tests/sample/make.py
"""

import csv
import io
import math
import random
import struct
import sys
import wave
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

CASE = "C-2026-031"
SITE = "Site K-3"
LATITUDE, LONGITUDE = 54.5012, 6.9034  # open sea, so that no field is named
WIDTH, HEIGHT = 1024, 768

SOIL = (122, 98, 72)
CUT = (88, 68, 48)
WHITE = (240, 238, 230)
BLACK = (20, 20, 20)
RED = (190, 40, 30)
YELLOW = (230, 190, 40)


def font(size):
    return ImageFont.load_default(size)


def ground(seed):
    """Soil: coarse noise, scaled up and softened, so that the JPEG is of the size that a small photo has."""
    rng = random.Random(seed)
    coarse = Image.new("RGB", (WIDTH // 8, HEIGHT // 8))
    coarse.putdata([tuple(max(0, min(255, c + rng.randint(-26, 26))) for c in SOIL) for _ in range(coarse.width * coarse.height)])
    return coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1.2))


def north_arrow(draw, x, y):
    draw.polygon([(x, y - 60), (x - 18, y + 20), (x, y + 4)], fill=BLACK)
    draw.polygon([(x, y - 60), (x + 18, y + 20), (x, y + 4)], fill=WHITE, outline=BLACK)
    draw.text((x, y - 84), "N", font=font(30), fill=WHITE, anchor="mm", stroke_width=2, stroke_fill=BLACK)


def scale_bar(draw, x, y, parts, pixels, unit):
    for i in range(parts):
        draw.rectangle([x + i * pixels, y, x + (i + 1) * pixels, y + 18], fill=BLACK if i % 2 == 0 else WHITE, outline=BLACK)
    draw.text((x + parts * pixels + 10, y + 9), f"{parts * unit} cm", font=font(24), fill=WHITE, anchor="lm", stroke_width=2, stroke_fill=BLACK)


def board(draw, lines, x=30, y=560):
    draw.rectangle([x, y, x + 420, y + 40 + 40 * len(lines)], fill=BLACK, outline=WHITE, width=4)
    for i, line in enumerate(lines):
        draw.text((x + 24, y + 20 + 40 * i), line, font=font(32), fill=WHITE)


def overview():
    image = ground(1)
    draw = ImageDraw.Draw(image)
    draw.polygon([(220, 150), (800, 120), (840, 520), (190, 540)], fill=CUT)
    for i in range(1, 4):
        draw.line([(220 + 145 * i, 150 - 8 * i), (190 + 162 * i, 540 - 5 * i)], fill=YELLOW, width=3)
    draw.line([(205, 345), (820, 320)], fill=YELLOW, width=3)
    for number, x, y in ((1, 300, 250), (2, 470, 420), (3, 640, 230), (4, 730, 430)):
        draw.polygon([(x, y - 46), (x - 26, y), (x + 26, y)], fill=YELLOW, outline=BLACK)
        draw.text((x, y - 15), str(number), font=font(28), fill=BLACK, anchor="mm")
    north_arrow(draw, 930, 150)
    scale_bar(draw, 560, 690, 5, 70, 20)
    board(draw, [CASE, f"{SITE}  G-04", "2026-10-12 09:41 +02:00"])
    return image


def measuring_board():
    image = ground(2)
    draw = ImageDraw.Draw(image)
    draw.rectangle([120, 90, 900, 500], fill=WHITE, outline=BLACK, width=6)
    for mm in range(0, 71):
        length = 60 if mm % 10 == 0 else 36 if mm % 5 == 0 else 20
        draw.line([(150 + mm * 10, 96), (150 + mm * 10, 96 + length)], fill=BLACK, width=2)
        if mm % 10 == 0:
            draw.text((150 + mm * 10, 176), str(mm // 10), font=font(26), fill=BLACK, anchor="mm")
    for i, grey in enumerate(range(0, 256, 32)):
        draw.rectangle([150 + i * 90, 220, 230 + i * 90, 290], fill=(grey, grey, grey), outline=BLACK)
    for i, colour in enumerate([(200, 30, 30), (30, 150, 50), (40, 60, 180), (0, 170, 180), (190, 40, 150), (230, 210, 40), SOIL, CUT]):
        draw.rectangle([150 + i * 90, 320, 230 + i * 90, 390], fill=colour, outline=BLACK)
    draw.text((510, 450), f"{CASE}   {SITE}   G-04 / A-11", font=font(36), fill=BLACK, anchor="mm")
    north_arrow(draw, 960, 640)
    board(draw, ["Colour and scale", "Recorder 2", "2026-10-12 10:07 +02:00"])
    return image


def button():
    image = ground(3)
    draw = ImageDraw.Draw(image)
    draw.ellipse([372, 172, 652, 452], fill=(60, 48, 36))
    draw.ellipse([380, 160, 640, 420], fill=(156, 132, 80), outline=(70, 54, 30), width=8)
    draw.ellipse([410, 190, 610, 390], outline=(110, 90, 50), width=6)
    for angle in (45, 135, 225, 315):
        x, y = 510 + 44 * math.cos(math.radians(angle)), 290 + 44 * math.sin(math.radians(angle))
        draw.ellipse([x - 16, y - 16, x + 16, y + 16], fill=(40, 30, 20))
    draw.line([(760, 90), (690, 200)], fill=RED, width=6)
    draw.text((770, 76), "A-11", font=font(34), fill=RED, anchor="lm", stroke_width=2, stroke_fill=WHITE)
    north_arrow(draw, 130, 180)
    scale_bar(draw, 560, 690, 5, 70, 1)
    board(draw, [f"{CASE}  G-04", "A-11 button, four holes", "2026-10-12 10:22 +02:00"])
    return image


def degrees(value):
    whole = int(value)
    minutes = int((value - whole) * 60)
    return (float(whole), float(minutes), round((value - whole - minutes / 60) * 3600, 2))


def exif(number, taken):
    tags = Image.Exif()
    tags[0x010E] = f"{CASE} {SITE} IMG_{number:04}"  # ImageDescription
    tags[0x010F] = "Custodia Samples"  # Make
    tags[0x0110] = "Drawn Camera 1"  # Model
    tags[0x0112] = 1  # Orientation
    tags[0x0131] = "tests/sample/make.py"  # Software
    tags[0x0132] = taken  # DateTime
    tags[0x013B] = "Recorder 2"  # Artist
    camera = tags.get_ifd(0x8769)
    camera[0x9003] = taken  # DateTimeOriginal
    camera[0x9004] = taken  # DateTimeDigitized
    camera[0x9011] = "+02:00"  # OffsetTimeOriginal
    camera[0x829A] = (1, 250)  # ExposureTime
    camera[0x829D] = 8.0  # FNumber
    camera[0x8827] = 200  # ISO
    camera[0xA431] = "DC1-000031"  # BodySerialNumber
    place = tags.get_ifd(0x8825)
    place[1], place[2] = "N", degrees(LATITUDE)
    place[3], place[4] = "E", degrees(LONGITUDE)
    place[5], place[6] = b"\x00", 2.0
    place[16], place[17] = "T", 12.5  # GPSImgDirection, true north
    place[18] = "WGS-84"
    return tags


def jpeg(image, number, taken):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=58, optimize=True, exif=exif(number, taken))
    return out.getvalue()


def table(rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8")


def evidence_list():
    rows = [("code", "kind", "found_in", "square", "depth_cm", "found_at", "by", "container", "bag_seal", "state")]
    kinds = ["button", "cloth", "cartridge case", "buckle", "key", "shoe sole", "ring", "glasses frame", "coin", "comb"]
    for i in range(24):
        minute = 15 + 9 * i
        rows.append((
            f"A-{i + 1:02}", kinds[i % len(kinds)], "G-04", "ABCD"[i % 4] + str(1 + i // 12), str(40 + 5 * (i % 9)),
            f"2026-10-12T{9 + minute // 60:02}:{minute % 60:02}:00+02:00", f"O-{1 + i % 3}", f"BX-{1 + i // 8:02}", f"S-{4700 + i}", "sealed",
        ))
    return table(rows)


def burial_log():
    rows = [("code", "grave", "position", "head_towards", "completeness", "lifted_at", "by", "samples", "remark")]
    for i in range(7):
        rows.append((
            f"R-{i + 1:02}", "G-04", ["supine", "prone", "left side", "right side"][i % 4], ["N", "NE", "S", "W"][i % 4],
            ["complete", "partial", "complete", "disturbed"][i % 4], f"2026-10-13T{8 + i}:2{i % 6}:00+02:00", "O-1",
            f"T-{2 * i + 1:02};T-{2 * i + 2:02}", "" if i != 3 else "cut by the drain of 1994",
        ))
    return table(rows)


def photo_log():
    return table([
        ("file", "taken_at", "by", "subject", "direction_deg", "remark"),
        ("IMG_0001.jpg", "2026-10-12T09:41:00+02:00", "Recorder 2", "G-04 overview, marks 1 to 4", "12", ""),
        ("IMG_0002.jpg", "2026-10-12T10:07:00+02:00", "Recorder 2", "colour and scale board", "12", ""),
        ("IMG_0003.jpg", "2026-10-12T10:22:00+02:00", "Recorder 2", "A-11 in place", "12", ""),
        ("IMG_0004.jpg", "2026-10-12T10:24:00+02:00", "Recorder 2", "A-11 lifted", "12", "0 bytes: battery empty. Kept as the card has it"),
    ])


def tone():
    """Three beeps of 440 Hz, the length of a short voice note."""
    rate = 8000
    samples = [
        int(9000 * math.sin(2 * math.pi * 440 * i / rate)) if (i // (rate // 4)) % 2 == 0 else 0
        for i in range(rate * 5 // 4)
    ]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return out.getvalue()


def report():
    """A PDF 1.4 of one page, written by hand."""
    lines = [
        f"Field report   {CASE}   {SITE}", "",
        "12 and 13 October 2026. Present: O-1, O-2, O-3, Recorder 2.",
        "Grave G-04 opened 09:15, squares A1 to D2, depth 40 to 80 cm.",
        "24 objects (A-01 to A-24) in boxes BX-01 to BX-03, bag seals S-4700 to S-4723.",
        "7 individuals (R-01 to R-07), 14 samples (T-01 to T-14).",
        "Photo IMG_0004 has no content: the battery was empty. It is kept as it is.",
        "The drain of 1994 cut the grave at R-04.",
        "", "This report is a sample. Nothing in it happened.",
    ]
    text = "BT /F1 12 Tf 60 780 Td 18 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Title (Field report {CASE}) /Producer (tests/sample/make.py) /CreationDate (D:20261013170000+02'00') >>",
    ]
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{at:010} 00000 n \n" for at in offsets)
    return (out + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 6 0 R >>\nstartxref\n{start}\n%%EOF\n").encode("ascii")


def track():
    points = []
    for i in range(48):
        angle = 2 * math.pi * i / 48
        points.append(
            f'      <trkpt lat="{LATITUDE + 0.0004 * math.sin(angle):.6f}" lon="{LONGITUDE + 0.0007 * math.cos(angle):.6f}">'
            f"<ele>{2 + 0.1 * (i % 5):.1f}</ele><time>2026-10-12T06:{10 + i // 2:02}:{30 * (i % 2):02}Z</time></trkpt>\n"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="tests/sample/make.py" xmlns="http://www.topografix.com/GPX/1/1">\n'
        f"  <trk>\n    <name>{SITE}, edge of the area, device GPS-2</name>\n    <trkseg>\n{''.join(points)}    </trkseg>\n  </trk>\n</gpx>\n"
    ).encode("utf-8")


def about():
    return (
        "A sample exhumation set, made for Custodia by tests/sample/make.py.\n"
        "Nothing in it is real: the pictures are drawn, people are codes, the place is a point in the open sea.\n"
    ).encode("ascii")


def sketch_note():
    return (
        f"{CASE}, {SITE}\nСкица гроба G-04 / Skizze Grab G-04 / skica groba G-04\n"
        "A1 A2 | B1 B2 | C1 C2 | D1 D2\nN ↑, 1 : 20, O-2\n"
    ).encode("utf-8")


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "crates/cli/sample"
    files = {
        "ABOUT.txt": about(),
        "photos/IMG_0001.jpg": jpeg(overview(), 1, "2026:10:12 09:41:00"),
        "photos/IMG_0002.jpg": jpeg(measuring_board(), 2, "2026:10:12 10:07:00"),
        "photos/IMG_0003.jpg": jpeg(button(), 3, "2026:10:12 10:22:00"),
        "photos/IMG_0004.jpg": b"",
        "photos/photo-log.csv": photo_log(),
        "records/evidence-list.csv": evidence_list(),
        "records/burial-log.csv": burial_log(),
        "records/field-report.pdf": report(),
        "notes/Skizze-Grabstätte-Č4.txt": sketch_note(),
        "voice/NOTE0007.WAV": tone(),
        "tracks/edge.gpx": track(),
    }
    for name, content in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{len(content):7}  {name}")
    print(f"{sum(map(len, files.values())):7}  in {len(files)} files")


if __name__ == "__main__":
    main()
