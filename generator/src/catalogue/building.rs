//! Builds the catalogue of a seed so that visitors see the published shares: categories first, then how popular each product is, then the
//! labels and prices, always by the weight that a product has among all views.

use super::vocabulary::{CATEGORY_CODES, SMARTPHONE, brand_name};
use super::{Catalogue, Category, Change, Labels, NO_BRAND, Product};
use crate::distribution::{alias, zipf_weights};
use crate::profile::{
    BRAND_MISSING, BRAND_MISSING_UNCODED_RATIO, BRANDS, CATEGORY_CODE_MISSING, CODED_CATEGORIES, MONTH_SECONDS, PRICE_LIMIT_CENTS,
    PRICE_ZERO, PRODUCT_VERSIONS, PRODUCTS, SMARTPHONES, UNCODED_CATEGORIES,
};
use crate::randomness::{Stream, hash};

/// The number of the stream that builds the catalogue, out of the way of those of the slices of time.
const STREAM: u64 = u64::MAX;
/// Smartphones are many views of few products.
const SMARTPHONE_PRODUCTS: u32 = 1_200;
/// How blunt the heads of the popularity of categories, products and brands are.
const CATEGORY_FLATNESS: f64 = 2.0;
const PRODUCT_FLATNESS: f64 = 4.0;
const BRAND_FLATNESS: f64 = 0.0;
/// No free product makes more than this share of the views of free products that are still missing.
const FREE_PRODUCT_SHARE: f64 = 0.02;
/// Out of a hundred products whose labels change, so many had no brand before; the others were in another category.
const BRAND_CHANGES_PER_HUNDRED: u32 = 70;
/// Product ids of a category lie in a range of this width.
const PRODUCT_IDS_WIDTH: u32 = 83_000;
const PRODUCT_IDS_FROM: u32 = 1_000_000;
const CATEGORY_IDS_FROM: i64 = 2_053_013_551_000_000_000;
const CATEGORY_IDS_STEP: i64 = 25_165_824;

/// Prices in cents at quantiles of the list prices that visitors see.
const PRICE_QUANTILES: [(f64, f64); 12] = [
    (0.0, 80.0),
    (0.01, 579.0),
    (0.05, 1_820.0),
    (0.10, 2_951.0),
    (0.25, 5_979.0),
    (0.50, 15_442.0),
    (0.75, 36_008.0),
    (0.90, 74_723.0),
    (0.95, 105_279.0),
    (0.99, 174_779.0),
    (0.999, 250_000.0),
    (1.0, 256_000.0),
];

/// What the steps of building hand on to each other.
struct Draft {
    stream: Stream,
    categories: Vec<Category>,
    category_weights: Vec<f64>,
    products: Vec<Product>,
    /// Each product's share of all views.
    weights: Vec<f64>,
    /// Whether a later step must leave the product's labels or price alone.
    settled: Vec<bool>,
    changes: Vec<Change>,
}

impl Catalogue {
    /// The catalogue of a seed.
    pub fn new(seed: u64) -> Self {
        let mut draft = Draft::with_categories(seed);
        draft.add_products();
        draft.set_prices();
        draft.plan_changes();
        draft.remove_brands();
        draft.set_brands();
        draft.finish_changes();
        draft.into_catalogue(seed)
    }
}

impl Draft {
    fn with_categories(seed: u64) -> Self {
        let mut stream = Stream::new(seed, STREAM);
        let mut codes = CATEGORY_CODES;
        stream.shuffle(&mut codes);
        let mut weights = vec![SMARTPHONES];
        let mut categories = Vec::new();
        let coded = zipf_weights(CODED_CATEGORIES - 1, CATEGORY_FLATNESS);
        let uncoded = zipf_weights(UNCODED_CATEGORIES, CATEGORY_FLATNESS);
        for (shares, total) in [(coded, 1.0 - CATEGORY_CODE_MISSING - SMARTPHONES), (uncoded, CATEGORY_CODE_MISSING)] {
            let sum: f64 = shares.iter().sum();
            weights.extend(shares.iter().map(|share| share / sum * total));
        }
        for category in 0..weights.len() {
            let code = match category {
                0 => Some(SMARTPHONE),
                1..CODED_CATEGORIES if category <= codes.len() => Some(codes[category - 1]),
                1..CODED_CATEGORIES => Some(codes[stream.below(codes.len() as u32) as usize]),
                _ => None,
            };
            let jitter = (hash(seed, 32, category as u64) % CATEGORY_IDS_STEP as u64) as i64;
            let id = CATEGORY_IDS_FROM + category as i64 * CATEGORY_IDS_STEP + jitter;
            categories.push(Category { id, code, first_product: 0, products: 0 });
        }
        Draft {
            stream,
            categories,
            category_weights: weights,
            products: Vec::with_capacity(PRODUCTS as usize),
            weights: Vec::with_capacity(PRODUCTS as usize),
            settled: vec![false; PRODUCTS as usize],
            changes: Vec::new(),
        }
    }

    /// Gives each category its products: the more views, the more products, but by the square root only.
    fn add_products(&mut self) {
        let others: f64 = self.category_weights[1..].iter().map(|weight| weight.sqrt()).sum();
        let mut sum = 0.0;
        let mut slots: Vec<u32> = (1..self.categories.len() as u32).collect();
        self.stream.shuffle(&mut slots);
        for (index, category) in self.categories.iter_mut().enumerate() {
            let first = self.products.len() as u32;
            let end = if index == 0 {
                SMARTPHONE_PRODUCTS
            } else {
                sum += self.category_weights[index].sqrt();
                SMARTPHONE_PRODUCTS + (sum / others * f64::from(PRODUCTS - SMARTPHONE_PRODUCTS) + 0.5) as u32
            };
            let count = end.min(PRODUCTS) - first;
            (category.first_product, category.products) = (first, count);
            let shares = zipf_weights(count as usize, PRODUCT_FLATNESS);
            let total: f64 = shares.iter().sum();
            self.weights.extend(shares.iter().map(|share| share / total * self.category_weights[index]));
            let slot = if index == 0 { 0 } else { slots[index - 1] };
            let mut places: Vec<u32> = (0..count).collect();
            self.stream.shuffle(&mut places);
            let step = PRODUCT_IDS_WIDTH / count.max(1);
            for place in places {
                let id = PRODUCT_IDS_FROM + slot * PRODUCT_IDS_WIDTH + place * step + self.stream.below(step);
                let labels = Labels { category: index as u16, brand: NO_BRAND };
                self.products.push(Product { id, price_cents: 0, labels, change: 0 });
            }
        }
    }

    /// Prices: each category has its level. Some unpopular products are free; the leaders of three categories cost as much as is possible.
    fn set_prices(&mut self) {
        // Levels follow the golden ratio, so that the large categories are cheap and dear in turn whatever the seed.
        let mut level = self.stream.unit();
        for (index, category) in self.categories.iter().enumerate() {
            let (middle, spread) = if index == 0 { (0.69, 0.66) } else { (0.05 + 0.70 * level, 0.8) };
            level = (level + 0.618_033_988_75) % 1.0;
            for product in category.range() {
                let quantile = middle + spread * (self.stream.unit() - 0.5);
                self.products[product].price_cents = price_at_quantile(folded(quantile));
            }
        }
        for category in [3, 40, CODED_CATEGORIES + 20] {
            let leader = self.categories[category].first_product as usize;
            self.products[leader].price_cents = PRICE_LIMIT_CENTS;
        }
        let mut missing = PRICE_ZERO;
        for _ in 0..PRODUCTS {
            let product = self.stream.below(PRODUCTS) as usize;
            let entry = &mut self.products[product];
            if entry.price_cents > 0 && entry.price_cents < PRICE_LIMIT_CENTS && self.weights[product] <= missing * FREE_PRODUCT_SHARE {
                missing -= self.weights[product];
                entry.price_cents = 0;
            }
        }
    }

    /// Chooses the products whose labels change: not the popular ones, but popular enough to be seen before and after.
    fn plan_changes(&mut self) {
        while self.changes.len() < (PRODUCT_VERSIONS - PRODUCTS) as usize {
            let product = self.stream.below(PRODUCTS) as usize;
            if self.settled[product] || !(0.2..0.7).contains(&self.rank_in_category(product)) {
                continue;
            }
            let second = MONTH_SECONDS / 6 + self.stream.below(MONTH_SECONDS / 6 * 4);
            self.settled[product] = true;
            self.changes.push(Change { second, earlier: Labels { category: self.products[product].labels.category, brand: NO_BRAND } });
            self.products[product].change = self.changes.len() as u16;
        }
    }

    /// Marks the products without a brand, as settled: as many as the published shares want, smartphones excepted.
    fn remove_brands(&mut self) {
        let coded = BRAND_MISSING / (1.0 - CATEGORY_CODE_MISSING + CATEGORY_CODE_MISSING * BRAND_MISSING_UNCODED_RATIO);
        let coded_share = coded * (1.0 - CATEGORY_CODE_MISSING);
        let first_uncoded = self.categories[CODED_CATEGORIES].first_product;
        for (range, share) in [(0..first_uncoded, coded_share), (first_uncoded..PRODUCTS, BRAND_MISSING - coded_share)] {
            let mut missing = share - self.brandless_before_change(range.clone());
            let mut order: Vec<u32> = range.filter(|product| *product >= SMARTPHONE_PRODUCTS).collect();
            self.stream.shuffle(&mut order);
            for product in order.into_iter().map(|product| product as usize) {
                if !self.settled[product] && self.weights[product] <= missing {
                    missing -= self.weights[product];
                    self.settled[product] = true;
                }
            }
        }
    }

    /// The share of views of products that get their brand in the course of the month, before they have it.
    fn brandless_before_change(&self, products: std::ops::Range<u32>) -> f64 {
        products
            .map(|product| product as usize)
            .filter(|product| self.products[*product].change > 0 && self.gets_brand(*product))
            .map(|product| {
                let change = &self.changes[usize::from(self.products[product].change) - 1];
                self.weights[product] * f64::from(change.second) / f64::from(MONTH_SECONDS)
            })
            .sum()
    }

    /// Whether the change of a product is that it gets a brand (rather than another category).
    fn gets_brand(&self, product: usize) -> bool {
        u32::from(self.products[product].change) % 100 < BRAND_CHANGES_PER_HUNDRED
    }

    /// Gives all products with a brand one. A category has brands of its own and some that other categories have too; the leading ones make
    /// most of its products. Every brand has at least one product.
    fn set_brands(&mut self) {
        let sizes: Vec<u32> = self.categories.iter().map(|category| (3 + f64::from(category.products).sqrt() as u32).min(60)).collect();
        let mut seats: u32 = sizes.iter().sum();
        let mut next_brand = 0u32;
        for (index, size) in sizes.into_iter().enumerate() {
            // The brands not yet used are spread evenly over the seats that are left; the first category takes new ones only.
            let fresh = if index == 0 { size } else { ((BRANDS - next_brand) * size).div_ceil(seats) };
            let mut brands: Vec<u32> = (next_brand..next_brand + fresh).collect();
            for _ in fresh..size {
                // The smallest of three: brands of the large categories, which come first, are everywhere.
                let known = (0..3).map(|_| self.stream.below(next_brand)).min().unwrap_or(0);
                if !brands.contains(&known) {
                    brands.push(known);
                }
            }
            seats -= size;
            next_brand += fresh;
            if index > 0 {
                self.stream.shuffle(&mut brands);
            }
            self.share_out_brands(index, &brands);
        }
    }

    fn share_out_brands(&mut self, category: usize, brands: &[u32]) {
        let weights = zipf_weights(brands.len(), BRAND_FLATNESS);
        let (mut thresholds, mut aliases) = (vec![0; brands.len()], vec![0; brands.len()]);
        alias::fill(&weights, &mut thresholds, &mut aliases);
        let branded: Vec<usize> = self.categories[category]
            .range()
            .filter(|product| if self.products[*product].change > 0 { true } else { !self.settled[*product] })
            .collect();
        for product in &branded {
            self.products[*product].labels.brand = brands[alias::draw(&mut self.stream, &thresholds, &aliases) as usize] as u16;
        }
        // From the middle of the popularity on, one product for each brand, so that none is left out and the leaders stay as they are.
        for (product, brand) in branded.iter().skip(branded.len() / 3).zip(brands) {
            self.products[*product].labels.brand = *brand as u16;
        }
    }

    /// Settles what the changing products were before: without their brand, or in another category.
    fn finish_changes(&mut self) {
        for product in 0..self.products.len() {
            let Product { labels, change, .. } = self.products[product];
            if change == 0 || self.gets_brand(product) {
                continue;
            }
            let others = self.categories.len() as u32 - 1;
            let category = (u32::from(labels.category) + 1 + self.stream.below(others)) % (others + 1);
            self.changes[usize::from(change) - 1].earlier = Labels { category: category as u16, brand: labels.brand };
        }
    }

    /// Where a product stands in its category: 0 is the most popular, towards 1 the least.
    fn rank_in_category(&self, product: usize) -> f64 {
        let category = &self.categories[usize::from(self.products[product].labels.category)];
        (product as u32 - category.first_product) as f64 / f64::from(category.products)
    }

    fn into_catalogue(self, seed: u64) -> Catalogue {
        let (mut category_thresholds, mut category_aliases) = (vec![0; self.categories.len()], vec![0; self.categories.len()]);
        alias::fill(&self.category_weights, &mut category_thresholds, &mut category_aliases);
        let (mut product_thresholds, mut product_aliases) = (vec![0; self.products.len()], vec![0; self.products.len()]);
        for category in &self.categories {
            let range = category.range();
            alias::fill(&self.weights[range.clone()], &mut product_thresholds[range.clone()], &mut product_aliases[range]);
        }
        Catalogue {
            seed,
            products: self.products,
            categories: self.categories,
            brands: (0..BRANDS as usize).map(brand_name).collect(),
            changes: self.changes,
            category_thresholds,
            category_aliases,
            product_thresholds,
            product_aliases,
        }
    }
}

impl Category {
    fn range(&self) -> std::ops::Range<usize> {
        self.first_product as usize..(self.first_product + self.products) as usize
    }
}

/// Reflects a number that is a little outside 0 to 1 at the border it crossed.
fn folded(quantile: f64) -> f64 {
    let quantile = quantile.abs();
    if quantile > 1.0 { 2.0 - quantile } else { quantile }
}

/// Interpolates the prices visitors see.
fn price_at_quantile(quantile: f64) -> u32 {
    let above = PRICE_QUANTILES.partition_point(|(at, _)| *at <= quantile).clamp(1, PRICE_QUANTILES.len() - 1);
    let ((low, low_price), (high, high_price)) = (PRICE_QUANTILES[above - 1], PRICE_QUANTILES[above]);
    (low_price + (high_price - low_price) * (quantile - low) / (high - low) + 0.5) as u32
}
