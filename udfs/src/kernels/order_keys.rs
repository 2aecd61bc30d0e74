//! The best ordering key seen per group, kept compactly: one 128-bit word where a single fixed-width column decides, a
//! memory-comparable byte string (Arrow's row format) for anything else.

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
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
    Words {
        column: OrderColumn,
        best: Vec<u128>,
        offered: Vec<u128>,
    },
    Rows {
        converter: RowConverter,
        best: ViewStore,
    },
}

impl OrderKeys {
    /// Keys of an ordering whose smallest key wins; to let the greatest win, reverse the options of every column
    /// ([`reversed`]). Without columns the row that arrived first wins, or with `latest_wins` the last.
    ///
    /// # Errors
    /// If a column's type has no order.
    pub fn try_new(columns: Vec<OrderColumn>, latest_wins: bool) -> Result<Self, ArrowError> {
        let keys = match <[OrderColumn; 1]>::try_from(columns) {
            Ok([column]) if has_words(&column.data_type) => Keys::Words { column, best: Vec::new(), offered: Vec::new() },
            Ok([column]) => Self::rows(&[column])?,
            Err(columns) if columns.is_empty() => Keys::Arrival { latest_wins },
            Err(columns) => Self::rows(&columns)?,
        };
        Ok(Self { keys, seen: BooleanBufferBuilder::new(0) })
    }

    fn rows(columns: &[OrderColumn]) -> Result<Keys, ArrowError> {
        let fields = columns.iter().map(|c| SortField::new_with_options(c.data_type.clone(), c.options)).collect();
        Ok(Keys::Rows { converter: RowConverter::new(fields)?, best: ViewStore::default() })
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
            Keys::Words { column, best, offered } => {
                best.resize(total_groups.max(best.len()), 0);
                write_words(&columns[0], column.options, offered);
                for_each_kept(groups, keep, |row, group| {
                    if offered[row] < best[group] || !seen.get_bit(group) {
                        seen.set_bit(group, true);
                        best[group] = offered[row];
                        moves.push((row as u32, group as u32));
                    }
                });
            }
            Keys::Rows { converter, best } => {
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
        }
        Ok(())
    }

    /// Takes the first `groups` groups out: their best keys as columns of the ordering (anything, for groups without a
    /// row), and which groups had a row. The others move down.
    pub fn take_first(&mut self, groups: usize) -> Result<(Vec<ArrayRef>, BooleanBuffer), ArrowError> {
        let seen = take_bits(&mut self.seen, groups);
        let columns = match &mut self.keys {
            Keys::Arrival { .. } => Vec::new(),
            Keys::Words { column, best, .. } => {
                best.resize(groups.max(best.len()), 0);
                vec![restore_column(&take_front(best, groups), column.options, &column.data_type)?]
            }
            Keys::Rows { converter, best } => {
                best.grow_to(groups);
                restore_rows(converter, best.take_first(groups), &seen)?
            }
        };
        Ok((columns, seen))
    }

    /// Forgets the first `groups` groups; the others move down.
    pub fn drop_first(&mut self, groups: usize) {
        take_bits(&mut self.seen, groups);
        match &mut self.keys {
            Keys::Arrival { .. } => {}
            Keys::Words { best, .. } => {
                best.resize(groups.max(best.len()), 0);
                take_front(best, groups);
            }
            Keys::Rows { best, .. } => {
                best.grow_to(groups);
                best.take_first(groups);
            }
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let keys = match &self.keys {
            Keys::Arrival { .. } => 0,
            Keys::Words { best, offered, .. } => (best.capacity() + offered.capacity()) * size_of::<u128>(),
            Keys::Rows { converter, best } => converter.size() + best.allocated_bytes(),
        };
        keys + self.seen.capacity() / 8
    }
}

/// The ordering under which the greatest key of `options` is the smallest.
pub fn reversed(options: SortOptions) -> SortOptions {
    SortOptions { descending: !options.descending, nulls_first: !options.nulls_first }
}

#[inline]
fn for_each_kept(groups: &[usize], keep: Option<&BooleanBuffer>, mut each: impl FnMut(usize, usize)) {
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
