//! Black Friday sales: the columns, types and marginals of the public data set of that name (550,068 sales of 3,631 products to 5,891 customers, mean amount
//! 9,264, category 2 missing in a third and category 3 in two thirds of the rows), with tastes that a recommender can find.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder};

use crate::error::Error;
use crate::options::Summary;
use crate::randomness::{Stream, hash, unit};
use crate::table::{self, TableOptions};

/// Makes a customer buy 93.4 times on average, see [`customer`].
const SALES_SCALE: f64 = 100.7;
const PRODUCTS: u32 = 3631;
/// The share of products that a customer may buy at most, so that drawing without repeats ends soon.
const MOST_SALES: u32 = PRODUCTS / 3;
const AGE_GROUPS: [(&str, u32); 7] =
    [("0-17", 27), ("18-25", 181), ("26-35", 400), ("36-45", 200), ("46-50", 83), ("51-55", 70), ("55+", 39)];
/// Shares of the first categories in thousandths; the rest is spread over the others.
const CATEGORIES: [u32; 20] = [255, 43, 37, 21, 274, 37, 7, 207, 1, 9, 44, 7, 10, 3, 11, 18, 1, 6, 3, 6];
/// Tastes: directions in which customers and products differ.
const TASTES: usize = 3;

/// What of a random stream is drawn for what.
mod purpose {
    pub(super) const CUSTOMER: u64 = 101;
    pub(super) const PRODUCT: u64 = 102;
    pub(super) const SALE: u64 = 103;
}

struct Product {
    id: String,
    categories: [Option<i64>; 3],
    base_amount: f64,
    tastes: [f64; TASTES],
}

struct Customer {
    gender: &'static str,
    age_group: &'static str,
    occupation: i64,
    city: &'static str,
    years_in_city: &'static str,
    married: i64,
    tastes: [f64; TASTES],
    sales: u32,
}

/// Generates sales into the file `black_friday.<format>`.
///
/// # Errors
/// Options that cannot be meant, or the file system's.
pub fn generate_black_friday(options: &TableOptions) -> Result<Summary, Error> {
    options.validate()?;
    table::write(options, "black_friday", &rows(options.rows, options.seed)?)
}

fn rows(sales: u64, seed: u64) -> Result<RecordBatch, Error> {
    let products: Vec<Product> = (0..PRODUCTS).map(|number| product(seed, number)).collect();
    let mut columns = Columns::default();
    let mut left = sales;
    let mut number = 0_u64;
    while left > 0 {
        let customer = customer(seed, number);
        let wanted = u64::from(customer.sales).min(left);
        let mut stream = Stream::new(hash(seed, purpose::SALE, 0), number);
        let mut bought = HashSet::new();
        while (bought.len() as u64) < wanted {
            // Popular products come first: the square makes the first tenth of them a third of the sales.
            let draw = stream.unit();
            let at = ((draw * draw) * f64::from(PRODUCTS)) as usize;
            if bought.insert(at) {
                columns.push(1_000_001 + number as i64, &customer, &products[at], &mut stream);
            }
        }
        left -= wanted;
        number += 1;
    }
    columns.finish()
}

fn tastes(stream: &mut Stream) -> [f64; TASTES] {
    std::array::from_fn(|_| stream.normal())
}

fn pick<T: Copy>(stream: &mut Stream, weighted: &[(T, u32)]) -> T {
    let mut draw = stream.below(weighted.iter().map(|(_, weight)| weight).sum());
    for (value, weight) in weighted {
        if draw < *weight {
            return *value;
        }
        draw -= weight;
    }
    weighted[0].0
}

fn product(seed: u64, number: u32) -> Product {
    let mut stream = Stream::new(hash(seed, purpose::PRODUCT, 0), u64::from(number));
    let weighted: Vec<(i64, u32)> = CATEGORIES.iter().enumerate().map(|(at, weight)| (at as i64 + 1, *weight)).collect();
    let first = pick(&mut stream, &weighted);
    let second = (!stream.chance(316)).then(|| first + 1 + i64::from(stream.below(6))).filter(|category| *category <= 18);
    let third =
        second.filter(|_| !stream.chance(440)).map(|second| second + 1 + i64::from(stream.below(4))).filter(|category| *category <= 18);
    // Categories have price levels of their own; a hash spreads them over 2,000 to 17,000.
    let level = 2_000.0 + 15_000.0 * unit(hash(seed, purpose::PRODUCT, first as u64 + 1));
    let base_amount = level * (0.7 + 0.6 * stream.unit());
    // Numbers of products have gaps, as real ones have.
    let id = format!("P{:08}", u64::from(number) * 102 + 42 + u64::from(stream.below(60)));
    Product { id, categories: [Some(first), second, third], base_amount, tastes: tastes(&mut stream) }
}

fn customer(seed: u64, number: u64) -> Customer {
    let mut stream = Stream::new(hash(seed, purpose::CUSTOMER, 0), number);
    // The share of customers with more than n sales falls with the square of n: few buy much.
    let draw = stream.unit();
    let sales = 6.0 + SALES_SCALE * (1.0 / (1.0 - 0.995 * draw).sqrt() - 1.0);
    Customer {
        gender: if stream.chance(717) { "M" } else { "F" },
        age_group: pick(&mut stream, &AGE_GROUPS),
        occupation: i64::from(stream.below(21)),
        city: pick(&mut stream, &[("A", 177), ("B", 290), ("C", 533)]),
        years_in_city: pick(&mut stream, &[("0", 135), ("1", 352), ("2", 185), ("3", 173), ("4+", 155)]),
        married: i64::from(stream.chance(420)),
        tastes: tastes(&mut stream),
        sales: (sales as u32).clamp(6, MOST_SALES),
    }
}

#[derive(Default)]
struct Columns {
    user_id: Int64Builder,
    product_id: StringBuilder,
    gender: StringBuilder,
    age: StringBuilder,
    occupation: Int64Builder,
    city: StringBuilder,
    years_in_city: StringBuilder,
    married: Int64Builder,
    categories: [Int64Builder; 3],
    purchase: Int64Builder,
}

impl Columns {
    fn push(&mut self, user_id: i64, customer: &Customer, product: &Product, stream: &mut Stream) {
        self.user_id.append_value(user_id);
        self.product_id.append_value(&product.id);
        self.gender.append_value(customer.gender);
        self.age.append_value(customer.age_group);
        self.occupation.append_value(customer.occupation);
        self.city.append_value(customer.city);
        self.years_in_city.append_value(customer.years_in_city);
        self.married.append_value(customer.married);
        for (column, category) in self.categories.iter_mut().zip(product.categories) {
            column.append_option(category);
        }
        let liking: f64 = customer.tastes.iter().zip(product.tastes).map(|(one, other)| one * other).sum();
        let amount = product.base_amount * (1.0 + 0.12 * liking + 0.15 * stream.normal());
        self.purchase.append_value(amount.clamp(12.0, 23_961.0) as i64);
    }

    fn finish(mut self) -> Result<RecordBatch, Error> {
        let [mut first, mut second, mut third] = self.categories;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("User_ID", Arc::new(self.user_id.finish())),
            ("Product_ID", Arc::new(self.product_id.finish())),
            ("Gender", Arc::new(self.gender.finish())),
            ("Age", Arc::new(self.age.finish())),
            ("Occupation", Arc::new(self.occupation.finish())),
            ("City_Category", Arc::new(self.city.finish())),
            ("Stay_In_Current_City_Years", Arc::new(self.years_in_city.finish())),
            ("Marital_Status", Arc::new(self.married.finish())),
            ("Product_Category_1", Arc::new(first.finish())),
            ("Product_Category_2", Arc::new(second.finish())),
            ("Product_Category_3", Arc::new(third.finish())),
            ("Purchase", Arc::new(self.purchase.finish())),
        ];
        table::rows_of(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;

    #[test]
    fn has_the_marginals_of_the_real_sales() {
        let batch = rows(200_000, 42).unwrap();
        let ints = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let users: HashSet<i64> = ints("User_ID").values().iter().copied().collect();
        let products: HashSet<&str> = batch.column_by_name("Product_ID").unwrap().as_string::<i32>().iter().flatten().collect();
        let sales_per_customer = 200_000.0 / users.len() as f64;
        assert!((75.0..115.0).contains(&sales_per_customer), "{sales_per_customer}");
        assert!(products.len() > 3_500 && products.len() <= 3_631);
        let mean = ints("Purchase").values().iter().sum::<i64>() as f64 / 200_000.0;
        assert!((8_000.0..11_000.0).contains(&mean), "{mean}");
        let missing = |name: &str| ints(name).iter().filter(Option::is_none).count() as f64 / 200_000.0;
        assert!((0.25..0.55).contains(&missing("Product_Category_2")), "{}", missing("Product_Category_2"));
        assert!((0.55..0.85).contains(&missing("Product_Category_3")), "{}", missing("Product_Category_3"));
        let pairs: HashSet<(i64, &str)> = ints("User_ID")
            .values()
            .iter()
            .copied()
            .zip(batch.column_by_name("Product_ID").unwrap().as_string::<i32>().iter().flatten())
            .collect();
        assert_eq!(pairs.len(), 200_000, "a customer buys a product once");
    }

    #[test]
    fn equal_seeds_give_equal_sales() {
        assert_eq!(rows(1_000, 7).unwrap(), rows(1_000, 7).unwrap());
        assert_ne!(rows(1_000, 7).unwrap(), rows(1_000, 8).unwrap());
        assert_eq!(rows(1, 7).unwrap().num_rows(), 1);
    }
}
