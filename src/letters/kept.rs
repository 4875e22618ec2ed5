//! The file of what is dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Keep;

/// A new file, made with the first letter; only its owner may read it, since it holds device tokens.
pub struct Kept {
    path: PathBuf,
    file: Option<File>,
}

impl Kept {
    /// Where there must be no file yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
            self.file = Some(made.map_err(named)?);
            // Its name must outlast a power cut as well.
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Keep for Kept {
    fn keep(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = lines.join("\n");
        text.push('\n');
        let file = self.file()?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_added_and_nothing_of_others_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dropped.jsonl");
        let mut kept = Kept::at(&path);
        assert!(!path.exists(), "no file before there is anything to keep");
        kept.keep(&["1".into(), "2".into()]).unwrap();
        kept.keep(&["3".into()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = Kept::at(&path).keep(&["4".into()]).unwrap_err();
        assert!(refused.to_string().contains("dropped.jsonl"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
    }
}
