//! Files to and from the service: resumed where they broke off, and never accepted with another digest.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tonic::{Code, Request};

use crate::{
    Backoff, Client, Connection, Error, Failure, Result,
    proto::segue::composer::v1::{
        CreateUploadRequest, DownloadArtifactRequest, DownloadArtifactResponse, FinishUploadRequest, Output, Upload,
        WriteUploadRequest,
    },
};

const UPLOAD_BYTES: usize = 1_044_480;
const MAX_FAULTS: u32 = 8;

/// Downloads an output to `path`; it appears there only when it is whole. `progress` gets the bytes so far.
///
/// A server that says nothing for `patience` is asked again. What an earlier try left in `path` + ".part" is used.
pub async fn download(
    connection: &Connection,
    output: &Output,
    path: &Path,
    patience: Duration,
    mut progress: impl FnMut(i64),
) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let writing = || format!("writing {}", part.display());
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(part)
        .map_err(Error::local(writing()))?;
    let (mut faults, mut backoff, mut began_anew) = (0, Backoff::default(), false);
    loop {
        let have = file.seek(SeekFrom::End(0)).map_err(Error::local(writing()))? as i64;
        if have > output.size_bytes {
            file.set_len(0).map_err(Error::local(writing()))?;
            continue;
        }
        let outcome = if have == output.size_bytes {
            Ok(())
        } else {
            receive(connection, output, &mut file, &writing(), patience, &mut progress).await
        };
        match outcome {
            Ok(()) if digest(&mut file).map_err(Error::local(writing()))? == output.sha256 => break,
            // A part of an older try may be of another file: once it is fetched from the start.
            Ok(()) if !began_anew => {
                began_anew = true;
                file.set_len(0).map_err(Error::local(writing()))?;
            }
            Ok(()) => {
                return Err(Error::Untrusted(format!(
                    "{} does not have its digest, also after a second try",
                    output.name
                )));
            }
            Err(error) => {
                let now = file.seek(SeekFrom::End(0)).map_err(Error::local(writing()))? as i64;
                if now > have {
                    (faults, backoff) = (0, Backoff::default());
                }
                faults += 1;
                if faults > MAX_FAULTS || !may_pass(&error) {
                    return Err(error);
                }
                tokio::time::sleep(backoff.next(None)).await;
            }
        }
    }
    file.sync_all().map_err(Error::local(writing()))?;
    fs::rename(part, path).map_err(Error::local(format!("renaming {} to {}", part.display(), path.display())))
}

async fn receive(
    connection: &Connection,
    output: &Output,
    file: &mut fs::File,
    writing: &str,
    patience: Duration,
    progress: &mut impl FnMut(i64),
) -> Result<()> {
    let silent = || Error::Unreachable { server: connection.address.to_string(), cause: "it fell silent".into() };
    let have = file.seek(SeekFrom::End(0)).map_err(Error::local(writing))? as i64;
    let mut client = connection.open().await?;
    let request = DownloadArtifactRequest { name: output.name.clone(), read_offset: have, read_limit: 0 };
    let answer = timeout(patience, client.stub.download_artifact(Request::new(request))).await.map_err(|_| silent())?;
    let mut stream = answer.map_err(|status| client.error(&status))?.into_inner();
    let mut next = have;
    loop {
        let message = timeout(patience, stream.message()).await.map_err(|_| silent())?;
        let message = message.map_err(|status| client.error(&status))?;
        let Some(DownloadArtifactResponse { offset, data, crc32c: sum, .. }) = message else { break };
        if data.is_empty() {
            continue;
        }
        if offset != next || crc32c::crc32c(&data) != sum {
            return Err(Error::Untrusted(format!("{}: byte {next} came damaged or out of order", output.name)));
        }
        if next + data.len() as i64 > output.size_bytes {
            return Err(Error::Untrusted(format!("{} goes on behind byte {}", output.name, output.size_bytes)));
        }
        file.write_all(&data).map_err(Error::local(writing))?;
        next += data.len() as i64;
        progress(next);
    }
    if next == output.size_bytes {
        return Ok(());
    }
    Err(Error::Untrusted(format!("{} ended at byte {next} of {}", output.name, output.size_bytes)))
}

/// Uploads a file and returns its resource. `progress` gets the bytes so far.
pub async fn upload(
    client: &mut Client,
    path: &Path,
    media_type: &str,
    mut progress: impl FnMut(i64),
) -> Result<Upload> {
    let reading = || Error::local(format!("reading {}", path.display()));
    let mut file = fs::File::open(path).map_err(reading())?;
    let size_bytes = file.metadata().map_err(reading())?.len() as i64;
    if size_bytes == 0 {
        return Err(Error::Usage(format!("{}: the file is empty", path.display())));
    }
    let request = CreateUploadRequest { media_type: media_type.to_owned(), size_bytes };
    let mut upload = client.create_upload(request).await?.upload.unwrap_or_default();
    let (mut offset, mut hash, mut buffer) = (0, Sha256::new(), vec![0; UPLOAD_BYTES]);
    while offset < size_bytes {
        let count = file.read(&mut buffer).map_err(reading())?;
        if count == 0 {
            return Err(Error::Usage(format!("{}: the file shrank while it was read", path.display())));
        }
        let piece = &buffer[..count];
        hash.update(piece);
        let request = WriteUploadRequest {
            upload: upload.name.clone(),
            offset,
            data: piece.to_vec(),
            crc32c: crc32c::crc32c(piece),
        };
        client.write_upload(request).await?;
        offset += count as i64;
        progress(offset);
    }
    let request = FinishUploadRequest { upload: upload.name.clone(), sha256: hex(&hash.finalize()) };
    upload = client.finish_upload(request).await?.upload.unwrap_or_default();
    Ok(upload)
}

fn digest(file: &mut fs::File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')));
    }
    text
}

/// Says whether trying again may help: the way is broken, not the request.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Untrusted(_) => true,
        Error::Failed(failure) => is_passing(failure),
        Error::Usage(_) | Error::Local { .. } | Error::Stalled(_) => false,
    }
}

pub(crate) fn is_passing(failure: &Failure) -> bool {
    match failure.code {
        Code::Unavailable => true,
        // Without a reason none of our servers said this: it is a broken connection in the transport's words.
        Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::DataLoss
        | Code::OutOfRange
        | Code::ResourceExhausted => failure.reason.is_empty(),
        _ => false,
    }
}
