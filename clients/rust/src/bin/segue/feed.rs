//! The draft on its way to a file, to standard output and to the ears.
//!
//! The draft is always kept in a file: what reads slowly (a pipe, a loudspeaker) reads from there in a thread of its own,
//! so that it never holds up the stream and memory stays flat.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use segue_client::{Chunk, Error, Format, wav};

const AUDIO_START: u64 = 80;
const BLOCK_BYTES: u64 = 1 << 16;
const SETTLE_FRAMES: i64 = 480_000;

/// The draft in a file that is a whole WAV at any time.
pub struct Draft {
    pub path: PathBuf,
    file: Option<File>,
    writer: Option<wav::Writer<File>>,
    settled: i64,
    /// Nobody asked to keep it.
    pub is_scratch: bool,
    shared: Arc<Shared>,
}

/// What readers of the growing file must know.
#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    bell: Condvar,
}

#[derive(Default)]
struct Progress {
    format: Option<Format>,
    frames: i64,
    is_complete: bool,
    /// What a reader sent on already.
    sent: i64,
    failed: Option<io::Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Draft {
    /// Begins a draft at a path; a scratch one is removed at the end.
    pub fn create(path: PathBuf, is_scratch: bool) -> Result<Self, Error> {
        let file = File::create(&path)
            .map_err(|cause| Error::Local { doing: format!("creating {}", path.display()), cause })?;
        let shared = Arc::default();
        Ok(Self { path, file: Some(file), writer: None, settled: 0, is_scratch, shared })
    }

    /// Begins a draft that nobody asked to keep.
    pub fn scratch() -> Result<Self, Error> {
        let name = format!("segue-{}-{}.wav", std::process::id(), uuid::Uuid::new_v4().simple());
        Self::create(std::env::temp_dir().join(name), true)
    }

    pub fn frames(&self) -> i64 {
        self.writer.as_ref().map_or(0, wav::Writer::frames)
    }

    /// How long it is.
    pub fn seconds(&self) -> f64 {
        self.writer.as_ref().map_or(0.0, |writer| writer.format().seconds(writer.frames()))
    }

    /// Appends a chunk.
    pub fn append(&mut self, chunk: &Chunk) -> Result<(), Error> {
        self.try_append(chunk).map_err(|cause| self.error(cause))
    }

    fn try_append(&mut self, chunk: &Chunk) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            self.writer = Some(wav::Writer::new(file, chunk.format)?);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.append(&chunk.pcm)?;
        if writer.frames() - self.settled > SETTLE_FRAMES {
            self.settled = writer.frames();
            writer.settle()?;
        }
        self.tell(false);
        Ok(())
    }

    /// Drops everything from a frame on. Returns how much of it was sent on already.
    pub fn cut(&mut self, first_frame: i64) -> Result<i64, Error> {
        let shared = Arc::clone(&self.shared);
        let mut progress = shared.lock();
        progress.frames = progress.frames.min(first_frame);
        if let Some(writer) = &mut self.writer {
            writer
                .cut(first_frame)
                .map_err(|cause| Error::Local { doing: format!("cutting {}", self.path.display()), cause })?;
            self.settled = self.settled.min(first_frame);
        }
        Ok((progress.sent - first_frame).max(0))
    }

    /// Makes the file final and lets readers come to their end.
    pub fn complete(&mut self) -> Result<(), Error> {
        if let Some(writer) = &mut self.writer {
            writer
                .settle()
                .map_err(|cause| Error::Local { doing: format!("writing {}", self.path.display()), cause })?;
        }
        self.tell(true);
        Ok(())
    }

    /// Takes the file away; a reader that has it open goes on.
    pub fn remove(&mut self) {
        let _ = fs::remove_file(&self.path);
    }

    fn tell(&self, is_complete: bool) {
        let mut progress = self.shared.lock();
        progress.format = self.writer.as_ref().map(wav::Writer::format);
        progress.frames = self.frames();
        progress.is_complete |= is_complete;
        self.shared.bell.notify_all();
    }

    fn error(&self, cause: io::Error) -> Error {
        Error::Local { doing: format!("writing {}", self.path.display()), cause }
    }

    /// Sends the sound on to standard output, from its own thread.
    pub fn send_to_stdout(&self) -> Result<Feed, Error> {
        self.feed("writing to standard output", || Ok(Box::new(io::stdout())))
    }

    /// Plays the sound. An inner error says why nothing here can play.
    pub fn play(&self) -> Result<Result<Feed, String>, Error> {
        #[cfg(feature = "play")]
        let found = crate::device::open();
        #[cfg(not(feature = "play"))]
        let found = crate::player::open();
        match found {
            Ok(make) => self.feed("playing", make).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    fn feed(
        &self,
        doing: &'static str,
        open: impl FnOnce() -> io::Result<Box<dyn Write + Send>>,
    ) -> Result<Feed, Error> {
        let local = |cause| Error::Local { doing: doing.to_owned(), cause };
        let reader = File::open(&self.path).map_err(local)?;
        let sink = open().map_err(local)?;
        let (shared, (done, ended)) = (Arc::clone(&self.shared), tokio::sync::oneshot::channel());
        thread::Builder::new()
            .name(doing.to_owned())
            .spawn(move || {
                if let Err(error) = pump(&shared, reader, sink) {
                    shared.lock().failed = Some(error);
                }
                let _ = done.send(());
            })
            .map_err(local)?;
        Ok(Feed { ended, shared: Arc::clone(&self.shared), doing })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.tell(true);
        if self.is_scratch {
            self.remove();
        }
    }
}

/// A reader of the draft.
pub struct Feed {
    ended: tokio::sync::oneshot::Receiver<()>,
    shared: Arc<Shared>,
    doing: &'static str,
}

impl Feed {
    /// Waits until everything was sent on, or the other side is gone.
    pub async fn end(&mut self) -> Result<(), Error> {
        // A thread that was stopped has nothing more to say either.
        let _ = (&mut self.ended).await;
        match self.shared.lock().failed.take() {
            Some(cause) => Err(Error::Local { doing: self.doing.to_owned(), cause }),
            None => Ok(()),
        }
    }
}

/// Copies the growing file to a sink until it is complete.
fn pump(shared: &Shared, mut reader: File, mut sink: Box<dyn Write + Send>) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut has_header = false;
    loop {
        let bytes = {
            let mut progress = shared.lock();
            while progress.frames <= progress.sent && !progress.is_complete {
                let waiting = shared.bell.wait_timeout(progress, Duration::from_secs(1));
                progress = waiting.unwrap_or_else(PoisonError::into_inner).0;
            }
            let Some(format) = progress.format.filter(|_| progress.frames > progress.sent) else { break };
            if !has_header {
                sink.write_all(&wav::header(format, None))?;
                has_header = true;
            }
            let frame_bytes = u64::from(format.frame_bytes());
            let frames = (BLOCK_BYTES / frame_bytes).min((progress.frames - progress.sent) as u64);
            reader.seek(SeekFrom::Start(AUDIO_START + progress.sent as u64 * frame_bytes))?;
            let bytes = (frames * frame_bytes) as usize;
            reader.read_exact(&mut block[..bytes])?;
            progress.sent += frames as i64;
            bytes
        };
        sink.write_all(&block[..bytes])?;
        sink.flush()?;
    }
    sink.flush()
}
