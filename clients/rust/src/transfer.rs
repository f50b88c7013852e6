//! Uploads and downloads. A download resumes after an interruption and is accepted only with the right digest.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tonic::Request;

use crate::{
    client::{Client, Connection},
    error::{Error, Result},
    proto::segue::composer::v1::{
        CreateUploadRequest, DownloadArtifactRequest, DownloadArtifactResponse, FinishUploadRequest, Output, Upload,
        WriteUploadRequest,
    },
    retry::Backoff,
};

const UPLOAD_BYTES: usize = 1_044_480;
const MAX_FAULTS: u32 = 8;

/// Downloads an output to `path`. The file gets its name only when it is complete. `progress` gets the bytes so far.
///
/// After `silence_limit` without data the call is repeated. A download continues the file `path` + ".part" if it exists.
pub async fn download(
    connection: &Connection,
    output: &Output,
    path: &Path,
    silence_limit: Duration,
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
    let (mut faults, mut backoff, mut was_restarted) = (0, Backoff::default(), false);
    loop {
        let have = file.seek(SeekFrom::End(0)).map_err(Error::local(writing()))? as i64;
        if have > output.size_bytes {
            file.set_len(0).map_err(Error::local(writing()))?;
            continue;
        }
        let outcome = if have == output.size_bytes {
            Ok(())
        } else {
            receive(connection, output, &mut file, &writing(), silence_limit, &mut progress).await
        };
        match outcome {
            Ok(()) if digest(&mut file).map_err(Error::local(writing()))? == output.sha256 => break,
            // The old part may belong to another file: the download starts again, once.
            Ok(()) if !was_restarted => {
                was_restarted = true;
                file.set_len(0).map_err(Error::local(writing()))?;
            }
            Ok(()) => {
                return Err(Error::ContractViolation(format!(
                    "the digest of {} is wrong after a second download",
                    output.name
                )));
            }
            Err(error) => {
                let now = file.seek(SeekFrom::End(0)).map_err(Error::local(writing()))? as i64;
                if now > have {
                    (faults, backoff) = (0, Backoff::default());
                }
                faults += 1;
                if faults > MAX_FAULTS || !is_transient(&error) {
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
    silence_limit: Duration,
    progress: &mut impl FnMut(i64),
) -> Result<()> {
    let silent = || Error::Unreachable { server: connection.address.to_string(), cause: "it sent no data".into() };
    let have = file.seek(SeekFrom::End(0)).map_err(Error::local(writing))? as i64;
    let mut client = connection.open().await?;
    let request = DownloadArtifactRequest { name: output.name.clone(), read_offset: have, read_limit: 0 };
    let answer =
        timeout(silence_limit, client.stub.download_artifact(Request::new(request))).await.map_err(|_| silent())?;
    let mut stream = answer.map_err(|status| client.error(&status))?.into_inner();
    let mut next = have;
    loop {
        let message = timeout(silence_limit, stream.message()).await.map_err(|_| silent())?;
        let message = message.map_err(|status| client.error(&status))?;
        let Some(DownloadArtifactResponse { offset, data, crc32c: sum, .. }) = message else { break };
        if data.is_empty() {
            continue;
        }
        if offset != next || crc32c::crc32c(&data) != sum {
            return Err(Error::ContractViolation(format!(
                "{}: the data at byte {next} is damaged or out of order",
                output.name
            )));
        }
        if next + data.len() as i64 > output.size_bytes {
            return Err(Error::ContractViolation(format!(
                "{} is longer than {} bytes",
                output.name, output.size_bytes
            )));
        }
        file.write_all(&data).map_err(Error::local(writing))?;
        next += data.len() as i64;
        progress(next);
    }
    if next == output.size_bytes {
        return Ok(());
    }
    Err(Error::ContractViolation(format!("{} ended at byte {next} of {}", output.name, output.size_bytes)))
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
            return Err(Error::Usage(format!("{}: the file became shorter during the upload", path.display())));
        }
        let part = &buffer[..count];
        hash.update(part);
        let request = WriteUploadRequest {
            upload: upload.name.clone(),
            offset,
            data: part.to_vec(),
            crc32c: crc32c::crc32c(part),
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

/// Whether a retry can succeed.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::ContractViolation(_) => true,
        Error::Server(failure) => failure.is_transient(),
        Error::Usage(_) | Error::Local { .. } | Error::Stalled(_) => false,
    }
}
