//! The lines of a file of any size, in constant memory.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use crate::job::MAX_JOB_BYTES;

/// A file or standard input, whichever it was.
pub(super) type Input = Box<dyn AsyncBufRead + Send + Unpin>;

/// Opens a file, or standard input for `-`; the second part is the file's length, where it has one.
pub(super) async fn open(path: &Path) -> anyhow::Result<(Input, Option<u64>)> {
    if path.as_os_str() == "-" {
        let own = std::io::stdin().as_fd().try_clone_to_owned().context("standard input can't be read")?;
        let file = tokio::fs::File::from_std(own.into());
        return Ok((Box::new(BufReader::with_capacity(BUFFER, file)), None));
    }
    let named = |error| anyhow::Error::new(error).context(format!("{} can't be read", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(named)?;
    let metadata = file.metadata().await.map_err(named)?;
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(BUFFER, file)), length))
}

const BUFFER: usize = 256 * 1024;

/// One line that is not blank, and its number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number; blank lines count.
    pub(super) number: u64,
    /// Its bytes without the line's end, or nothing when it is longer than a job may be.
    pub(super) body: Option<Bytes>,
}

impl Line {
    /// Its length; 0 for one that is too long and was not kept.
    pub(super) fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// Reads line by line. A line longer than a job may be is skipped without being kept.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    read: u64,
    buffer: Vec<u8>,
    too_long: bool,
    failed: Option<io::Error>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0, read: 0, buffer: Vec::new(), too_long: false, failed: None }
    }

    /// Bytes read so far.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next line; `None` at the end. Dropping the future loses nothing: what was read of the
    /// line stays for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                let rest = !self.buffer.is_empty() || self.too_long;
                return Ok(if rest { self.end() } else { None });
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            // One byte more than a job's: a carriage return may still go.
            if self.too_long || self.buffer.len() + part.len() > MAX_JOB_BYTES + 1 {
                self.too_long = true;
                self.buffer = Vec::new();
            } else {
                self.buffer.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.read += used as u64;
            if end.is_some()
                && let Some(line) = self.end()
            {
                return Ok(Some(line));
            }
        }
    }

    /// The next lines, as many as are there without waiting, up to a number and up to a sum of
    /// bytes that the last of them may exceed; none at the end. As with [`Lines::next`], dropping
    /// the future loses nothing.
    pub(super) async fn batch(&mut self, most_lines: usize, most_bytes: usize) -> io::Result<Vec<Line>> {
        let Some(first) = self.next().await? else { return Ok(Vec::new()) };
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < most_lines && bytes < most_bytes {
            match self.next().now_or_never() {
                Some(Ok(Some(line))) => {
                    bytes += line.bytes();
                    batch.push(line);
                }
                Some(Err(error)) => {
                    // What was read before it counts first.
                    self.failed = Some(error);
                    break;
                }
                Some(Ok(None)) | None => break,
            }
        }
        Ok(batch)
    }

    /// Ends a line; `None` for a blank one.
    fn end(&mut self) -> Option<Line> {
        self.number += 1;
        let mut body = std::mem::take(&mut self.buffer);
        if body.last() == Some(&b'\r') {
            body.pop();
        }
        let too_long = std::mem::take(&mut self.too_long) || body.len() > MAX_JOB_BYTES;
        if !too_long && body.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        Some(Line { number: self.number, body: (!too_long).then(|| body.into()) })
    }
}

/// What to say of a line that is too long.
pub(super) fn too_long() -> String {
    format!("is longer than {MAX_JOB_BYTES} bytes, the most that a job may have")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &[u8], capacity: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, text));
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push((line.number, line.body.map(|body| body.to_vec())));
        }
        assert_eq!(lines.bytes_read(), text.len() as u64);
        found
    }

    #[tokio::test]
    async fn lines_keep_their_bytes_and_numbers() {
        type Case<'a> = (&'a [u8], &'a [(u64, &'a [u8])]);
        let cases: [Case<'_>; 6] = [
            (b"", &[]),
            (b"a", &[(1, b"a")]),
            (b"a\n", &[(1, b"a")]),
            (b"a\r\n\n  \n b \n", &[(1, b"a"), (4, b" b ")]),
            (b"\n\n", &[]),
            (b"\xff\nx", &[(1, b"\xff"), (2, b"x")]),
        ];
        for (text, expected) in cases {
            for capacity in [1, 2, 64] {
                let expected: Vec<_> = expected.iter().map(|(n, b)| (*n, Some(b.to_vec()))).collect();
                assert_eq!(all(text, capacity).await, expected, "{text:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_line_too_long_is_skipped_and_the_next_one_read() {
        let just = vec![b'x'; MAX_JOB_BYTES];
        let long = vec![b'x'; MAX_JOB_BYTES + 1];
        let text = [just.as_slice(), b"\r\n", &long, b"\n", b"y\n", &long].concat();
        let found = all(&text, 4096).await;
        let shape: Vec<_> = found.iter().map(|(n, body)| (*n, body.as_ref().map(Vec::len))).collect();
        assert_eq!(shape, [(1, Some(MAX_JOB_BYTES)), (2, None), (3, Some(1)), (4, None)]);
    }
}
