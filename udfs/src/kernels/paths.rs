//! What happened in every group, in the order of time: the memory of `path`.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::distinct_pairs::restore_strings;
use super::grouped_log::{ByGroup, GroupedLog, kept_rows};
use super::interner::Interner;
use super::order_keys::for_each_kept;

/// Texts of groups that are gone, tolerated however few events there are.
const LEAST_UNUSED_TEXTS: usize = 8192;

/// An event: when, and the number of its text.
type Event = (i64, u32);

/// Events of all groups, in one log; every different text is kept once.
#[derive(Debug)]
pub struct Paths {
    text_type: DataType,
    max_steps: Option<usize>,
    log: GroupedLog<Event>,
    texts: Interner,
}

/// The paths of some groups.
#[derive(Debug)]
pub struct TakenPaths {
    /// Where each group begins, and at last where the events end.
    pub starts: Vec<usize>,
    /// When each event happened.
    pub instants: Int64Array,
    /// What happened.
    pub texts: ArrayRef,
}

/// Earlier events first; of simultaneous ones the smaller text, so that every partitioning gives the same path.
fn by_time_and_text(texts: &Interner) -> impl Fn(&Event, &Event) -> Ordering {
    |a, b| a.0.cmp(&b.0).then_with(|| if a.1 == b.1 { Ordering::Equal } else { texts.with(a.1, |a| texts.with(b.1, |b| a.cmp(b))) })
}

impl Paths {
    /// No events yet; of every group at most the first `max_steps` are wanted.
    pub fn new(text_type: DataType, max_steps: Option<usize>) -> Self {
        Self { text_type, max_steps, log: GroupedLog::default(), texts: Interner::default() }
    }

    /// No events yet, of the same kind.
    pub fn fresh(&self) -> Self {
        Self::new(self.text_type.clone(), self.max_steps)
    }

    /// What the events' texts are.
    pub fn text_type(&self) -> &DataType {
        &self.text_type
    }

    /// Adds an event per row, leaving out those without an instant or a text and those where `keep` is false.
    ///
    /// # Errors
    /// If there are four billion groups or different texts, or `events` is no text.
    pub fn insert(
        &mut self,
        instants: &Int64Array,
        events: &ArrayRef,
        groups: &[usize],
        keep: Option<&BooleanBuffer>,
        total_groups: usize,
    ) -> Result<(), ArrowError> {
        self.log.grow_to(total_groups)?;
        let timed = kept_rows(keep, instants.nulls());
        let kept = kept_rows(timed.as_ref(), events.nulls());
        let (log, texts) = (&mut self.log, &mut self.texts);
        let mut overflowed = false;
        with_byte_strings!(events, array => for_each_kept(groups, kept.as_ref(), |row, group| {
            match texts.intern(array.value(row).as_ref()) {
                Some(number) => log.push(group, (instants.value(row), number)),
                None => overflowed = true,
            }
        }), return Err(ArrowError::InvalidArgumentError(format!("expected text, got {}", events.data_type()))));
        if overflowed {
            return Err(ArrowError::ComputeError("path: more than four billion different events".into()));
        }
        if let Some(most) = self.max_steps {
            self.log.squeeze_if_grown(by_time_and_text(&self.texts), |events| events.len().min(most));
        }
        Ok(())
    }

    /// Takes the first `groups` groups out, their events in order. The others move down.
    ///
    /// # Errors
    /// If the texts do not fit into one array.
    pub fn take_first(&mut self, groups: usize) -> Result<TakenPaths, ArrowError> {
        let mut taken = self.log.take_first(groups);
        let most = self.max_steps.unwrap_or(usize::MAX);
        taken.squeeze(by_time_and_text(&self.texts), |events| events.len().min(most));
        let ByGroup { starts, rows } = taken;
        let numbers = UInt32Array::from_iter_values(rows.iter().map(|event| event.1));
        let texts = restore_strings(&mut self.texts, &numbers, self.log.is_empty(), &self.text_type)?;
        self.forget_unused_texts();
        Ok(TakenPaths { starts, instants: Int64Array::from_iter_values(rows.iter().map(|event| event.0)), texts })
    }

    fn forget_unused_texts(&mut self) {
        if self.log.is_empty() {
            self.texts = Interner::default();
        } else if self.texts.len() > 2 * self.log.len() + LEAST_UNUSED_TEXTS {
            let mut used = Interner::default();
            for event in self.log.rows_mut() {
                if let Some(number) = self.texts.with(event.1, |text| used.intern(text)) {
                    event.1 = number;
                }
            }
            self.texts = used;
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.log.allocated_bytes() + self.texts.allocated_bytes()
    }
}
