"""What a file is by its first bytes, whatever its name says.

bytes[:HEAD] -> kind ("PNG picture", "HEIC picture", "web page" …)
"""

from __future__ import annotations

HEAD = 64  # bytes looked at

# Beginnings that settle the kind; longer ones stand before their own beginnings.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG picture"),
    (b"\xff\xd8\xff", "JPEG picture"),
    (b"GIF87a", "GIF picture"),
    (b"GIF89a", "GIF picture"),
    (b"II*\0", "TIFF picture"),
    (b"MM\0*", "TIFF picture"),
    (b"II+\0", "TIFF picture"),
    (b"MM\0+", "TIFF picture"),
    (b"BM", "BMP picture"),
    (b"fLaC", "FLAC sound"),
    (b"OggS", "OGG sound"),
    (b"ID3", "MP3 sound"),
    (b"\x1a\x45\xdf\xa3", "WebM or Matroska video"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000 picture"),
    (b"\xff\x0a", "JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "JPEG XL picture"),
    (b"8BPS", "Photoshop picture"),
    (b"\0\0\1\0", "icon"),
    (b"FORM", "AIFF sound"),
    (b"caff", "CAF sound"),
    (b"#!AMR", "AMR sound"),
    (b"FLV", "Flash video"),
    (b"\x30\x26\xb2\x75", "Windows Media file"),
    (b"\0\0\1\xba", "MPEG program stream"),
    (b"\x47\x40", "MPEG transport stream"),
    (b"%PDF", "PDF document"),
    (b"%!PS", "PostScript document"),
    (b"PK\3\4", "ZIP archive (or office document)"),
    (b"\x1f\x8b", "gzip archive"),
    (b"7z\xbc\xaf", "7-Zip archive"),
    (b"Rar!", "RAR archive"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x89HDF", "HDF5 file"),
    (b"SQLite format 3", "SQLite data base"),
    (b"\0\5\x16\7", "macOS resource file (AppleDouble)"),
    (b"\0\0\0\1Bud1", "macOS folder settings (.DS_Store)"),
    (b"version https://git-lfs", "Git LFS pointer (fetch the file itself with: git lfs pull)"),
    (b"#EXTM3U", "M3U playlist, which names other files"),
    (b"ffconcat", "ffconcat playlist, which names other files"),
    (b"[playlist]", "PLS playlist, which names other files"),
)
_BRANDS = (
    ((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC picture"),
    ((b"avif", b"avis"), "AVIF picture"),
    ((b"M4A ", b"M4B ", b"F4A "), "M4A sound"),
)
_RIFF = {b"WAVE": "WAV sound", b"AVI ": "AVI video", b"WEBP": "WebP picture"}
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot", b"moof", b"styp", b"sidx")


def kind_of(head: bytes) -> str:
    """The kind of file that begins with `head` (at least `HEAD` bytes of it, or all of a shorter file)."""
    if head[:4] in (b"RIFF", b"RF64", b"RIFX"):
        return _RIFF.get(head[8:12], "RIFF file of unknown content")
    if head[4:8] in _MP4_BOXES:
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        return next((kind for brands, kind in _BRANDS if brand in brands), "MP4 video")
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # eleven set bits start a frame of MPEG sound; layer 00 (reserved) is AAC in ADTS
        return "MP3 sound" if head[1] & 0x06 else "AAC stream"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return "SVG or XML document"
    if text.startswith((b"<!doctype", b"<html", b"<head")):
        return "web page (perhaps the error page of a failed download)"
    if not head.strip(b"\0"):
        return "file of zero bytes only"
    return "file of unknown kind"
