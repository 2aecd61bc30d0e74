//! Customers of a shop: the columns, types and marginals of the public Customer Personality Analysis data set (2,240 customers; income missing in one of a
//! hundred and once absurd; birth years from 1893), in groups that a clustering can find.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder};

use crate::error::Error;
use crate::options::Summary;
use crate::randomness::{Stream, hash};
use crate::table::{self, TableOptions};

const EDUCATION: [&str; 5] = ["Graduation", "PhD", "Master", "2n Cycle", "Basic"];
const MARITAL_STATUS: [&str; 5] = ["Married", "Together", "Single", "Divorced", "Widow"];
/// Columns of whole numbers behind `Dt_Customer`.
const NUMBERS: [&str; 21] = [
    "Recency",
    "MntWines",
    "MntFruits",
    "MntMeatProducts",
    "MntFishProducts",
    "MntSweetProducts",
    "MntGoldProds",
    "NumDealsPurchases",
    "NumWebPurchases",
    "NumCatalogPurchases",
    "NumStorePurchases",
    "NumWebVisitsMonth",
    "AcceptedCmp3",
    "AcceptedCmp4",
    "AcceptedCmp5",
    "AcceptedCmp1",
    "AcceptedCmp2",
    "Complain",
    "Z_CostContact",
    "Z_Revenue",
    "Response",
];

/// A group of customers: how many in a thousand, income, share of income that is spent, children in a hundred, campaigns accepted in a thousand.
struct Group {
    weight: u32,
    income: f64,
    spending: f64,
    children_percent: u32,
    accepts: u32,
}

const GROUPS: [Group; 4] = [
    Group { weight: 260, income: 76_000.0, spending: 0.018, children_percent: 8, accepts: 160 },
    Group { weight: 250, income: 57_000.0, spending: 0.013, children_percent: 95, accepts: 60 },
    Group { weight: 330, income: 36_000.0, spending: 0.003, children_percent: 130, accepts: 50 },
    Group { weight: 160, income: 30_000.0, spending: 0.004, children_percent: 70, accepts: 40 },
];

/// Generates customers into the file `customer_personality.<format>`.
///
/// # Errors
/// Options that cannot be meant, or the file system's.
pub fn generate_customer_personality(options: &TableOptions) -> Result<Summary, Error> {
    options.validate()?;
    table::write(options, "customer_personality", &rows(options.rows, options.seed)?)
}

fn count(value: f64) -> i64 {
    value.max(0.0) as i64
}

fn rows(customers: u64, seed: u64) -> Result<RecordBatch, Error> {
    let mut columns = Columns::default();
    for number in 0..customers {
        columns.push(number, &mut Stream::new(hash(seed, 201, 0), number));
    }
    columns.finish()
}

#[derive(Default)]
struct Columns {
    id: Int64Builder,
    year_birth: Int64Builder,
    education: StringBuilder,
    marital_status: StringBuilder,
    income: Int64Builder,
    kidhome: Int64Builder,
    teenhome: Int64Builder,
    customer_since: StringBuilder,
    numbers: [Int64Builder; NUMBERS.len()],
}

impl Columns {
    fn push(&mut self, number: u64, stream: &mut Stream) {
        let mut draw = stream.below(1000);
        let group = GROUPS
            .iter()
            .find(|group| {
                let found = draw < group.weight;
                draw = draw.saturating_sub(group.weight);
                found
            })
            .unwrap_or(&GROUPS[0]);
        let income = (group.income * (1.0 + 0.15 * stream.normal())).max(1_730.0);
        let spent = (income * group.spending * (1.0 + 0.35 * stream.normal())).max(5.0);
        let children =
            i64::from(stream.below(100) < group.children_percent.min(100)) + i64::from(stream.below(100) + 100 < group.children_percent);
        let kids = if children > 0 { i64::from(stream.below(children as u32 + 1)) } else { 0 };
        // A few are from another century, and one income is a typing error.
        let year_birth =
            if stream.chance(1) { 1893 + i64::from(stream.below(8)) } else { count(1969.0 + 11.5 * stream.normal()).clamp(1940, 1996) };
        self.id.append_value(number as i64 * 5 + 1 + i64::from(stream.below(5)));
        self.year_birth.append_value(year_birth);
        self.education.append_value(EDUCATION[[0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4][stream.below(11) as usize]]);
        self.marital_status.append_value(MARITAL_STATUS[[0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4][stream.below(11) as usize]]);
        self.income.append_option(match number {
            7 => Some(666_666),
            _ => (!stream.chance(11)).then_some(income as i64),
        });
        self.kidhome.append_value(kids);
        self.teenhome.append_value(children - kids);
        let day = stream.below(700);
        let (year, month, day) = (2012 + (day + 210) / 365, 1 + (day / 30 + 7) % 12, 1 + day % 28);
        self.customer_since.append_value(format!("{day:02}-{month:02}-{year}"));
        let share = |stream: &mut Stream, part: f64| count(spent * part * (1.0 + 0.4 * stream.normal()));
        let wines = share(stream, 0.5);
        let mut numbers = vec![i64::from(stream.below(100)), wines];
        numbers.extend([0.043, 0.27, 0.062, 0.045, 0.073].map(|part| share(stream, part)));
        let visits = count(8.5 - income / 14_000.0 + 1.5 * stream.normal());
        let purchases = [2.3 + children as f64 - income / 60_000.0, 1.5 + spent / 250.0, spent / 220.0, 2.6 + spent / 190.0];
        numbers.extend(purchases.map(|mean| count(mean + 1.1 * stream.normal())));
        numbers.push(visits);
        for _ in 0..5 {
            numbers.push(i64::from(stream.chance(group.accepts)));
        }
        numbers.extend([i64::from(stream.chance(9)), 3, 11, i64::from(stream.chance(group.accepts * 2))]);
        for (column, value) in self.numbers.iter_mut().zip(numbers) {
            column.append_value(value);
        }
    }

    fn finish(mut self) -> Result<RecordBatch, Error> {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("ID", Arc::new(self.id.finish())),
            ("Year_Birth", Arc::new(self.year_birth.finish())),
            ("Education", Arc::new(self.education.finish())),
            ("Marital_Status", Arc::new(self.marital_status.finish())),
            ("Income", Arc::new(self.income.finish())),
            ("Kidhome", Arc::new(self.kidhome.finish())),
            ("Teenhome", Arc::new(self.teenhome.finish())),
            ("Dt_Customer", Arc::new(self.customer_since.finish())),
        ];
        for (name, mut column) in NUMBERS.into_iter().zip(self.numbers) {
            columns.push((name, Arc::new(column.finish())));
        }
        table::rows_of(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Int64Type;

    #[test]
    fn has_the_marginals_and_the_faults_of_the_real_customers() {
        let batch = rows(2_240, 42).unwrap();
        let ints = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let income = ints("Income");
        assert!((5..60).contains(&income.null_count()), "{}", income.null_count());
        assert_eq!(income.iter().flatten().max(), Some(666_666));
        let mean = income.iter().flatten().sum::<i64>() / 2_240;
        assert!((45_000..60_000).contains(&mean), "{mean}");
        let wines = ints("MntWines").values().iter().sum::<i64>() / 2_240;
        assert!((150..450).contains(&wines), "{wines}");
        assert!(ints("Year_Birth").values().iter().any(|year| *year < 1901));
        let ids: std::collections::HashSet<i64> = ints("ID").values().iter().copied().collect();
        assert_eq!(ids.len(), 2_240);
    }
}
