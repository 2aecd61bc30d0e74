//! The words of the catalogue: category codes and invented brand names.

/// The code of the largest category.
pub(super) const SMARTPHONE: &str = "electronics.smartphone";

/// The other category codes: department, then group, then kind of product.
pub(super) const CATEGORY_CODES: [&str; 125] = [
    "accessories.backpack",
    "accessories.belt",
    "accessories.briefcase",
    "accessories.glove",
    "accessories.suitcase",
    "accessories.umbrella",
    "accessories.wallet",
    "apparel.cap",
    "apparel.cardigan",
    "apparel.coat",
    "apparel.dress",
    "apparel.hoodie",
    "apparel.jacket",
    "apparel.jeans",
    "apparel.pyjamas",
    "apparel.raincoat",
    "apparel.scarf",
    "apparel.shirt",
    "apparel.shoes.boots",
    "apparel.shoes.loafers",
    "apparel.shoes.sandals",
    "apparel.shoes.slippers",
    "apparel.shoes.sneakers",
    "apparel.shorts",
    "apparel.skirt",
    "apparel.socks",
    "apparel.sweater",
    "apparel.trousers",
    "apparel.tshirt",
    "apparel.underwear",
    "appliances.bathroom.scales",
    "appliances.bathroom.shaver",
    "appliances.bathroom.water_heater",
    "appliances.climate.air_conditioner",
    "appliances.climate.dehumidifier",
    "appliances.climate.fan",
    "appliances.climate.heater",
    "appliances.cleaning.iron",
    "appliances.cleaning.steam_mop",
    "appliances.cleaning.vacuum",
    "appliances.cleaning.washer",
    "appliances.kitchen.blender",
    "appliances.kitchen.coffee_grinder",
    "appliances.kitchen.coffee_machine",
    "appliances.kitchen.cooker",
    "appliances.kitchen.dishwasher",
    "appliances.kitchen.freezer",
    "appliances.kitchen.fryer",
    "appliances.kitchen.grill",
    "appliances.kitchen.hob",
    "appliances.kitchen.hood",
    "appliances.kitchen.juicer",
    "appliances.kitchen.kettle",
    "appliances.kitchen.meat_grinder",
    "appliances.kitchen.microwave",
    "appliances.kitchen.mixer",
    "appliances.kitchen.oven",
    "appliances.kitchen.refrigerator",
    "appliances.kitchen.toaster",
    "appliances.personal.hair_clipper",
    "appliances.personal.hair_dryer",
    "appliances.personal.massager",
    "appliances.sewing_machine",
    "auto.battery",
    "auto.camera",
    "auto.child_seat",
    "auto.compressor",
    "auto.player",
    "auto.radar_detector",
    "auto.tyre",
    "auto.winch",
    "computers.components.cooler",
    "computers.components.cpu",
    "computers.components.disk",
    "computers.components.memory",
    "computers.components.motherboard",
    "computers.components.power_supply",
    "computers.components.videocard",
    "computers.desktop",
    "computers.e_reader",
    "computers.monitor",
    "computers.notebook",
    "computers.peripherals.keyboard",
    "computers.peripherals.mouse",
    "computers.peripherals.printer",
    "computers.peripherals.router",
    "computers.peripherals.scanner",
    "computers.tablet",
    "construction.tools.drill",
    "construction.tools.generator",
    "construction.tools.pump",
    "construction.tools.saw",
    "construction.tools.screwdriver",
    "construction.tools.welder",
    "country_yard.grill",
    "country_yard.lawn_mower",
    "country_yard.trimmer",
    "electronics.audio.headphones",
    "electronics.audio.microphone",
    "electronics.audio.speaker",
    "electronics.audio.subwoofer",
    "electronics.camera.lens",
    "electronics.camera.photo",
    "electronics.camera.video",
    "electronics.clock",
    "electronics.telephone",
    "electronics.video.projector",
    "electronics.video.tv",
    "furniture.bathroom.cabinet",
    "furniture.bedroom.bed",
    "furniture.bedroom.mattress",
    "furniture.kitchen.chair",
    "furniture.kitchen.table",
    "furniture.living_room.armchair",
    "furniture.living_room.shelf",
    "furniture.living_room.sofa",
    "kids.carriage",
    "kids.doll",
    "kids.swing",
    "kids.toys",
    "sport.bicycle",
    "sport.exercise_bike",
    "sport.ski",
    "sport.snowboard",
    "stationery.calculator",
];

const BEGINNINGS: [&str; 24] = [
    "al", "bo", "ca", "da", "el", "fi", "go", "ha", "in", "jo", "ka", "lu", "mo", "ne", "or", "pa", "ri", "sa", "te", "ul", "va", "wi",
    "xe", "zo",
];
const MIDDLES: [&str; 24] = [
    "ra", "ven", "lin", "tor", "mi", "ko", "sel", "dar", "nex", "qui", "bel", "fen", "gra", "hul", "jin", "mar", "pol", "rix", "sto",
    "tal", "vor", "wen", "yan", "zet",
];
const ENDINGS: [&str; 10] = ["a", "o", "ex", "on", "is", "um", "ia", "er", "ix", "en"];

/// The invented name of a brand; distinct for the first 5,760 numbers.
pub(super) fn brand_name(number: usize) -> String {
    // A stride without a common factor visits every combination once and keeps neighbours apart.
    let place = number * 2903 % (BEGINNINGS.len() * MIDDLES.len() * ENDINGS.len());
    let (rest, ending) = (place / ENDINGS.len(), place % ENDINGS.len());
    [BEGINNINGS[rest / MIDDLES.len()], MIDDLES[rest % MIDDLES.len()], ENDINGS[ending]].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::profile::BRANDS;

    #[test]
    fn names_and_codes_are_distinct_and_need_no_quoting() {
        let names: HashSet<String> = (0..BRANDS as usize).map(brand_name).collect();
        assert_eq!(names.len(), BRANDS as usize);
        let codes: HashSet<&str> = CATEGORY_CODES.into_iter().collect();
        assert_eq!(codes.len(), CATEGORY_CODES.len());
        assert!(!codes.contains(SMARTPHONE));
        assert!(codes.iter().all(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_')));
    }
}
