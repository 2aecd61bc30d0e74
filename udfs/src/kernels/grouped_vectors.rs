//! Vectors of numbers by group, kept whole: for aggregates that need all rows of a group at once.

use arrow::error::ArrowError;

/// Vectors of each group; all of a group have one length. A number that is missing is NaN.
#[derive(Debug, Default)]
pub struct GroupedVectors {
    /// Length of the vectors of each group; 0 of a group without.
    widths: Vec<u32>,
    /// The group of each vector.
    groups: Vec<u32>,
    /// The vectors one after the other, in the order of `groups`.
    values: Vec<f64>,
}

/// Vectors in the order of their groups.
#[derive(Debug, PartialEq)]
pub struct Taken {
    /// Length of the vectors of each group.
    pub widths: Vec<usize>,
    /// Where the numbers of each group begin, and where the last ones end.
    pub starts: Vec<usize>,
    /// The numbers.
    pub values: Vec<f64>,
}

impl Taken {
    /// The numbers of a group.
    pub fn group(&self, group: usize) -> &[f64] {
        &self.values[self.starts[group]..self.starts[group + 1]]
    }
}

impl GroupedVectors {
    /// Makes room for groups.
    pub fn grow_to(&mut self, groups: usize) {
        if self.widths.len() < groups {
            self.widths.resize(groups, 0);
        }
    }

    /// Adds vectors of a group that exists: `values` one after the other, each of `width` numbers.
    ///
    /// # Errors
    /// The group has vectors of another length, or `width` is 0.
    pub fn add(&mut self, group: usize, width: usize, values: impl ExactSizeIterator<Item = f64>) -> Result<(), ArrowError> {
        let known = self.widths[group] as usize;
        if width == 0 {
            return Err(ArrowError::ComputeError("has an empty list".to_string()));
        }
        if known != 0 && known != width {
            let (less, more) = (known.min(width), known.max(width));
            return Err(ArrowError::ComputeError(format!("has lists of {less} and of {more} numbers in one group")));
        }
        self.widths[group] =
            u32::try_from(width).map_err(|_| ArrowError::ComputeError("has a list of over 4 billion numbers".to_string()))?;
        self.groups.resize(self.groups.len() + values.len() / width, group as u32);
        self.values.extend(values);
        Ok(())
    }

    /// Takes the vectors of the first `groups` groups out, each in the order in which they came; the other groups move down.
    pub fn take_first(&mut self, groups: usize) -> Taken {
        self.grow_to(groups);
        let mut lengths = vec![0; groups];
        for group in &self.groups {
            if let Some(length) = lengths.get_mut(*group as usize) {
                *length += self.widths[*group as usize] as usize;
            }
        }
        let mut starts = vec![0; groups + 1];
        for (group, length) in lengths.iter().enumerate() {
            starts[group + 1] = starts[group] + length;
        }
        let mut values = vec![0.0; starts[groups]];
        let mut ends = starts.clone();
        let mut rest = Self { widths: self.widths.split_off(groups), ..Self::default() };
        let mut from = self.values.as_slice();
        for group in &self.groups {
            let group = *group as usize;
            let width = self.widths.get(group).or_else(|| rest.widths.get(group.wrapping_sub(groups))).map_or(0, |width| *width as usize);
            let (vector, after) = from.split_at(width);
            from = after;
            if group < groups {
                values[ends[group]..ends[group] + width].copy_from_slice(vector);
                ends[group] += width;
            } else {
                rest.groups.push((group - groups) as u32);
                rest.values.extend_from_slice(vector);
            }
        }
        let widths = std::mem::replace(self, rest).widths.into_iter().map(|width| width as usize).collect();
        Taken { widths, starts, values }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        (self.widths.capacity() + self.groups.capacity()) * size_of::<u32>() + self.values.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_out_in_their_order() {
        let mut vectors = GroupedVectors::default();
        vectors.grow_to(3);
        vectors.add(2, 2, [1.0, 2.0].into_iter()).unwrap();
        vectors.add(0, 1, [3.0, 4.0].into_iter()).unwrap();
        vectors.add(2, 2, [5.0, 6.0, 7.0, 8.0].into_iter()).unwrap();
        assert_eq!(vectors.take_first(2), Taken { widths: vec![1, 0], starts: vec![0, 2, 2], values: vec![3.0, 4.0] });
        let rest = vectors.take_first(1);
        assert_eq!((rest.widths.as_slice(), rest.group(0)), (&[2][..], &[1.0, 2.0, 5.0, 6.0, 7.0, 8.0][..]));
        assert_eq!(vectors.take_first(0), Taken { widths: vec![], starts: vec![0], values: vec![] });
    }

    #[test]
    fn lengths_must_agree_within_a_group() {
        let mut vectors = GroupedVectors::default();
        vectors.grow_to(2);
        vectors.add(0, 2, [1.0, 2.0].into_iter()).unwrap();
        vectors.add(1, 3, [1.0, 2.0, 3.0].into_iter()).unwrap();
        assert!(vectors.add(0, 3, [1.0, 2.0, 3.0].into_iter()).unwrap_err().to_string().contains("of 2 and of 3"));
        assert!(vectors.add(0, 0, [].into_iter()).is_err());
    }
}
