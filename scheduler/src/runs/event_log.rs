//! The events of one run as a file: appended while it runs, read by whoever follows it, complete after a crash up to the last synced one.
//!
//! A record is a length in four bytes, little end first, and a `RunEvent` as protobuf. A torn last record is what a crash leaves; it is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use orrery_proto::v1::RunEvent;
use prost::Message as _;

/// Longer records are damage, not events.
const LONGEST_RECORD_BYTES: usize = 1 << 30;

/// Appends events.
#[derive(Debug)]
pub(crate) struct EventWriter {
    file: File,
    /// Bytes written.
    pub bytes: u64,
    /// Sequence number of the last event.
    pub sequence: u64,
}

impl EventWriter {
    /// A new log.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        Ok(Self { file, bytes: 0, sequence: 0 })
    }

    /// A log that was left by an earlier process, without its torn end.
    pub fn reopen(path: &Path) -> io::Result<Self> {
        let mut reader = EventReader::open(path)?;
        let mut sequence = 0;
        while let Some(event) = reader.next()? {
            sequence = event.sequence;
        }
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(reader.offset)?;
        Ok(Self { file, bytes: reader.offset, sequence })
    }

    /// Appends an event under the next sequence number.
    pub fn append(&mut self, mut event: RunEvent) -> io::Result<()> {
        event.sequence = self.sequence + 1;
        let mut record = vec![0; 4];
        event.encode(&mut record).map_err(io::Error::other)?;
        let length = u32::try_from(record.len() - 4).map_err(io::Error::other)?;
        record[..4].copy_from_slice(&length.to_le_bytes());
        self.file.write_all(&record)?;
        self.bytes += record.len() as u64;
        self.sequence = event.sequence;
        Ok(())
    }

    /// Makes everything so far survive a crash of the machine.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads events from the first on.
#[derive(Debug)]
pub(crate) struct EventReader {
    file: BufReader<File>,
    path: PathBuf,
    offset: u64,
}

impl EventReader {
    /// Begins with the first event.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), path: path.to_path_buf(), offset: 0 })
    }

    /// The next event; `None` where the file ends for now.
    pub fn next(&mut self) -> io::Result<Option<RunEvent>> {
        match self.try_next() {
            Ok(event) => Ok(event),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // A record that is being written: the next reading starts over at its beginning.
                self.file.seek(SeekFrom::Start(self.offset))?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn try_next(&mut self) -> io::Result<Option<RunEvent>> {
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {what}", self.path.display()));
        if length > LONGEST_RECORD_BYTES {
            return Err(damaged("a record has an impossible length"));
        }
        let mut record = vec![0; length];
        self.file.read_exact(&mut record)?;
        let event = RunEvent::decode(record.as_slice()).map_err(|error| damaged(&error.to_string()))?;
        self.offset += 4 + length as u64;
        Ok(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(run_id: &str) -> RunEvent {
        RunEvent { run_id: run_id.to_string(), ..RunEvent::default() }
    }

    #[test]
    fn reads_what_is_written_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut writer = EventWriter::create(&path).unwrap();
        let mut reader = EventReader::open(&path).unwrap();
        assert!(reader.next().unwrap().is_none());
        writer.append(event("a")).unwrap();
        writer.append(event("b")).unwrap();
        let first = reader.next().unwrap().unwrap();
        assert_eq!((first.sequence, first.run_id.as_str()), (1, "a"));
        assert_eq!(reader.next().unwrap().unwrap().sequence, 2);
        assert!(reader.next().unwrap().is_none());
        writer.append(event("c")).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().run_id, "c");
    }

    #[test]
    fn a_torn_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut writer = EventWriter::create(&path).unwrap();
        writer.append(event("a")).unwrap();
        writer.append(event("b")).unwrap();
        let whole = writer.bytes;
        drop(writer);
        for cut in 1..10 {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(whole - cut).unwrap();
            drop(file);
            let mut again = EventWriter::reopen(&path).unwrap();
            assert_eq!(again.sequence, 1, "cut by {cut}");
            again.append(event("b")).unwrap();
            assert_eq!(again.bytes, whole);
        }
    }
}
