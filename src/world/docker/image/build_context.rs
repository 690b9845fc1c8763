//! Packs a build context: the folder as a tar archive in a temporary file, without what `.dockerignore` excludes.
//! Blocking; knows no engine.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use crate::effect::image::build_context_not_found;
use crate::effect::{EffectError, ErrorKind};
use crate::world::dockerignore::Dockerignore;

const IGNORE_FILE: &str = ".dockerignore";

/// A packed build context.
#[derive(Debug)]
pub(super) struct BuildContext {
    /// An unnamed temporary file, deleted when closed.
    pub archive: File,
    pub bytes: u64,
    pub files: u64,
}

/// Packs the folder. Always includes the Dockerfile and `.dockerignore`, as the engine needs them.
pub(super) fn pack(folder: &Path, dockerfile: &str) -> Result<BuildContext, EffectError> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(build_context_not_found(&shown));
    }
    let dockerfile = relative_path(dockerfile).ok_or_else(|| {
        EffectError::new(ErrorKind::Invalid, format!("the dockerfile `{dockerfile}` is not inside the build context"))
            .hint("give its path relative to the context, without `..`")
            .not_applied()
    })?;
    if !folder.join(&dockerfile).is_file() {
        return Err(EffectError::new(
            ErrorKind::NotFound,
            format!("the build context `{shown}` has no `{dockerfile}`"),
        )
        .hint("set its path with the option `dockerfile`")
        .not_applied());
    }
    let ignore = match fs::read_to_string(folder.join(IGNORE_FILE)) {
        Ok(text) => {
            Dockerignore::parse(&text).map_err(|why| EffectError::new(ErrorKind::Invalid, why).not_applied())?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Dockerignore::default(),
        Err(error) => return Err(unreadable(&folder.join(IGNORE_FILE), &error)),
    };
    let archive = tempfile::tempfile().map_err(|error| unwritable(&error))?;
    let mut packer = Packer {
        tar: tar::Builder::new(BufWriter::new(archive)),
        folder,
        required: vec![dockerfile, IGNORE_FILE.into()],
        ignore,
        files: 0,
    };
    packer.folder_entries("")?;
    let mut archive = packer
        .tar
        .into_inner()
        .and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error))
        .map_err(|error| unwritable(&error))?;
    let bytes = archive.stream_position().map_err(|error| unwritable(&error))?;
    archive.seek(SeekFrom::Start(0)).map_err(|error| unwritable(&error))?;
    Ok(BuildContext { archive, bytes, files: packer.files })
}

/// Normalizes a relative path. `None` when it leads out of the folder.
fn relative_path(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

struct Packer<'a, W: Write> {
    tar: tar::Builder<W>,
    folder: &'a Path,
    required: Vec<String>,
    ignore: Dockerignore,
    files: u64,
}

impl<W: Write> Packer<'_, W> {
    /// Adds everything in the folder `relative`, sorted, so that the same files give the same archive.
    fn folder_entries(&mut self, relative: &str) -> Result<(), EffectError> {
        let folder = self.folder.join(relative);
        let mut names = fs::read_dir(&folder)
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
            })
            .map_err(|error| unreadable(&folder, &error))?;
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let name = name.to_str().ok_or_else(|| {
                EffectError::new(ErrorKind::Invalid, format!("the name of `{}` is not UTF-8", path.display()))
                    .hint("exclude its folder in `.dockerignore`")
                    .not_applied()
            })?;
            let relative = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            self.entry(&path, &relative)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, relative: &str) -> Result<(), EffectError> {
        let metadata = fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))?;
        let is_required = self.required.iter().any(|required| required == relative);
        let is_excluded = self.ignore.is_ignored(relative) && !is_required;
        if metadata.is_dir() {
            let below = format!("{relative}/");
            let contains_required = self.required.iter().any(|required| required.starts_with(&below));
            if !is_excluded {
                self.append(path, relative, &metadata, io::empty())?;
            } else if !contains_required && !self.ignore.may_include_below(relative) {
                return Ok(());
            }
            return self.folder_entries(relative);
        }
        if is_excluded {
            return Ok(());
        }
        if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(|error| unreadable(path, &error))?;
            return self.link(relative, &metadata, &target);
        }
        if !metadata.is_file() {
            // Skip sockets, pipes and devices: they have no meaning in a build.
            return Ok(());
        }
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        self.append(path, relative, &metadata, file)
    }

    fn header(metadata: &Metadata) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(metadata, tar::HeaderMode::Complete);
        // As Docker does: owners on this machine have no meaning in the image.
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    fn append(&mut self, path: &Path, relative: &str, metadata: &Metadata, file: impl Read) -> Result<(), EffectError> {
        let mut header = Self::header(metadata);
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        header.set_size(size);
        // A file that changes size while it is read must not corrupt the archive.
        let exactly = file.chain(io::repeat(0)).take(size);
        self.files += 1;
        self.tar.append_data(&mut header, relative, exactly).map_err(|error| unpackable(path, &error))
    }

    fn link(&mut self, relative: &str, metadata: &Metadata, target: &Path) -> Result<(), EffectError> {
        let mut header = Self::header(metadata);
        header.set_size(0);
        self.files += 1;
        self.tar
            .append_link(&mut header, relative, target)
            .map_err(|error| unpackable(&PathBuf::from(relative), &error))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> EffectError {
    EffectError::new(ErrorKind::Refused, format!("cannot read `{}` for the build context: {error}", path.display()))
        .hint("exclude it in `.dockerignore`")
        .not_applied()
}

fn unpackable(path: &Path, error: &io::Error) -> EffectError {
    match error.kind() {
        io::ErrorKind::StorageFull => unwritable(error),
        _ => unreadable(path, error),
    }
}

fn unwritable(error: &io::Error) -> EffectError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull => ErrorKind::DiskFull,
        _ => ErrorKind::Failed,
    };
    EffectError::new(kind, format!("cannot pack the build context in `{}`: {error}", std::env::temp_dir().display()))
        .hint("choose another temporary folder with the environment variable `TMPDIR`")
        .not_applied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn unpack(context: BuildContext) -> BTreeMap<String, (tar::Header, String)> {
        let mut archive = tar::Archive::new(context.archive);
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (path, (entry.header().clone(), text))
            })
            .collect()
    }

    #[test]
    fn packs_what_is_not_ignored_and_what_docker_requires() {
        let folder = folder(&[
            ("build/Dockerfile", "FROM scratch"),
            (".dockerignore", "**\n!app\n!deep/**/keep"),
            ("app/run.sh", "#!"),
            ("deep/a/b/keep", "x"),
            ("deep/a/b/drop", "x"),
            ("secret.env", "x"),
        ]);
        let entries = unpack(pack(folder.path(), "./build/Dockerfile").unwrap());
        let files: Vec<&str> =
            entries.iter().filter(|(_, (h, _))| h.entry_type().is_file()).map(|(p, _)| p.as_str()).collect();
        assert_eq!(files, [".dockerignore", "app/run.sh", "build/Dockerfile", "deep/a/b/keep"]);
    }

    #[test]
    fn keeps_modes_links_and_long_names() {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        let folder = folder(&[("Dockerfile", "FROM scratch"), ("run", "#!"), (&long, "long")]);
        fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o751)).unwrap();
        symlink("../outside", folder.path().join("link")).unwrap();
        let context = pack(folder.path(), "Dockerfile").unwrap();
        assert!(context.bytes > 0 && context.files == 5);
        let entries = unpack(context);
        assert_eq!(entries["run"].0.mode().unwrap() & 0o777, 0o751);
        assert_eq!(entries["run"].0.uid().unwrap(), 0);
        assert!(entries["link"].0.entry_type().is_symlink());
        assert_eq!(entries["link"].0.link_name().unwrap().unwrap(), Path::new("../outside"));
        assert_eq!(entries[&long].1, "long");
    }

    #[test]
    fn names_what_is_wrong_with_the_context() {
        let folder = folder(&[("other", "x")]);
        for (dockerfile, kind) in
            [("Dockerfile", ErrorKind::NotFound), ("../Dockerfile", ErrorKind::Invalid), ("/x", ErrorKind::Invalid)]
        {
            let error = pack(folder.path(), dockerfile).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(dockerfile), "{error}");
        }
        assert_eq!(pack(&folder.path().join("gone"), "Dockerfile").unwrap_err().kind, ErrorKind::NotFound);
    }
}
