//! WAV files that grow, can be truncated, and may exceed 4 GiB (RF64).

use std::io::{self, Seek, SeekFrom, Write};

use crate::{pcm::PcmFormat, proto::segue::audio::v1::SampleFormat};

const HEADER_BYTES: u64 = 80;
// The length of a stream is unknown until its end. Readers take the highest number to mean "until the stream ends".
const UNKNOWN: u32 = u32::MAX;

/// Returns a header of 80 bytes, with space for the 64-bit sizes of RF64. `None` means that the length is unknown.
#[must_use]
pub fn header(format: PcmFormat, audio_bytes: Option<u64>) -> Vec<u8> {
    let is_float = matches!(format.samples, SampleFormat::F32le | SampleFormat::Unspecified);
    let is_long = audio_bytes.is_some_and(|bytes| bytes + HEADER_BYTES > u64::from(UNKNOWN) - 8);
    let short = |bytes: Option<u64>| bytes.filter(|_| !is_long).map_or(UNKNOWN, |bytes| bytes as u32);
    let riff_bytes = audio_bytes.map(|bytes| bytes + bytes % 2 + HEADER_BYTES - 8);
    let mut out = Vec::with_capacity(HEADER_BYTES as usize);
    out.extend(if is_long { b"RF64" } else { b"RIFF" });
    out.extend(short(riff_bytes).to_le_bytes());
    out.extend(b"WAVE");
    out.extend(if is_long { b"ds64" } else { b"JUNK" });
    out.extend(28_u32.to_le_bytes());
    for size in [riff_bytes, audio_bytes, audio_bytes.map(|bytes| bytes / u64::from(format.frame_bytes()))] {
        out.extend(if is_long { size.unwrap_or(0) } else { 0 }.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    out.extend(b"fmt ");
    out.extend(16_u32.to_le_bytes());
    out.extend(if is_float { 3_u16 } else { 1 }.to_le_bytes());
    out.extend((format.channels as u16).to_le_bytes());
    out.extend(format.sample_rate.to_le_bytes());
    out.extend((format.sample_rate * format.frame_bytes()).to_le_bytes());
    out.extend((format.frame_bytes() as u16).to_le_bytes());
    out.extend((format.sample_bytes() as u16 * 8).to_le_bytes());
    out.extend(b"data");
    out.extend(short(audio_bytes).to_le_bytes());
    out
}

/// A file that can be truncated, for example `std::fs::File`.
pub trait Truncate {
    /// Sets the length of the file.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

impl Truncate for std::fs::File {
    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

/// Writes PCM to a WAV file. The header is correct after each [`Writer::update_header`].
#[derive(Debug)]
pub struct Writer<F> {
    file: F,
    format: PcmFormat,
    frames: i64,
}

impl<F: Write + Seek + Truncate> Writer<F> {
    /// Starts a file.
    pub fn new(mut file: F, format: PcmFormat) -> io::Result<Self> {
        file.write_all(&header(format, Some(0)))?;
        Ok(Self { file, format, frames: 0 })
    }

    /// The number of frames in the file.
    pub fn frames(&self) -> i64 {
        self.frames
    }

    /// The format of the samples.
    pub fn format(&self) -> PcmFormat {
        self.format
    }

    /// Appends whole frames.
    pub fn append(&mut self, pcm: &[u8]) -> io::Result<()> {
        self.file.write_all(pcm)?;
        self.frames += (pcm.len() / self.format.frame_bytes() as usize) as i64;
        Ok(())
    }

    /// Removes all frames from `first_frame` on.
    pub fn truncate(&mut self, first_frame: i64) -> io::Result<()> {
        if first_frame < self.frames {
            self.frames = first_frame.max(0);
            self.file.truncate(HEADER_BYTES + self.audio_bytes())?;
            self.file.seek(SeekFrom::End(0))?;
        }
        Ok(())
    }

    /// Writes the current length to the header, so that other programs can open the file.
    pub fn update_header(&mut self) -> io::Result<()> {
        if self.audio_bytes() % 2 == 1 {
            self.file.write_all(&[0])?;
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.format, Some(self.audio_bytes())))?;
        self.file.seek(SeekFrom::Start(HEADER_BYTES + self.audio_bytes()))?;
        self.file.flush()
    }

    fn audio_bytes(&self) -> u64 {
        self.frames as u64 * u64::from(self.format.frame_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    impl Truncate for Cursor<Vec<u8>> {
        fn truncate(&mut self, bytes: u64) -> io::Result<()> {
            self.get_mut().truncate(bytes as usize);
            Ok(())
        }
    }

    fn format(samples: SampleFormat, channels: u32) -> PcmFormat {
        PcmFormat { sample_rate: 48_000, channels, samples }
    }

    #[test]
    fn a_truncated_file_equals_a_file_that_never_had_the_rest() {
        let format = format(SampleFormat::F32le, 2);
        let mut straight = Writer::new(Cursor::new(Vec::new()), format).unwrap();
        straight.append(&[1; 80]).unwrap();
        straight.append(&[2; 40]).unwrap();
        straight.update_header().unwrap();
        let mut truncated = Writer::new(Cursor::new(Vec::new()), format).unwrap();
        truncated.append(&[1; 80]).unwrap();
        truncated.append(&[9; 800]).unwrap();
        truncated.update_header().unwrap();
        truncated.truncate(10).unwrap();
        truncated.append(&[2; 40]).unwrap();
        truncated.update_header().unwrap();
        assert_eq!(straight.file.into_inner(), truncated.file.into_inner());
    }

    #[test]
    fn an_odd_number_of_bytes_is_padded_and_the_padding_is_overwritten() {
        let format = format(SampleFormat::S24le, 1);
        let mut file = Writer::new(Cursor::new(Vec::new()), format).unwrap();
        file.append(&[1; 3]).unwrap();
        file.update_header().unwrap();
        assert_eq!(file.file.get_ref().len(), 84);
        file.append(&[2; 3]).unwrap();
        file.update_header().unwrap();
        assert_eq!(&file.file.get_ref()[80..], [1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn the_header_has_the_sizes_above_4_gib_too() {
        let format = format(SampleFormat::S16le, 2);
        let short = header(format, Some(400));
        assert_eq!((&short[..4], &short[76..80]), (&b"RIFF"[..], &400_u32.to_le_bytes()[..]));
        assert_eq!(short.len() as u64, HEADER_BYTES);
        let long = header(format, Some(5 << 30));
        assert_eq!((&long[..4], &long[76..80]), (&b"RF64"[..], &u32::MAX.to_le_bytes()[..]));
        assert_eq!(long[28..36], (5_u64 << 30).to_le_bytes());
        assert_eq!(header(format, None)[76..80], u32::MAX.to_le_bytes());
    }
}
