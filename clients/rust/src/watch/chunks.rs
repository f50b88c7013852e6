//! Checks the audio of one stage: complete, undamaged, in order and in one format.

use crate::{
    pcm::PcmFormat,
    proto::segue::audio::v1::{AudioChunk, SampleFormat},
};

/// Whole frames that passed the checks.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The format of `pcm`.
    pub format: PcmFormat,
    /// The position of the first frame in the piece.
    pub first_frame: i64,
    /// The number of frames.
    pub frames: i64,
    /// The section of the first frame.
    pub section_id: String,
    /// The samples.
    pub pcm: Vec<u8>,
}

/// The reason why a message breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMessage(pub String);

/// The audio of one stage: contiguous chunks of one format.
#[derive(Debug, Default)]
pub struct ChunkSequence {
    format: Option<PcmFormat>,
    next_frame: i64,
}

impl ChunkSequence {
    /// The position of the next frame.
    #[must_use]
    pub fn next_frame(&self) -> i64 {
        self.next_frame
    }

    /// Checks the next chunk. An invalid chunk changes nothing.
    pub fn accept(&mut self, chunk: AudioChunk) -> Result<Chunk, InvalidMessage> {
        let format = read_format(&chunk)?;
        if let Some(known) = self.format.filter(|known| *known != format) {
            return Err(InvalidMessage(format!("the audio format changed from {known:?} to {format:?}")));
        }
        if chunk.frames == 0 || chunk.data.len() as u64 != u64::from(chunk.frames) * u64::from(format.frame_bytes()) {
            return Err(InvalidMessage(format!(
                "a chunk of {} frames of {} bytes has {} bytes",
                chunk.frames,
                format.frame_bytes(),
                chunk.data.len()
            )));
        }
        if crc32c::crc32c(&chunk.data) != chunk.crc32c {
            return Err(InvalidMessage(format!("the checksum of the chunk at frame {} is wrong", chunk.first_frame)));
        }
        if chunk.first_frame != self.next_frame {
            return Err(InvalidMessage(format!(
                "frame {} arrived instead of frame {}",
                chunk.first_frame, self.next_frame
            )));
        }
        self.format = Some(format);
        let frames = i64::from(chunk.frames);
        self.next_frame += frames;
        Ok(Chunk { format, first_frame: chunk.first_frame, frames, section_id: chunk.section_id, pcm: chunk.data })
    }

    /// Goes back to a frame. The next chunk must begin there.
    pub fn rewind(&mut self, first_frame: i64) {
        self.next_frame = self.next_frame.min(first_frame.max(0));
    }
}

fn read_format(chunk: &AudioChunk) -> Result<PcmFormat, InvalidMessage> {
    let wire = chunk.format.ok_or_else(|| InvalidMessage("a chunk has no format".to_owned()))?;
    let samples = match SampleFormat::try_from(wire.sample_format) {
        Ok(SampleFormat::Unspecified) => SampleFormat::F32le,
        Ok(known) => known,
        Err(_) => return Err(InvalidMessage(format!("unknown sample format {}", wire.sample_format))),
    };
    if !(8_000..=192_000).contains(&wire.sample_rate) || !(1..=8).contains(&wire.channels) {
        return Err(InvalidMessage(format!(
            "{} Hz with {} channels is not a valid format",
            wire.sample_rate, wire.channels
        )));
    }
    Ok(PcmFormat { sample_rate: wire.sample_rate, channels: wire.channels, samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::segue::audio::v1::AudioFormat;

    type Corruption = fn(&mut AudioChunk);

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
    fn contiguous_frames_are_accepted_and_a_rewind_only_moves_back() {
        let mut sequence = ChunkSequence::default();
        sequence.accept(chunk(0, 10)).unwrap();
        assert_eq!(sequence.accept(chunk(10, 5)).unwrap().frames, 5);
        sequence.rewind(100);
        assert_eq!(sequence.next_frame(), 15);
        sequence.rewind(10);
        sequence.accept(chunk(10, 7)).unwrap();
        assert_eq!(sequence.next_frame(), 17);
    }

    #[test]
    fn invalid_chunks_are_refused_and_change_nothing() {
        let mut sequence = ChunkSequence::default();
        sequence.accept(chunk(0, 10)).unwrap();
        let corruptions: [(&str, Corruption); 9] = [
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
        for (name, corrupt) in corruptions {
            let mut damaged = chunk(10, 10);
            corrupt(&mut damaged);
            assert!(sequence.accept(damaged).is_err(), "{name} was accepted");
        }
        sequence.accept(chunk(10, 10)).unwrap();
    }
}
