//! Plays the draft on the sound device of this machine, for `--play` with the cargo feature `play`.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use cpal::{
    SampleRate, StreamConfig,
    traits::{DeviceTrait as _, HostTrait as _, StreamTrait as _},
};

const HEADER_BYTES: usize = 80;
/// The length of the queue in front of the device, in seconds.
const QUEUE_SECONDS: usize = 1;
/// A device that accepts nothing for this long has failed.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that the device still plays after it took the last sample.
const DEVICE_LATENCY: Duration = Duration::from_millis(300);

/// Finds the device. It is opened when the header of the audio arrives.
pub fn open() -> Result<impl FnOnce() -> io::Result<Box<dyn Write + Send>>, String> {
    let device = cpal::default_host().default_output_device().ok_or("no sound device was found")?;
    device.default_output_config().map_err(|error| format!("the sound device does not answer: {error}"))?;
    Ok(|| {
        Ok(Box::new(Loudspeaker {
            header: Vec::new(),
            decode: decode_f32,
            sample_bytes: 4,
            rest: Vec::new(),
            playing: None,
        }) as _)
    })
}

fn decode_f32(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn decode_s24(bytes: &[u8]) -> f32 {
    i32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]) as f32 / 2_147_483_648.0
}

fn decode_s16(bytes: &[u8]) -> f32 {
    f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0
}

/// Plays a WAV stream.
struct Loudspeaker {
    header: Vec<u8>,
    decode: fn(&[u8]) -> f32,
    sample_bytes: usize,
    /// The beginning of an incomplete sample.
    rest: Vec<u8>,
    playing: Option<Playing>,
}

struct Playing {
    queue: Arc<Queue>,
    // On every platform, the stream of a device must stay in one thread.
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    samples: VecDeque<f32>,
    limit: usize,
    is_complete: bool,
    error: Option<String>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, cause: &dyn std::fmt::Display) {
        self.lock().error.get_or_insert_with(|| cause.to_string());
        self.changed.notify_all();
    }
}

impl Loudspeaker {
    /// Reads the header, whose layout is always the same, and opens the device.
    fn start(&mut self) -> io::Result<()> {
        let number = |at: usize, bytes: usize| {
            self.header[at..at + bytes].iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let (is_float, channels, rate, bits) = (number(56, 2) == 3, number(58, 2), number(60, 4), number(70, 2));
        (self.sample_bytes, self.decode) = match (is_float, bits) {
            (true, 32) => (4, decode_f32 as fn(&[u8]) -> f32),
            (false, 24) => (3, decode_s24 as _),
            (false, 16) => (2, decode_s16 as _),
            _ => return Err(io::Error::other(format!("samples of {bits} bits cannot be played"))),
        };
        let queue = Arc::new(Queue::default());
        queue.lock().limit = rate as usize * channels as usize * QUEUE_SECONDS;
        let config = StreamConfig {
            channels: channels as u16,
            sample_rate: SampleRate(rate),
            buffer_size: cpal::BufferSize::Default,
        };
        let shared = Arc::clone(&queue);
        let thread = thread::Builder::new().name("loudspeaker".into()).spawn(move || {
            if let Err(error) = play(&shared, &config) {
                shared.fail(&error);
            }
        })?;
        self.playing = Some(Playing { queue, thread: Some(thread) });
        Ok(())
    }
}

impl Write for Loudspeaker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.playing.is_none() {
            let count = bytes.len().min(HEADER_BYTES - self.header.len());
            self.header.extend(&bytes[..count]);
            if self.header.len() == HEADER_BYTES {
                self.start()?;
            }
            return Ok(count);
        }
        self.rest.extend(bytes);
        let whole = self.rest.len() / self.sample_bytes * self.sample_bytes;
        let samples: Vec<f32> = self.rest[..whole].chunks_exact(self.sample_bytes).map(self.decode).collect();
        self.rest.drain(..whole);
        if let Some(playing) = &self.playing {
            playing.put(&samples)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Playing {
    fn put(&self, samples: &[f32]) -> io::Result<()> {
        let mut state = self.queue.lock();
        while state.samples.len() >= state.limit && state.error.is_none() {
            let (next, wait) =
                self.queue.changed.wait_timeout(state, DEVICE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if wait.timed_out() && state.samples.len() >= state.limit {
                return Err(io::Error::other("the sound device stopped accepting audio"));
            }
        }
        if let Some(cause) = state.error.take() {
            return Err(io::Error::other(cause));
        }
        state.samples.extend(samples);
        Ok(())
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.queue.lock().is_complete = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs the device until everything is played.
fn play(queue: &Arc<Queue>, config: &StreamConfig) -> Result<(), Box<dyn std::error::Error>> {
    let device = cpal::default_host().default_output_device().ok_or("no sound device was found")?;
    let (source, broken) = (Arc::clone(queue), Arc::clone(queue));
    let fill = move |out: &mut [f32], _: &cpal::OutputCallbackInfo| {
        let mut state = source.lock();
        for sample in out {
            *sample = state.samples.pop_front().unwrap_or(0.0);
        }
        source.changed.notify_all();
    };
    let stream = device.build_output_stream(config, fill, move |error| broken.fail(&error), None)?;
    stream.play()?;
    let mut state = queue.lock();
    while state.error.is_none() && !(state.is_complete && state.samples.is_empty()) {
        let before = state.samples.len();
        let (next, wait) = queue.changed.wait_timeout(state, DEVICE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
        state = next;
        if wait.timed_out() && before > 0 && state.samples.len() == before {
            return Err("the sound device stopped accepting audio".into());
        }
    }
    drop(state);
    thread::sleep(DEVICE_LATENCY);
    Ok(())
}
