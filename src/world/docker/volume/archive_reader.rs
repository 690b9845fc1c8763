//! Reads an archive of the engine as a stream: what it contains, and its digest. Knows nothing of where the archive
//! goes.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType};
use tokio::sync::mpsc::Receiver;
use tokio_util::bytes::{Buf, Bytes};

use crate::effect::{EffectError, ErrorKind};
use crate::world::folder_copy::{ContentDigest, EntryMetadata, TreeDigest};

/// The size of one read.
const CHUNK: usize = 64 << 10;
/// The prefix of extended attributes in an archive.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What an archive contains.
#[derive(Debug, Default)]
pub(super) struct ArchiveContents {
    /// The bytes of all files.
    pub bytes: u64,
    /// The number of entries that are not folders.
    pub files: u64,
    /// The digest of all entries.
    pub digest: TreeDigest,
    /// The length of the archive itself.
    pub archive_bytes: u64,
}

/// Reads an archive from the chunks that arrive over a channel.
pub(super) struct ChunkReader {
    chunks: Receiver<Bytes>,
    chunk: Bytes,
    at_end: bool,
}

impl ChunkReader {
    pub(super) fn new(chunks: Receiver<Bytes>) -> Self {
        Self { chunks, chunk: Bytes::new(), at_end: false }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => {
                    self.at_end = true;
                    return Ok(0);
                }
            }
        }
        let read = room.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut room[..read]);
        Ok(read)
    }
}

/// Reads an archive to its end.
///
/// # Errors
///
/// Returns `failed` when it is not an archive, or when it is truncated: the engine ends it early when a file shrinks
/// meanwhile.
pub(super) fn read_archive(reader: ChunkReader, volume: &str) -> Result<ArchiveContents, EffectError> {
    let mut archive = Archive::new(reader);
    let read = entries(&mut archive);
    let mut reader = archive.into_inner();
    let result = match read {
        Ok(_) if reader.at_end => Err(archive_error(volume, "it is truncated")),
        Ok(contents) => Ok(contents),
        Err(why) => Err(archive_error(volume, &why.to_string())),
    };
    // Drain the channel, so that the sender is not blocked.
    reader.chunk.clear();
    while reader.chunks.blocking_recv().is_some() {}
    result
}

fn entries(archive: &mut Archive<ChunkReader>) -> io::Result<ArchiveContents> {
    let mut contents = ArchiveContents::default();
    let (mut buffer, mut digest) = (vec![0; CHUNK], ContentDigest::default());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let metadata = entry_metadata(&mut entry)?;
        let mut content = [0; 32];
        if metadata.kind != b'd' {
            contents.files += 1;
        }
        if metadata.kind == b'f' {
            let mut at = 0;
            loop {
                match entry.read(&mut buffer)? {
                    0 => break,
                    read => {
                        digest.update(at, &buffer[..read]);
                        at += read as u64;
                    }
                }
            }
            if at != entry.size() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            contents.bytes += at;
            content = digest.finish(at);
        }
        contents.digest.add(&metadata, content);
    }
    Ok(contents)
}

fn entry_metadata(entry: &mut Entry<'_, ChunkReader>) -> io::Result<EntryMetadata> {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => b'f',
        EntryType::Directory => b'd',
        EntryType::Symlink => b'l',
        EntryType::Link => b'h',
        EntryType::Fifo => b'p',
        EntryType::Char => b'c',
        EntryType::Block => b'b',
        other => return Err(io::Error::other(format!("it has an entry of the type {other:?}"))),
    };
    let device_number = |part: io::Result<Option<u32>>| part.map(Option::unwrap_or_default).map(u64::from);
    let device = match kind {
        b'c' | b'b' => device_number(header.device_major())? << 32 | device_number(header.device_minor())?,
        _ => 0,
    };
    let (mode, time) = (header.mode()?, header.mtime()?);
    let (uid, gid) = (header.uid()?, header.gid()?);
    let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
    let mut attributes = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(name) = extension.key_bytes().strip_prefix(ATTRIBUTE) {
            attributes.push((name.to_vec(), extension.value_bytes().to_vec()));
        }
    }
    attributes.sort_unstable();
    Ok(EntryMetadata {
        path: below_mount(&entry.path_bytes()).to_vec(),
        kind,
        mode: if kind == b'l' { 0 } else { mode & 0o7777 },
        uid: uid as u32,
        gid: gid as u32,
        mtime: (time as i64, 0),
        device,
        target,
        attributes,
    })
}

/// Returns the path without the name of the mount that it starts with.
fn below_mount(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => &path[slash + 1..],
        None => b"",
    }
}

fn archive_error(volume: &str, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("the engine's archive of volume `{volume}` is invalid: {why}"))
        .hint("a file may have changed during the copy: try `while_written: \"pause\"`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(end: bool) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o640);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append_data(&mut header, "mount/a", &b"abc"[..]).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        if !end {
            bytes.truncate(1024);
        }
        bytes
    }

    fn read(bytes: Vec<u8>) -> Result<ArchiveContents, EffectError> {
        let (send, receive) = tokio::sync::mpsc::channel(1000);
        bytes.chunks(100).for_each(|piece| send.try_send(Bytes::copy_from_slice(piece)).unwrap());
        drop(send);
        read_archive(ChunkReader::new(receive), "v")
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let contents = read(archive(true)).unwrap();
        assert_eq!((contents.bytes, contents.files), (3, 1));
        assert_eq!(read(archive(false)).unwrap_err().kind, ErrorKind::Failed);
        assert_eq!(read(archive(true)[..514].to_vec()).unwrap_err().kind, ErrorKind::Failed);
    }

    #[test]
    fn paths_do_not_contain_the_mount() {
        assert_eq!(below_mount(b"mount/"), b"");
        assert_eq!(below_mount(b"mount/a/b/"), b"a/b");
    }
}
