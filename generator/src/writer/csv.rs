//! Comma-separated text as in the original file: a header, no quotes (nothing needs them), empty fields for nulls.
//!
//! Compressed files are one gzip member each, because not every reader goes on after the first: chunks are deflated on their own up to a byte
//! boundary and strung together, and the checksum is combined from theirs.

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::Outlet;
use crate::events::Event;
use crate::rows::{RawRow, Renderer};

/// Not the fastest level: zlib-rs 0.6, which flate2 uses when any crate of the build asks for it, flushes that one into an invalid stream.
const COMPRESSION: Compression = Compression::new(3);

const HEADER: &str = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n";
/// Magic number, deflate, no flags, no time (files of a seed are equal), no hint, unknown system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last deflate block without content.
const DEFLATE_END: [u8; 2] = [3, 0];
/// A generous guess at the bytes of a row.
const ROW_BYTES: usize = 144;

/// A text file that is being written.
pub(crate) struct CsvFile {
    outlet: Outlet,
    /// The checksum and length of the text so far, if it is compressed.
    checksum: Option<Crc>,
}

/// Encodes one piece of the text.
pub(crate) struct ChunkEncoder {
    header: bool,
    compressed: bool,
}

/// A piece of the text, possibly compressed.
pub(crate) struct EncodedChunk {
    bytes: Vec<u8>,
    checksum: Crc,
}

impl CsvFile {
    /// Writes the head of a file, which for plain text is nothing: the header is part of the first chunk.
    pub fn begin(mut outlet: Outlet, compressed: bool) -> io::Result<Self> {
        if compressed {
            outlet.write_all(&GZIP_HEAD)?;
        }
        Ok(CsvFile { outlet, checksum: compressed.then(Crc::new) })
    }

    /// The encoder of a chunk.
    pub fn encoder(&self, chunk: usize) -> ChunkEncoder {
        ChunkEncoder { header: chunk == 0, compressed: self.checksum.is_some() }
    }

    /// Appends a chunk.
    pub fn append(&mut self, chunk: &EncodedChunk) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.combine(&chunk.checksum);
        }
        self.outlet.write_all(&chunk.bytes)
    }

    /// Writes the foot of the file.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(checksum) = &self.checksum {
            self.outlet.write_all(&DEFLATE_END)?;
            self.outlet.write_all(&checksum.sum().to_le_bytes())?;
            self.outlet.write_all(&checksum.amount().to_le_bytes())?;
        }
        self.outlet.flush()
    }
}

impl ChunkEncoder {
    /// Renders and, if asked for, compresses events.
    pub fn encode(self, renderer: &Renderer, first_row: u64, events: &[Event]) -> io::Result<EncodedChunk> {
        let mut text = Vec::with_capacity(events.len() * ROW_BYTES + HEADER.len());
        if self.header {
            text.extend_from_slice(HEADER.as_bytes());
        }
        renderer.render(first_row, events, |row| push_row(&mut text, row));
        let mut checksum = Crc::new();
        if !self.compressed {
            return Ok(EncodedChunk { bytes: text, checksum });
        }
        checksum.update(&text);
        let mut encoder = DeflateEncoder::new(Vec::with_capacity(text.len() / 3), COMPRESSION);
        encoder.write_all(&text)?;
        // Flushing ends on a byte boundary without ending the stream; what follows is the next chunk.
        encoder.flush()?;
        Ok(EncodedChunk { bytes: std::mem::take(encoder.get_mut()), checksum })
    }
}

fn push_row(text: &mut Vec<u8>, row: &RawRow<'_>) {
    push_text(text, Some(row.event_time));
    push_text(text, Some(row.event_type));
    push_number(text, row.product_id);
    push_number(text, Some(row.category_id));
    push_text(text, row.category_code);
    push_text(text, row.brand);
    push_price(text, row.price_cents);
    push_number(text, row.user_id);
    text.extend_from_slice(row.user_session.unwrap_or_default().as_bytes());
    text.push(b'\n');
}

fn push_text(text: &mut Vec<u8>, value: Option<&str>) {
    text.extend_from_slice(value.unwrap_or_default().as_bytes());
    text.push(b',');
}

fn push_number(text: &mut Vec<u8>, value: Option<i64>) {
    if let Some(value) = value {
        push_digits(text, value);
    }
    text.push(b',');
}

fn push_price(text: &mut Vec<u8>, cents: i64) {
    if cents < 0 {
        text.push(b'-');
    }
    let cents = cents.unsigned_abs();
    push_digits(text, (cents / 100) as i64);
    text.push(b'.');
    text.push(b'0' + (cents / 10 % 10) as u8);
    text.push(b'0' + (cents % 10) as u8);
    text.push(b',');
}

fn push_digits(text: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut from = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        from -= 1;
        digits[from] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(row: &RawRow<'_>) -> String {
        let mut text = Vec::new();
        push_row(&mut text, row);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn rows_look_like_the_original_ones() {
        let mut row = RawRow {
            event_time: "2019-10-01 00:00:00 UTC",
            event_type: "view",
            product_id: Some(3_900_821),
            category_id: 2_053_013_552_326_770_905,
            category_code: Some("appliances.bathroom.water_heater"),
            brand: None,
            price_cents: 3_320,
            user_id: Some(554_748_717),
            user_session: Some("9333dfbd-b87a-4708-9857-6336556b0fcc"),
        };
        assert_eq!(
            line(&row),
            "2019-10-01 00:00:00 UTC,view,3900821,2053013552326770905,appliances.bathroom.water_heater,,33.20,554748717,\
             9333dfbd-b87a-4708-9857-6336556b0fcc\n"
        );
        (row.price_cents, row.user_id, row.user_session) = (-5, None, None);
        assert!(line(&row).ends_with(",,-0.05,,\n"));
        row.price_cents = 100_000_000_000;
        assert!(line(&row).ends_with(",,1000000000.00,,\n"));
    }
}
