//! The best ordering key seen per group, kept compactly: one 128-bit word for a leading column of fixed width, a
//! memory-comparable byte string (Arrow's row format) for anything else, looked at only where words are equal.

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::order_words::{has_words, restore_column, write_words};
use super::view_store::ViewStore;

/// One column of an ordering.
#[derive(Debug, Clone)]
pub struct OrderColumn {
    /// The column's type.
    pub data_type: DataType,
    /// Its direction and where its nulls go.
    pub options: SortOptions,
}

/// A row of a batch that becomes the best of its group: row number, group number.
pub type Move = (u32, u32);

/// Per group, the smallest ordering key that was offered. Of equal keys the one offered first stays.
#[derive(Debug)]
pub struct OrderKeys {
    keys: Keys,
    seen: BooleanBufferBuilder,
}

#[derive(Debug)]
enum Keys {
    /// No ordering: a row replaces the one before it, or never does.
    Arrival {
        latest_wins: bool,
    },
    Words(Words),
    Rows(Rows),
    /// A word, and rows for what follows it.
    Led {
        words: Words,
        tails: Rows,
        candidates: Vec<Candidate>,
    },
}

#[derive(Debug)]
struct Words {
    column: OrderColumn,
    best: Vec<u128>,
    offered: Vec<u128>,
    latest: LatestOfBatch,
}

#[derive(Debug)]
struct Rows {
    converter: RowConverter,
    best: ViewStore,
}

/// A row whose word is the best of its group so far, or as good as the best.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    row: u32,
    group: u32,
    is_tied: bool,
}

/// Where in a batch's list of better rows the last one of every group stands. In a log sorted by time the last event of a
/// batch replaces all before it, and only the last replacement need be carried out.
#[derive(Debug, Default)]
struct LatestOfBatch {
    /// Batch number in the upper half, place in the list in the lower.
    places: Vec<u64>,
    batch: u32,
}

impl LatestOfBatch {
    fn start_batch(&mut self, total_groups: usize) {
        self.places.resize(total_groups.max(self.places.len()), 0);
        self.batch = self.batch.wrapping_add(1);
    }

    #[inline]
    fn note(&mut self, group: usize, place: usize) {
        self.places[group] = u64::from(self.batch) << 32 | place as u64;
    }

    #[inline]
    fn is_outdated(&self, group: u32, place: usize) -> bool {
        let latest = self.places[group as usize];
        (latest >> 32) as u32 == self.batch && place < latest as u32 as usize
    }

    fn drop_first(&mut self, groups: usize) {
        self.places.drain(..groups.min(self.places.len()));
    }
}

impl Words {
    fn new(column: OrderColumn) -> Self {
        Self { column, best: Vec::new(), offered: Vec::new(), latest: LatestOfBatch::default() }
    }

    fn start_batch(&mut self, column: &ArrayRef, total_groups: usize) {
        self.best.resize(total_groups.max(self.best.len()), 0);
        self.latest.start_batch(total_groups);
        write_words(column, self.column.options, &mut self.offered);
    }

    fn take_first(&mut self, groups: usize) -> Vec<u128> {
        self.best.resize(groups.max(self.best.len()), 0);
        self.latest.drop_first(groups);
        take_front(&mut self.best, groups)
    }

    fn restore(&self, words: &[u128]) -> Result<ArrayRef, ArrowError> {
        restore_column(words, self.column.options, &self.column.data_type)
    }

    fn allocated_bytes(&self) -> usize {
        (self.best.capacity() + self.offered.capacity()) * size_of::<u128>() + self.latest.places.capacity() * size_of::<u64>()
    }
}

impl Rows {
    fn try_new(columns: &[OrderColumn]) -> Result<Self, ArrowError> {
        let fields = columns.iter().map(|c| SortField::new_with_options(c.data_type.clone(), c.options)).collect();
        Ok(Self { converter: RowConverter::new(fields)?, best: ViewStore::default() })
    }

    fn take_first(&mut self, groups: usize) -> Views {
        self.best.grow_to(groups);
        self.best.take_first(groups)
    }
}

impl OrderKeys {
    /// Keys of an ordering whose smallest key wins; to let the greatest win, reverse the options of every column
    /// ([`reversed`]). Without columns the row that arrived first wins, or with `latest_wins` the last.
    ///
    /// # Errors
    /// If a column's type has no order.
    pub fn try_new(columns: Vec<OrderColumn>, latest_wins: bool) -> Result<Self, ArrowError> {
        let keys = match columns.split_first() {
            None => Keys::Arrival { latest_wins },
            Some((first, [])) if has_words(&first.data_type) => Keys::Words(Words::new(first.clone())),
            Some((first, rest)) if has_words(&first.data_type) => {
                Keys::Led { words: Words::new(first.clone()), tails: Rows::try_new(rest)?, candidates: Vec::new() }
            }
            Some(_) => Keys::Rows(Rows::try_new(&columns)?),
        };
        Ok(Self { keys, seen: BooleanBufferBuilder::new(0) })
    }

    /// Offers row `i` of `columns` to group `groups[i]`, in order, leaving out the rows where `keep` is false. Appends the
    /// rows that became the best of their group to `moves`: of several of one group the last is the best.
    pub fn offer(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        keep: Option<&BooleanBuffer>,
        total_groups: usize,
        moves: &mut Vec<Move>,
    ) -> Result<(), ArrowError> {
        if self.seen.len() < total_groups {
            self.seen.resize(total_groups);
        }
        let seen = &mut self.seen;
        match &mut self.keys {
            Keys::Arrival { latest_wins } => for_each_kept(groups, keep, |row, group| {
                if *latest_wins || !seen.get_bit(group) {
                    seen.set_bit(group, true);
                    moves.push((row as u32, group as u32));
                }
            }),
            Keys::Words(words) => {
                words.start_batch(&columns[0], total_groups);
                let start = moves.len();
                for_each_kept(groups, keep, |row, group| {
                    if words.offered[row] < words.best[group] || !seen.get_bit(group) {
                        seen.set_bit(group, true);
                        words.best[group] = words.offered[row];
                        words.latest.note(group, moves.len() - start);
                        moves.push((row as u32, group as u32));
                    }
                });
                retain_by_place(moves, start, |place, (_, group)| !words.latest.is_outdated(*group, place));
            }
            Keys::Rows(Rows { converter, best }) => {
                best.grow_to(total_groups);
                let offered = converter.convert_columns(columns)?;
                for_each_kept(groups, keep, |row, group| {
                    let key = offered.row(row);
                    if !seen.get_bit(group) || best.compare(group, key.as_ref()).is_gt() {
                        seen.set_bit(group, true);
                        best.set(group, key.as_ref());
                        moves.push((row as u32, group as u32));
                    }
                });
            }
            Keys::Led { words, tails, candidates } => {
                words.start_batch(&columns[0], total_groups);
                candidates.clear();
                for_each_kept(groups, keep, |row, group| {
                    let (offered, best) = (words.offered[row], words.best[group]);
                    let is_better = offered < best || !seen.get_bit(group);
                    if is_better {
                        seen.set_bit(group, true);
                        words.best[group] = offered;
                        words.latest.note(group, candidates.len());
                    }
                    if is_better || offered == best {
                        candidates.push(Candidate { row: row as u32, group: group as u32, is_tied: !is_better });
                    }
                });
                retain_by_place(candidates, 0, |place, candidate| !words.latest.is_outdated(candidate.group, place));
                tails.decide(&columns[1..], candidates, total_groups, moves)?;
            }
        }
        Ok(())
    }

    /// Takes the first `groups` groups out: their best keys as columns of the ordering (anything, for groups without a
    /// row), and which groups had a row. The others move down.
    pub fn take_first(&mut self, groups: usize) -> Result<(Vec<ArrayRef>, BooleanBuffer), ArrowError> {
        let seen = take_bits(&mut self.seen, groups);
        let columns = match &mut self.keys {
            Keys::Arrival { .. } => Vec::new(),
            Keys::Words(words) => {
                let best = words.take_first(groups);
                vec![words.restore(&best)?]
            }
            Keys::Rows(rows) => {
                let best = rows.take_first(groups);
                restore_rows(&rows.converter, best, &seen)?
            }
            Keys::Led { words, tails, .. } => {
                let (best, best_tails) = (words.take_first(groups), tails.take_first(groups));
                let mut columns = vec![words.restore(&best)?];
                columns.extend(restore_rows(&tails.converter, best_tails, &seen)?);
                columns
            }
        };
        Ok((columns, seen))
    }

    /// Forgets the first `groups` groups; the others move down.
    pub fn drop_first(&mut self, groups: usize) {
        take_bits(&mut self.seen, groups);
        if let Keys::Words(words) | Keys::Led { words, .. } = &mut self.keys {
            words.take_first(groups);
        }
        if let Keys::Rows(rows) | Keys::Led { tails: rows, .. } = &mut self.keys {
            rows.take_first(groups);
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let rows = |rows: &Rows| rows.converter.size() + rows.best.allocated_bytes();
        let keys = match &self.keys {
            Keys::Arrival { .. } => 0,
            Keys::Words(words) => words.allocated_bytes(),
            Keys::Rows(all) => rows(all),
            Keys::Led { words, tails, candidates } => {
                words.allocated_bytes() + rows(tails) + candidates.capacity() * size_of::<Candidate>()
            }
        };
        keys + self.seen.capacity() / 8
    }
}

impl Rows {
    /// Turns the candidates whose rest of the key wins into moves. Of those with a better word nothing else is asked.
    fn decide(
        &mut self,
        columns: &[ArrayRef],
        candidates: &[Candidate],
        total_groups: usize,
        moves: &mut Vec<Move>,
    ) -> Result<(), ArrowError> {
        self.best.grow_to(total_groups);
        if candidates.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(candidates.iter().map(|candidate| candidate.row));
        let columns = columns.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let offered = self.converter.convert_columns(&columns)?;
        for (candidate, key) in candidates.iter().zip(offered.iter()) {
            let group = candidate.group as usize;
            if !candidate.is_tied || self.best.compare(group, key.as_ref()).is_gt() {
                self.best.set(group, key.as_ref());
                moves.push((candidate.row, candidate.group));
            }
        }
        Ok(())
    }
}

/// Keeps the elements from `start` on for which `keep` holds; it is told each one's place after `start`.
fn retain_by_place<T: Copy>(list: &mut Vec<T>, start: usize, keep: impl Fn(usize, &T) -> bool) {
    let mut kept = start;
    for at in start..list.len() {
        let element = list[at];
        list[kept] = element;
        kept += usize::from(keep(at - start, &element));
    }
    list.truncate(kept);
}

/// The ordering under which the greatest key of `options` is the smallest.
pub fn reversed(options: SortOptions) -> SortOptions {
    SortOptions { descending: !options.descending, nulls_first: !options.nulls_first }
}

/// Calls `each` with the row and the group of every row that `keep` keeps.
#[inline]
pub fn for_each_kept(groups: &[usize], keep: Option<&BooleanBuffer>, mut each: impl FnMut(usize, usize)) {
    match keep {
        None => groups.iter().enumerate().for_each(|(row, group)| each(row, *group)),
        Some(keep) => keep.set_indices().for_each(|row| each(row, groups[row])),
    }
}

type Views = (arrow::buffer::ScalarBuffer<u128>, Vec<arrow::buffer::Buffer>);

fn restore_rows(converter: &RowConverter, (views, blocks): Views, seen: &BooleanBuffer) -> Result<Vec<ArrayRef>, ArrowError> {
    let encoded = arrow::array::BinaryViewArray::try_new(views, blocks, None)?;
    let parser = converter.parser();
    // A group without a row has no key; any valid one will do, and all-null columns where no group has one.
    let Some(stand_in) = seen.set_indices().next() else {
        let empty = converter.convert_rows(std::iter::empty())?;
        return Ok(empty.iter().map(|c| arrow::array::new_null_array(c.data_type(), seen.len())).collect());
    };
    converter.convert_rows((0..seen.len()).map(|at| parser.parse(encoded.value(if seen.value(at) { at } else { stand_in }))))
}

/// Removes the first `count` elements of `values` and returns them.
pub(super) fn take_front<T>(values: &mut Vec<T>, count: usize) -> Vec<T> {
    let rest = values.split_off(count);
    std::mem::replace(values, rest)
}

/// Removes the first `count` bits of `bits` and returns them; bits that are not there are false.
pub(super) fn take_bits(bits: &mut BooleanBufferBuilder, count: usize) -> BooleanBuffer {
    if bits.len() < count {
        bits.resize(count);
    }
    let all = bits.finish();
    bits.append_buffer(&all.slice(count, all.len() - count));
    all.slice(0, count)
}

/// The rows where a boolean column is true (null counts as false), as a mask.
pub fn true_rows(column: &dyn Array) -> BooleanBuffer {
    let column = column.as_boolean();
    match column.nulls() {
        Some(nulls) => column.values() & nulls.inner(),
        None => column.values().clone(),
    }
}
