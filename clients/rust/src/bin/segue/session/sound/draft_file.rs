//! The file of the draft, and the readers that play it or write it to standard output.
//!
//! The draft is always stored in a file. A slow reader (a pipe, a loudspeaker) reads the file in its own thread, so that it
//! never delays the stream and memory does not grow.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use segue_client::{Chunk, Error, PcmFormat, wav};

const HEADER_BYTES: u64 = 80;
const BLOCK_BYTES: u64 = 1 << 16;
/// The header is updated after this many frames, so that the growing file can be opened.
const HEADER_INTERVAL_FRAMES: i64 = 480_000;

/// The draft in a WAV file that other programs can open while it grows.
pub struct DraftFile {
    pub path: PathBuf,
    file: Option<File>,
    writer: Option<wav::Writer<File>>,
    /// The number of frames in the header.
    header_frames: i64,
    /// The file is removed at the end.
    pub is_temporary: bool,
    shared: Arc<Shared>,
}

/// The state that the writer and its reader share.
#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    format: Option<PcmFormat>,
    frames: i64,
    is_complete: bool,
    /// The number of frames that the reader has read.
    frames_read: i64,
    error: Option<io::Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DraftFile {
    /// Creates the file.
    pub fn create(path: PathBuf, is_temporary: bool) -> Result<Self, Error> {
        let file = File::create(&path)
            .map_err(|cause| Error::Local { doing: format!("creating {}", path.display()), cause })?;
        let shared = Arc::default();
        Ok(Self { path, file: Some(file), writer: None, header_frames: 0, is_temporary, shared })
    }

    /// Creates a temporary file.
    pub fn temporary() -> Result<Self, Error> {
        let name = format!("segue-{}-{}.wav", std::process::id(), uuid::Uuid::new_v4().simple());
        Self::create(std::env::temp_dir().join(name), true)
    }

    pub fn frames(&self) -> i64 {
        self.writer.as_ref().map_or(0, wav::Writer::frames)
    }

    /// The length of the draft.
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
        if writer.frames() - self.header_frames > HEADER_INTERVAL_FRAMES {
            self.header_frames = writer.frames();
            writer.update_header()?;
        }
        self.publish(false);
        Ok(())
    }

    /// Removes everything from a frame on. Returns how much of it the reader has read.
    pub fn truncate(&mut self, first_frame: i64) -> Result<i64, Error> {
        let shared = Arc::clone(&self.shared);
        let mut progress = shared.lock();
        progress.frames = progress.frames.min(first_frame);
        if let Some(writer) = &mut self.writer {
            writer
                .truncate(first_frame)
                .map_err(|cause| Error::Local { doing: format!("truncating {}", self.path.display()), cause })?;
            self.header_frames = self.header_frames.min(first_frame);
        }
        Ok((progress.frames_read - first_frame).max(0))
    }

    /// Finishes the file. The reader ends after the last frame.
    pub fn complete(&mut self) -> Result<(), Error> {
        if let Some(writer) = &mut self.writer {
            writer
                .update_header()
                .map_err(|cause| Error::Local { doing: format!("writing {}", self.path.display()), cause })?;
        }
        self.publish(true);
        Ok(())
    }

    /// Removes the file. A reader keeps its open file.
    pub fn remove(&mut self) {
        let _ = fs::remove_file(&self.path);
    }

    fn publish(&self, is_complete: bool) {
        let mut progress = self.shared.lock();
        progress.format = self.writer.as_ref().map(wav::Writer::format);
        progress.frames = self.frames();
        progress.is_complete |= is_complete;
        self.shared.changed.notify_all();
    }

    fn error(&self, cause: io::Error) -> Error {
        Error::Local { doing: format!("writing {}", self.path.display()), cause }
    }

    /// Writes the draft to standard output, in its own thread.
    pub fn write_to_stdout(&self) -> Result<DraftReader, Error> {
        self.start_reader("writing to standard output", || Ok(Box::new(io::stdout())))
    }

    /// Plays the draft, in its own thread. The inner error tells why nothing can play.
    pub fn play(&self) -> Result<Result<DraftReader, String>, Error> {
        #[cfg(feature = "play")]
        let found = super::device::open();
        #[cfg(not(feature = "play"))]
        let found = super::player::open();
        match found {
            Ok(open) => self.start_reader("playing", open).map(Ok),
            Err(cause) => Ok(Err(cause)),
        }
    }

    fn start_reader(
        &self,
        doing: &'static str,
        open: impl FnOnce() -> io::Result<Box<dyn Write + Send>>,
    ) -> Result<DraftReader, Error> {
        let local = |cause| Error::Local { doing: doing.to_owned(), cause };
        let reader = File::open(&self.path).map_err(local)?;
        let sink = open().map_err(local)?;
        let (shared, (done, ended)) = (Arc::clone(&self.shared), tokio::sync::oneshot::channel());
        thread::Builder::new()
            .name(doing.to_owned())
            .spawn(move || {
                if let Err(error) = copy(&shared, reader, sink) {
                    shared.lock().error = Some(error);
                }
                let _ = done.send(());
            })
            .map_err(local)?;
        Ok(DraftReader { ended, shared: Arc::clone(&self.shared), doing })
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        self.publish(true);
        if self.is_temporary {
            self.remove();
        }
    }
}

/// Reads the draft while it grows.
pub struct DraftReader {
    ended: tokio::sync::oneshot::Receiver<()>,
    shared: Arc<Shared>,
    doing: &'static str,
}

impl DraftReader {
    /// Waits until the whole draft is read, or until the destination fails.
    pub async fn end(&mut self) -> Result<(), Error> {
        // A thread that panicked has ended too.
        let _ = (&mut self.ended).await;
        match self.shared.lock().error.take() {
            Some(cause) => Err(Error::Local { doing: self.doing.to_owned(), cause }),
            None => Ok(()),
        }
    }
}

/// Copies the growing file to a sink until the file is complete.
fn copy(shared: &Shared, mut reader: File, mut sink: Box<dyn Write + Send>) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut has_header = false;
    loop {
        let bytes = {
            let mut progress = shared.lock();
            while progress.frames <= progress.frames_read && !progress.is_complete {
                let waiting = shared.changed.wait_timeout(progress, Duration::from_secs(1));
                progress = waiting.unwrap_or_else(PoisonError::into_inner).0;
            }
            let Some(format) = progress.format.filter(|_| progress.frames > progress.frames_read) else { break };
            if !has_header {
                sink.write_all(&wav::header(format, None))?;
                has_header = true;
            }
            let frame_bytes = u64::from(format.frame_bytes());
            let frames = (BLOCK_BYTES / frame_bytes).min((progress.frames - progress.frames_read) as u64);
            reader.seek(SeekFrom::Start(HEADER_BYTES + progress.frames_read as u64 * frame_bytes))?;
            let bytes = (frames * frame_bytes) as usize;
            reader.read_exact(&mut block[..bytes])?;
            progress.frames_read += frames as i64;
            bytes
        };
        sink.write_all(&block[..bytes])?;
        sink.flush()?;
    }
    sink.flush()
}
