//! The format of PCM audio.

use crate::proto::segue::audio::v1::SampleFormat;

/// How to read PCM bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmFormat {
    /// Frames a second.
    pub sample_rate: u32,
    /// Samples in a frame.
    pub channels: u32,
    /// The encoding of a sample.
    pub samples: SampleFormat,
}

impl PcmFormat {
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

    /// The duration of this many frames.
    #[must_use]
    pub fn seconds(self, frames: i64) -> f64 {
        frames as f64 / f64::from(self.sample_rate)
    }
}
