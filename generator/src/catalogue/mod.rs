//! The products of the shop: what they are, what they cost and how often they are looked at.
//!
//! The catalogue does not depend on how many events are generated: a small data set sees its popular part, a large one all of it.

mod building;
mod vocabulary;

use crate::distribution::alias;
use crate::profile::PRICE_LIMIT_CENTS;
use crate::randomness::{Stream, hash, scaled};

/// The price of a drifting product may change this often.
const PRICE_PERIOD_SECONDS: u32 = 10 * 86_400;
/// Out of a thousand products, so many keep one price all month.
const STEADY_PRICES_PER_THOUSAND: u32 = 600;
/// A drifting price moves by at most so many thousandths.
const DRIFT_LIMIT_PER_THOUSAND: u32 = 40;

/// A product as it is sold at the end of the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Product {
    id: u32,
    price_cents: u32,
    labels: Labels,
    /// 1 + the index of the change of its labels; 0 if they never change.
    change: u16,
}

/// What a product is filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Labels {
    category: u16,
    brand: u16,
}

/// The brand of products without one.
const NO_BRAND: u16 = u16::MAX;

/// Before a second of the month, a product was filed differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    second: u32,
    earlier: Labels,
}

#[derive(Debug, Clone, PartialEq)]
struct Category {
    id: i64,
    code: Option<&'static str>,
    first_product: u32,
    products: u32,
}

/// The columns of a row that follow from its product and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Description<'a> {
    /// The raw product id.
    pub product_id: i64,
    /// The raw category id.
    pub category_id: i64,
    /// A dotted path such as `electronics.smartphone`; a third of the rows has none.
    pub category_code: Option<&'a str>,
    /// The brand in lower case.
    pub brand: Option<&'a str>,
    /// The price in cents.
    pub price_cents: u32,
}

/// All products, grouped by category, within a category the most popular first.
#[derive(Debug)]
pub(crate) struct Catalogue {
    seed: u64,
    products: Vec<Product>,
    categories: Vec<Category>,
    brands: Vec<String>,
    changes: Vec<Change>,
    category_thresholds: Vec<u32>,
    category_aliases: Vec<u32>,
    product_thresholds: Vec<u32>,
    product_aliases: Vec<u32>,
}

impl Catalogue {
    /// A category as visitors choose it, from 64 random bits.
    pub fn pick_category(&self, bits: u64) -> u32 {
        alias::pick(bits, &self.category_thresholds, &self.category_aliases)
    }

    /// A product of a category as visitors choose it.
    pub fn draw_product(&self, stream: &mut Stream, category: u32) -> u32 {
        let category = &self.categories[category as usize];
        let range = category.first_product as usize..(category.first_product + category.products) as usize;
        category.first_product + alias::draw(stream, &self.product_thresholds[range.clone()], &self.product_aliases[range])
    }

    /// A product's columns at a second of the month.
    pub fn describe(&self, product: u32, second: u32) -> Description<'_> {
        let entry = &self.products[product as usize];
        let mut labels = entry.labels;
        if entry.change > 0 {
            let change = &self.changes[usize::from(entry.change) - 1];
            if second < change.second {
                labels = change.earlier;
            }
        }
        let category = &self.categories[usize::from(labels.category)];
        Description {
            product_id: i64::from(entry.id),
            category_id: category.id,
            category_code: category.code,
            brand: self.brands.get(usize::from(labels.brand)).map(String::as_str),
            price_cents: self.price_at(product, entry.price_cents, second),
        }
    }

    fn price_at(&self, product: u32, list_price_cents: u32, second: u32) -> u32 {
        let temper = hash(self.seed, 30, u64::from(product));
        if list_price_cents == 0 || list_price_cents == PRICE_LIMIT_CENTS || scaled(temper as u32, 1000) < STEADY_PRICES_PER_THOUSAND {
            return list_price_cents;
        }
        let phase = scaled((temper >> 32) as u32, PRICE_PERIOD_SECONDS);
        let period = (second + phase) / PRICE_PERIOD_SECONDS;
        let drift = scaled(hash(temper, 31, u64::from(period)) as u32, 2 * DRIFT_LIMIT_PER_THOUSAND + 1);
        let cents = u64::from(list_price_cents) * u64::from(1000 - DRIFT_LIMIT_PER_THOUSAND + drift) / 1000;
        (cents as u32).clamp(1, PRICE_LIMIT_CENTS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::profile::{
        BRAND_MISSING, BRANDS, CATEGORY_CODE_MISSING, MONTH_SECONDS, PRICE_ZERO, PRODUCT_VERSIONS, PRODUCTS, SMARTPHONES,
    };

    #[test]
    fn the_catalogue_has_the_published_size() {
        let catalogue = Catalogue::new(42);
        let mut versions = HashSet::new();
        let mut ids = HashSet::new();
        let mut brands = HashSet::new();
        for product in 0..catalogue.products.len() as u32 {
            for second in [0, MONTH_SECONDS - 1] {
                let description = catalogue.describe(product, second);
                ids.insert(description.product_id);
                brands.extend(description.brand);
                versions.insert((description.product_id, description.category_id, description.category_code, description.brand));
            }
        }
        assert_eq!(ids.len() as u32, PRODUCTS);
        assert_eq!(versions.len() as u32, PRODUCT_VERSIONS);
        assert_eq!(brands.len() as u32, BRANDS);
    }

    #[test]
    fn visitors_see_the_published_shares() {
        for seed in [1, 42] {
            let catalogue = Catalogue::new(seed);
            let mut stream = Stream::new(seed, 77);
            let draws = 400_000;
            let (mut brandless, mut uncoded, mut free, mut phones, mut highest) = (0, 0, 0, 0, 0);
            for _ in 0..draws {
                let category = catalogue.pick_category(stream.long());
                let product = catalogue.draw_product(&mut stream, category);
                let description = catalogue.describe(product, stream.below(MONTH_SECONDS));
                brandless += u32::from(description.brand.is_none());
                uncoded += u32::from(description.category_code.is_none());
                free += u32::from(description.price_cents == 0);
                phones += u32::from(description.category_code == Some("electronics.smartphone"));
                highest = highest.max(description.price_cents);
            }
            let close = |count: u32, share: f64, tolerance: f64| {
                let got = f64::from(count) / f64::from(draws);
                assert!((got - share).abs() < tolerance, "seed {seed}: {got} instead of {share}");
            };
            close(brandless, BRAND_MISSING, 0.004);
            close(uncoded, CATEGORY_CODE_MISSING, 0.004);
            close(free, PRICE_ZERO, 0.0004);
            close(phones, SMARTPHONES, 0.004);
            assert_eq!(highest, PRICE_LIMIT_CENTS);
        }
    }

    #[test]
    fn seeds_give_different_catalogues() {
        let prices = |seed| {
            let catalogue = Catalogue::new(seed);
            (0..500).map(|product| catalogue.describe(product, 0).price_cents).collect::<Vec<_>>()
        };
        assert_eq!(prices(1), prices(1));
        assert_ne!(prices(1), prices(2));
    }
}
