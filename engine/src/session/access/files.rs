//! Files: only what lies in a location that was granted, whatever path leads to it, and never within the warehouse.

use std::path::PathBuf;

use datafusion::datasource::listing::ListingTableUrl;
use object_store::ObjectMeta;
use orrery_lakehouse::Warehouse;

use super::{Actor, Guard};
use crate::access::{Location, Privilege, Securable, Subject};
use crate::{Blame, Error, Result};

impl Guard {
    /// Whether whoever acts may list a path at all: before anything is looked up, so that nobody learns what is there.
    ///
    /// # Errors
    /// The location was not granted; the same words whether there is something or not.
    pub fn may_look_into(&self, text: &str, place: &ListingTableUrl) -> Result<()> {
        if self.is_unrestricted() {
            return Ok(());
        }
        let location = Location::of(place);
        let may = |who: &Subject| covering(self, who, Privilege::ReadFiles, &location).is_some();
        self.note_file(&location, &may);
        match self.actor() {
            Actor::Unrestricted => Ok(()),
            Actor::As(who) => {
                crate::access::refuse_parents(text)?;
                if may(&who) { Ok(()) } else { Err(lacks(&who, Privilege::ReadFiles, text)) }
            }
        }
    }

    /// Whether whoever acts may read these files of a place that he may look into: links may lead elsewhere, and the warehouse is never read past its rights.
    ///
    /// # Errors
    /// A file that lies elsewhere, or in the warehouse.
    pub fn may_read_files(&self, warehouse: &Warehouse, text: &str, place: &ListingTableUrl, files: &[ObjectMeta]) -> Result<()> {
        let Actor::As(who) = self.actor() else { return Ok(()) };
        let place = Location::of(place);
        let Some(granted) = covering(self, &who, Privilege::ReadFiles, &place) else {
            return Err(lacks(&who, Privilege::ReadFiles, text));
        };
        let bounds = Bounds::new(warehouse, granted, &who)?;
        files.iter().try_for_each(|file| bounds.check(&place.beside(file.location.clone()), text))
    }

    /// Whether whoever acts may write a file or folder.
    ///
    /// # Errors
    /// The location was not granted, is in the warehouse, or leads elsewhere.
    pub fn may_write_file(&self, warehouse: &Warehouse, text: &str) -> Result<()> {
        let Actor::As(who) = self.actor() else { return Ok(()) };
        let place = Location::parse(text)?;
        self.note_file(&place, &|who: &Subject| covering(self, who, Privilege::WriteFiles, &place).is_some());
        let Some(granted) = covering(self, &who, Privilege::WriteFiles, &place) else {
            return Err(lacks(&who, Privilege::WriteFiles, text));
        };
        Bounds::new(warehouse, granted, &who)?.check(&place, text)
    }

    fn note_file(&self, location: &Location, may: &dyn Fn(&Subject) -> bool) {
        let Some(user) = self.reader() else { return };
        let is_another = matches!(self.actor(), Actor::Unrestricted) || matches!(self.actor(), Actor::As(who) if who.name != user.name);
        self.note_object(location.to_string());
        if is_another && !may(&user) {
            self.note_borrowed();
        }
    }
}

/// The granted location that a place lies in; administrators were granted every one.
fn covering(guard: &Guard, who: &Subject, privilege: Privilege, place: &Location) -> Option<Granted> {
    let rights = guard.rights();
    if rights.holds(who, privilege, &Securable::server()) {
        return Some(Granted::Everything);
    }
    let granted = rights.locations(who, privilege).filter_map(|location| Location::parse(location).ok());
    granted.filter(|location| place.is_within(location)).map(Granted::Below).next()
}

enum Granted {
    Everything,
    Below(Location),
}

/// Where a file has to lie, and where it must not.
struct Bounds {
    within: Option<(Location, Option<PathBuf>)>,
    /// The warehouse, or of it only what holds rights.
    not_within: (Location, Option<PathBuf>),
    user: String,
}

impl Bounds {
    fn new(warehouse: &Warehouse, granted: Granted, who: &Subject) -> Result<Self> {
        let mut root = warehouse.root().clone();
        if who.is_administrator() {
            // Hashes of passwords are for nobody.
            let own = [crate::session::SYSTEM, crate::access::tables::PLACE.0];
            if let Ok(mut segments) = root.path_segments_mut() {
                segments.pop_if_empty().extend(own);
            }
        }
        let invalid = |e: datafusion::common::DataFusionError| Error::new(Blame::Bug, e.strip_backtrace());
        let forbidden = Location::of(&ListingTableUrl::try_new(root, None).map_err(invalid)?);
        let with_real_path = |location: Location| Ok::<_, Error>((location.clone(), location.real_path()?));
        let within = match granted {
            Granted::Everything => None,
            Granted::Below(location) => Some(with_real_path(location)?),
        };
        Ok(Self { within, not_within: with_real_path(forbidden)?, user: who.name.clone() })
    }

    fn check(&self, file: &Location, text: &str) -> Result<()> {
        let real = file.real_path()?;
        let (forbidden, forbidden_path) = &self.not_within;
        let in_forbidden =
            file.is_within(forbidden) || matches!((&real, forbidden_path), (Some(real), Some(forbidden)) if real.starts_with(forbidden));
        if in_forbidden {
            return Err(Error::new(
                Blame::Rights,
                format!("'{text}' leads into the warehouse, which is read and written by the names of its tables only"),
            )
            .hint("SELECT FROM the table"));
        }
        let Some((granted, granted_path)) = &self.within else { return Ok(()) };
        let is_inside = file.is_within(granted)
            && match (&real, granted_path) {
                (Some(real), Some(granted)) => real.starts_with(granted),
                (None, None) => true,
                _ => false,
            };
        if is_inside {
            return Ok(());
        }
        Err(Error::new(Blame::Rights, format!("'{text}' leads out of the location that was granted to {}", self.user))
            .hint("no links out of it are followed"))
    }
}

fn lacks(who: &Subject, privilege: Privilege, text: &str) -> Error {
    Error::new(Blame::Rights, format!("{} lacks {privilege} on '{text}'", who.name))
        .hint(format!("an administrator may GRANT {privilege} ON LOCATION 'folder' TO {}", who.name))
}
