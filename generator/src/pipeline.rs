//! Runs a generation: slices of events are made and chunks of rows encoded by worker threads, and put into order and written by the caller's.
//!
//! Memory stays bounded because work is handed out only while few slices and chunks are under way, whatever the number of events.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::error::Error;
use crate::events::{Event, Recipe};
use crate::layout::{ChunkPlan, chunks};
use crate::options::{ClickstreamOptions, Progress, Summary};
use crate::rows::Renderer;
use crate::writer::{DataFile, Encoded, Encoder, Folder, Opener, file_name, open_local};

/// More threads than this would wait for the one that merges and writes, and take memory for nothing.
const THREADS_LIMIT: usize = 8;

/// Generates raw clickstream events into files `events-00000.<format>`, …, in the order of time.
///
/// The `progress` callback is called on the caller's thread, many times a second; when it answers [`ControlFlow::Break`], the generation ends
/// with [`Error::Cancelled`]. On any error the files written by this call are removed; files that were overwritten do not come back.
pub fn generate_clickstream(options: &ClickstreamOptions, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Summary, Error> {
    generate_with(options, open_local, progress)
}

fn generate_with(
    options: &ClickstreamOptions,
    open: Opener,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Summary, Error> {
    options.validate()?;
    let folder = Folder::prepare(&options.out, options.overwrite, open)?;
    let threads = options.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, |threads| threads.get().min(THREADS_LIMIT));
    let renderer = Renderer::new(Recipe::new(options.events, options.seed), options.dirty_rate);
    let (task_sender, task_receiver) = channel();
    let task_receiver = Mutex::new(task_receiver);
    let (result_sender, result_receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let results = result_sender.clone();
            scope.spawn(|| work(&renderer, &task_receiver, results));
        }
        drop(result_sender);
        // Dropping the conductor closes the task channel, which ends the workers.
        Conductor::new(options, &renderer, folder, threads, task_sender).conduct(&result_receiver, progress)
    })
}

/// Something a worker does.
enum Task {
    MakeSlice(u32),
    Encode { number: usize, first_row: u64, events: Vec<Event>, encoder: Encoder },
}

/// What comes of it.
enum Outcome {
    Slice(u32, Vec<Event>),
    Chunk(usize, io::Result<Encoded>),
    Panicked,
}

fn work(renderer: &Renderer, tasks: &Mutex<Receiver<Task>>, results: Sender<Outcome>) {
    loop {
        let task = match tasks.lock() {
            Ok(tasks) => tasks.recv(),
            Err(_) => return,
        };
        let Ok(task) = task else { return };
        // A panic must reach the caller, who would otherwise wait for the result for ever.
        let outcome = catch_unwind(AssertUnwindSafe(|| match task {
            Task::MakeSlice(slice) => Outcome::Slice(slice, renderer.recipe().events_of_slice(slice)),
            Task::Encode { number, first_row, events, encoder } => Outcome::Chunk(number, encoder.encode(renderer, first_row, &events)),
        }));
        if results.send(outcome.unwrap_or(Outcome::Panicked)).is_err() {
            return;
        }
    }
}

/// Keeps the workers busy, merges slices in order, cuts chunks, writes them in order.
struct Conductor<'a> {
    options: &'a ClickstreamOptions,
    renderer: &'a Renderer,
    tasks: Sender<Task>,
    /// How many slices, and how many chunks, may be under way.
    limit: usize,
    plans: Vec<ChunkPlan>,
    next_slice: u32,
    merged_slices: u32,
    slices: BTreeMap<u32, Vec<Event>>,
    /// Events that belong to later slices of time than the last one merged.
    carried: Vec<Event>,
    /// The events of the chunk that is being filled, and its number.
    filling: Vec<Event>,
    filling_number: usize,
    chunks: BTreeMap<usize, Encoded>,
    appended_chunks: usize,
    files: BTreeMap<usize, DataFile>,
    /// After the files, so that they are closed when it removes them.
    folder: Folder,
    bytes: Arc<AtomicU64>,
    events_done: u64,
}

impl<'a> Conductor<'a> {
    fn new(options: &'a ClickstreamOptions, renderer: &'a Renderer, folder: Folder, threads: usize, tasks: Sender<Task>) -> Self {
        Conductor {
            options,
            renderer,
            folder,
            tasks,
            limit: threads + 1,
            plans: chunks(options.events).collect(),
            next_slice: 0,
            merged_slices: 0,
            slices: BTreeMap::new(),
            carried: Vec::new(),
            filling: Vec::new(),
            filling_number: 0,
            chunks: BTreeMap::new(),
            appended_chunks: 0,
            files: BTreeMap::new(),
            bytes: Arc::new(AtomicU64::new(0)),
            events_done: 0,
        }
    }

    fn conduct(mut self, results: &Receiver<Outcome>, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Summary, Error> {
        while self.appended_chunks < self.plans.len() {
            self.report(progress)?;
            self.ask_for_slices()?;
            let chunks_under_way = self.filling_number - self.appended_chunks;
            if chunks_under_way < self.limit
                && let Some(slice) = self.slices.remove(&self.merged_slices)
            {
                self.merge(&slice)?;
                continue;
            }
            match results.recv() {
                Ok(Outcome::Slice(number, events)) => drop(self.slices.insert(number, events)),
                Ok(Outcome::Chunk(number, chunk)) => {
                    let chunk = chunk.map_err(|source| self.write_error(number, source))?;
                    self.chunks.insert(number, chunk);
                    self.append_chunks()?;
                }
                Ok(Outcome::Panicked) | Err(_) => return Err(Error::Internal("a worker thread panicked".to_owned())),
            }
        }
        self.report(progress)?;
        let bytes = self.bytes.load(Ordering::Relaxed);
        Ok(Summary { events: self.events_done, files: self.folder.complete(), bytes })
    }

    fn report(&self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), Error> {
        let now = Progress {
            events_done: self.events_done,
            events_total: self.options.events,
            bytes_written: self.bytes.load(Ordering::Relaxed),
        };
        match progress(now) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    fn ask_for_slices(&mut self) -> Result<(), Error> {
        let last = self.renderer.recipe().slices().min(self.merged_slices + self.limit as u32);
        while self.next_slice < last {
            self.send(Task::MakeSlice(self.next_slice))?;
            self.next_slice += 1;
        }
        if self.merged_slices == self.renderer.recipe().slices() && self.filling_number < self.plans.len() {
            return Err(Error::Internal("fewer events were made than asked for".to_owned()));
        }
        Ok(())
    }

    fn send(&self, task: Task) -> Result<(), Error> {
        self.tasks.send(task).map_err(|_| Error::Internal("the worker threads ended early".to_owned()))
    }

    /// Merges a slice with what the slices before it left for its time, and keeps what reaches beyond it.
    fn merge(&mut self, slice: &[Event]) -> Result<(), Error> {
        self.merged_slices += 1;
        let end = self.renderer.recipe().slice_begin(self.merged_slices);
        let carried = std::mem::take(&mut self.carried);
        let (mut earlier, mut own) = (carried.as_slice(), slice);
        loop {
            let next = match (earlier.first(), own.first()) {
                (Some(a), Some(b)) if a.second > b.second => take(&mut own),
                (Some(_), _) => take(&mut earlier),
                (None, Some(_)) => take(&mut own),
                (None, None) => return Ok(()),
            };
            match next {
                Some(event) if event.second < end => self.push(event)?,
                Some(event) => self.carried.push(event),
                None => return Ok(()),
            }
        }
    }

    /// Adds the next event of the data set to its chunk, and sends the chunk away when it is full.
    fn push(&mut self, event: Event) -> Result<(), Error> {
        let Some(plan) = self.plans.get(self.filling_number) else {
            return Err(Error::Internal("more events were made than asked for".to_owned()));
        };
        if self.filling.capacity() == 0 {
            self.filling.reserve_exact(plan.len());
        }
        self.filling.push(event);
        if self.filling.len() < plan.len() {
            return Ok(());
        }
        let (file, chunk, first_row) = (plan.file, plan.chunk, plan.rows.start);
        if chunk == 0 {
            let name = file_name(file, self.options.format);
            let outlet = self.folder.create(&name)?;
            let begun = DataFile::begin(self.options.format, outlet, &self.bytes);
            self.files.insert(file, begun.map_err(|source| self.write_error(self.filling_number, source))?);
        }
        let encoder = match self.files.get(&file) {
            Some(file) => file.encoder(chunk).map_err(|source| self.write_error(self.filling_number, source))?,
            None => return Err(Error::Internal("a chunk has no file".to_owned())),
        };
        let events = std::mem::take(&mut self.filling);
        self.send(Task::Encode { number: self.filling_number, first_row, events, encoder })?;
        self.filling_number += 1;
        Ok(())
    }

    /// Appends the chunks whose turn it is, and finishes the files that are complete.
    fn append_chunks(&mut self) -> Result<(), Error> {
        while let Some(chunk) = self.chunks.remove(&self.appended_chunks) {
            let number = self.appended_chunks;
            let plan = self.plans[number].clone();
            let Some(file) = self.files.get_mut(&plan.file) else {
                return Err(Error::Internal("a chunk has no file".to_owned()));
            };
            file.append(chunk).map_err(|source| self.write_error(number, source))?;
            if plan.last
                && let Some(file) = self.files.remove(&plan.file)
            {
                file.finish().map_err(|source| self.write_error(number, source))?;
                self.folder.finish(&file_name(plan.file, self.options.format))?;
            }
            self.appended_chunks += 1;
            self.events_done = plan.rows.end;
        }
        Ok(())
    }

    fn write_error(&self, chunk: usize, source: io::Error) -> Error {
        let name = file_name(self.plans.get(chunk).map_or(0, |plan| plan.file), self.options.format);
        Error::storage("write", self.folder.unfinished_path(&name), source)
    }
}

fn take(events: &mut &[Event]) -> Option<Event> {
    let (first, rest) = events.split_first()?;
    *events = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::options::Format;

    /// A file on a disk with room for so many bytes.
    struct NearlyFull(usize);

    impl Write for NearlyFull {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn open_nearly_full(path: &Path) -> io::Result<Box<dyn Write + Send>> {
        std::fs::File::create(path)?;
        Ok(Box::new(NearlyFull(100_000)))
    }

    #[test]
    fn a_full_disk_is_named_and_leaves_nothing() {
        let directory = tempfile::TempDir::new().unwrap();
        for format in Format::ALL {
            let options = ClickstreamOptions { format, ..ClickstreamOptions::new(20_000, directory.path()) };
            let error = generate_with(&options, open_nearly_full, &mut |_| ControlFlow::Continue(())).unwrap_err();
            let Error::Storage { action, path, source } = error else { panic!("{format}: {error}") };
            assert_eq!((action, source.kind()), ("write", io::ErrorKind::StorageFull), "{format}");
            assert!(path.starts_with(directory.path()));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{format}");
        }
    }
}
