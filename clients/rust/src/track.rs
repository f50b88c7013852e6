//! Checks that the audio of one stage comes whole, unharmed, in order and in one format.

use crate::proto::segue::audio::v1::{AudioChunk, SampleFormat};

/// How to read PCM bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Frames a second.
    pub sample_rate: u32,
    /// Samples in a frame.
    pub channels: u32,
    /// How a sample is written.
    pub samples: SampleFormat,
}

impl Format {
    /// The size of one sample.
    #[must_use]
    pub fn sample_bytes(self) -> u32 {
        match self.samples {
            SampleFormat::S16le => 2,
            SampleFormat::S24le => 3,
            SampleFormat::F32le | SampleFormat::Unspecified => 4,
        }
    }

    /// The size of one frame.
    #[must_use]
    pub fn frame_bytes(self) -> u32 {
        self.sample_bytes() * self.channels
    }

    /// The time that frames take.
    #[must_use]
    pub fn seconds(self, frames: i64) -> f64 {
        frames as f64 / f64::from(self.sample_rate)
    }
}

/// A run of whole frames that was checked.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// How to read `pcm`.
    pub format: Format,
    /// Its place in the piece.
    pub first_frame: i64,
    /// How many frames it has.
    pub frames: i64,
    /// The section in which it begins.
    pub section_id: String,
    /// The samples.
    pub pcm: Vec<u8>,
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

/// One stage of a stream: where its next frame must be.
#[derive(Debug, Default)]
pub struct Track {
    format: Option<Format>,
    next_frame: i64,
}

impl Track {
    /// Where the next frame must be.
    #[must_use]
    pub fn next_frame(&self) -> i64 {
        self.next_frame
    }

    /// Takes the next chunk, or says what is wrong with it and stays as it was.
    pub fn accept(&mut self, chunk: AudioChunk) -> Result<Chunk, Fault> {
        let format = read_format(&chunk)?;
        if let Some(known) = self.format.filter(|known| *known != format) {
            return Err(Fault(format!("the audio's format changed from {known:?} to {format:?}")));
        }
        if chunk.frames == 0 || chunk.data.len() as u64 != u64::from(chunk.frames) * u64::from(format.frame_bytes()) {
            return Err(Fault(format!(
                "a chunk says {} frames of {} bytes and has {} bytes",
                chunk.frames,
                format.frame_bytes(),
                chunk.data.len()
            )));
        }
        if crc32c::crc32c(&chunk.data) != chunk.crc32c {
            return Err(Fault(format!("the chunk at frame {} does not have its checksum", chunk.first_frame)));
        }
        if chunk.first_frame != self.next_frame {
            return Err(Fault(format!("frame {} came where {} was due", chunk.first_frame, self.next_frame)));
        }
        self.format = Some(format);
        let frames = i64::from(chunk.frames);
        self.next_frame += frames;
        Ok(Chunk { format, first_frame: chunk.first_frame, frames, section_id: chunk.section_id, pcm: chunk.data })
    }

    /// Goes back to a frame; what comes next begins there.
    pub fn rewind(&mut self, first_frame: i64) {
        self.next_frame = self.next_frame.min(first_frame.max(0));
    }
}

fn read_format(chunk: &AudioChunk) -> Result<Format, Fault> {
    let wire = chunk.format.ok_or_else(|| Fault("a chunk has no format".to_owned()))?;
    let samples = match SampleFormat::try_from(wire.sample_format) {
        Ok(SampleFormat::Unspecified) => SampleFormat::F32le,
        Ok(known) => known,
        Err(_) => return Err(Fault(format!("sample format {} is not known", wire.sample_format))),
    };
    if !(8_000..=192_000).contains(&wire.sample_rate) || !(1..=8).contains(&wire.channels) {
        return Err(Fault(format!("{} Hz with {} channels is no format", wire.sample_rate, wire.channels)));
    }
    Ok(Format { sample_rate: wire.sample_rate, channels: wire.channels, samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::segue::audio::v1::AudioFormat;

    type Lie = fn(&mut AudioChunk);

    fn chunk(first_frame: i64, frames: u32) -> AudioChunk {
        let data = vec![7; frames as usize * 8];
        AudioChunk {
            format: Some(AudioFormat { sample_rate: 48_000, channels: 2, sample_format: 1 }),
            first_frame,
            frames,
            crc32c: crc32c::crc32c(&data),
            data,
            ..AudioChunk::default()
        }
    }

    #[test]
    fn whole_frames_in_order_are_accepted_and_a_rewind_moves_back_only() {
        let mut track = Track::default();
        track.accept(chunk(0, 10)).unwrap();
        assert_eq!(track.accept(chunk(10, 5)).unwrap().frames, 5);
        track.rewind(100);
        assert_eq!(track.next_frame(), 15);
        track.rewind(10);
        track.accept(chunk(10, 7)).unwrap();
        assert_eq!(track.next_frame(), 17);
    }

    #[test]
    fn lies_are_refused_and_change_nothing() {
        let mut track = Track::default();
        track.accept(chunk(0, 10)).unwrap();
        let lies: [(&str, Lie); 9] = [
            ("gap", |each| each.first_frame = 11),
            ("repeat", |each| each.first_frame = 0),
            ("negative", |each| each.first_frame = -1),
            ("checksum", |each| each.crc32c ^= 1),
            ("too few bytes", |each| each.data.truncate(79)),
            ("no frames", |each| each.frames = 0),
            ("no format", |each| each.format = None),
            ("other rate", |each| each.format.as_mut().unwrap().sample_rate = 44_100),
            ("absurd channels", |each| each.format.as_mut().unwrap().channels = 200),
        ];
        for (name, lie) in lies {
            let mut false_chunk = chunk(10, 10);
            lie(&mut false_chunk);
            assert!(track.accept(false_chunk).is_err(), "{name} was accepted");
        }
        track.accept(chunk(10, 10)).unwrap();
    }
}
