//! The names of a table's columns, kept once for all of its rows.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use super::known::{KNOWN, number_of};
use crate::metadata::is_metadata;

/// The names of the columns of a table, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) names: Vec<Box<str>>,
    /// The places of the names, in the order of the names.
    sorted: Vec<u16>,
    /// The places of the known names, by their numbers.
    known: [u16; KNOWN],
    /// The same for known names behind an underscore.
    underscored: [u16; KNOWN],
    /// For each column whether it is metadata of an object in a magic table.
    pub(super) metadata: Vec<bool>,
}

/// No place: there is no such column.
const NOWHERE: u16 = u16::MAX;

impl Default for Layout {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

/// How many layouts a thread remembers: those of the tables that it read last.
const REMEMBERED: usize = 16;
/// A place in a layout is a `u16`. PostgreSQL's tables have 1,600 columns at most.
pub(super) const MOST: usize = 65_534;

thread_local! {
    static LAYOUTS: RefCell<Vec<Arc<Layout>>> = const { RefCell::new(Vec::new()) };
}

impl Layout {
    pub(super) fn of(names: Vec<Box<str>>) -> Self {
        let mut sorted: Vec<u16> = (0..NOWHERE).take(names.len()).collect();
        sorted.sort_by(|a, b| names[usize::from(*a)].cmp(&names[usize::from(*b)]));
        let (mut known, mut underscored) = ([NOWHERE; KNOWN], [NOWHERE; KNOWN]);
        let mut metadata = Vec::with_capacity(names.len());
        // Of two columns with the same name, which no table has, the layout is not used.
        for (name, place) in names.iter().zip(0..NOWHERE) {
            if let Some(number) = number_of(name.as_bytes()) {
                known[number] = place;
            }
            let behind = name.strip_prefix('_');
            if let Some(number) = behind.and_then(|name| number_of(name.as_bytes())) {
                underscored[number] = place;
            }
            metadata.push(behind.is_some_and(is_metadata));
        }
        Self {
            names,
            sorted,
            known,
            underscored,
            metadata,
        }
    }

    /// The place of a column.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        match number_of(name.as_bytes()) {
            Some(number) => place_in(&self.known, number),
            None => self.search(name.as_bytes()),
        }
    }

    /// The place of the column whose name is `name` behind an underscore.
    pub(super) fn place_underscored(&self, name: &str) -> Option<usize> {
        match number_of(name.as_bytes()) {
            Some(number) => place_in(&self.underscored, number),
            None => self.search(format!("_{name}").as_bytes()),
        }
    }

    fn search(&self, name: &[u8]) -> Option<usize> {
        let found = self
            .sorted
            .binary_search_by(|place| self.names[usize::from(*place)].as_bytes().cmp(name));
        found.ok().map(|at| usize::from(self.sorted[at]))
    }

    /// The layout with these names, which another row may have had.
    pub(super) fn shared(names: &[Cow<'_, str>]) -> Arc<Self> {
        let same = |layout: &Arc<Self>| {
            layout.names.len() == names.len() && layout.names.iter().zip(names).all(|(a, b)| **a == **b)
        };
        LAYOUTS.with_borrow_mut(|layouts| {
            if let Some(place) = layouts.iter().rposition(same) {
                // The last one is looked at first.
                let layout = Arc::clone(&layouts[place]);
                if place + 1 < layouts.len() {
                    let found = layouts.remove(place);
                    layouts.push(found);
                }
                return layout;
            }
            if layouts.len() >= REMEMBERED {
                layouts.remove(0);
            }
            let layout = Arc::new(Self::of(names.iter().map(|name| name.as_ref().into()).collect()));
            layouts.push(Arc::clone(&layout));
            layout
        })
    }
}

fn place_in(places: &[u16; KNOWN], number: usize) -> Option<usize> {
    (places[number] != NOWHERE).then(|| usize::from(places[number]))
}

impl Layout {
    /// Whether two columns have the same name, which no table has.
    pub(super) fn has_twins(&self) -> bool {
        let name = |place: &u16| &self.names[usize::from(*place)];
        self.sorted
            .windows(2)
            .any(|pair| name(&pair[0]) == name(&pair[1]))
    }
}
