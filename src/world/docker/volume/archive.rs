//! Reading an archive of the engine as it passes by: what is in it, and its digest. Knows nothing of where it goes.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType};
use tokio::sync::mpsc::Receiver;
use tokio_util::bytes::{Buf, Bytes};

use crate::effect::{EffectError, ErrorKind};
use crate::world::replica::{ContentDigest, Head, TreeDigest};

/// One read of a content.
const CHUNK: usize = 64 << 10;
/// How an archive names extended attributes.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What an archive held.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub bytes: u64,
    pub files: u64,
    pub digest: TreeDigest,
    /// Length of the archive itself.
    pub passed: u64,
}

/// Pieces of an archive as something to read from.
pub(super) struct Pieces {
    receive: Receiver<Bytes>,
    piece: Bytes,
    at_end: bool,
}

impl Pieces {
    pub(super) fn new(receive: Receiver<Bytes>) -> Self {
        Self { receive, piece: Bytes::new(), at_end: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receive.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => {
                    self.at_end = true;
                    return Ok(0);
                }
            }
        }
        let read = room.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut room[..read]);
        Ok(read)
    }
}

/// Reads an archive to its end.
///
/// # Errors
/// `failed` when it is no archive, or one that breaks off: the engine ends it early when a file shrinks under it.
pub(super) fn read_archive(pieces: Pieces, volume: &str) -> Result<Contents, EffectError> {
    let mut archive = Archive::new(pieces);
    let read = entries(&mut archive);
    let mut pieces = archive.into_inner();
    let result = match read {
        Ok(_) if pieces.at_end => Err(broken_off(volume, "it has no end")),
        Ok(contents) => Ok(contents),
        Err(why) => Err(broken_off(volume, &why.to_string())),
    };
    // To the last piece, so that whoever sends is not held up.
    pieces.piece.clear();
    while pieces.receive.blocking_recv().is_some() {}
    result
}

fn entries(archive: &mut Archive<Pieces>) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let (mut buffer, mut digest) = (vec![0; CHUNK], ContentDigest::default());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let head = head(&mut entry)?;
        let mut content = [0; 32];
        if head.kind != b'd' {
            contents.files += 1;
        }
        if head.kind == b'f' {
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
        contents.digest.add(&head, content);
    }
    Ok(contents)
}

fn head(entry: &mut Entry<'_, Pieces>) -> io::Result<Head> {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => b'f',
        EntryType::Directory => b'd',
        EntryType::Symlink => b'l',
        EntryType::Link => b'h',
        EntryType::Fifo => b'p',
        EntryType::Char => b'c',
        EntryType::Block => b'b',
        other => return Err(io::Error::other(format!("it has an entry of the kind {other:?}"))),
    };
    let number = |part: io::Result<Option<u32>>| part.map(Option::unwrap_or_default).map(u64::from);
    let device = match kind {
        b'c' | b'b' => number(header.device_major())? << 32 | number(header.device_minor())?,
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
    Ok(Head {
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

/// The path without the name of the mount that it begins with.
fn below_mount(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => &path[slash + 1..],
        None => b"",
    }
}

fn broken_off(volume: &str, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("the engine's archive of volume `{volume}` broke off: {why}"))
        .hint("a file may have been written to meanwhile: try `while_written: \"pause\"`")
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

    fn read(bytes: Vec<u8>) -> Result<Contents, EffectError> {
        let (send, receive) = tokio::sync::mpsc::channel(1000);
        bytes.chunks(100).for_each(|piece| send.try_send(Bytes::copy_from_slice(piece)).unwrap());
        drop(send);
        read_archive(Pieces::new(receive), "v")
    }

    #[test]
    fn an_archive_without_an_end_is_no_whole_one() {
        let contents = read(archive(true)).unwrap();
        assert_eq!((contents.bytes, contents.files), (3, 1));
        assert_eq!(read(archive(false)).unwrap_err().kind, ErrorKind::Failed);
        assert_eq!(read(archive(true)[..514].to_vec()).unwrap_err().kind, ErrorKind::Failed);
    }

    #[test]
    fn the_mount_is_no_part_of_the_paths() {
        assert_eq!(below_mount(b"mount/"), b"");
        assert_eq!(below_mount(b"mount/a/b/"), b"a/b");
    }
}
