//! The names of a table's columns, kept once for all of its rows.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

/// The names of the columns of a table, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) names: Vec<Box<str>>,
    /// The places of the names, in the order of the names.
    sorted: Vec<u16>,
}

/// How many layouts a thread remembers: those of the tables that it read last.
const REMEMBERED: usize = 16;
/// A place in a layout is a `u16`. PostgreSQL's tables have 1,600 columns at most.
pub(super) const MOST: usize = 65_535;

thread_local! {
    static LAYOUTS: RefCell<Vec<Arc<Layout>>> = const { RefCell::new(Vec::new()) };
}

impl Layout {
    pub(super) fn of(names: Vec<Box<str>>) -> Self {
        let mut sorted: Vec<u16> = (0..=u16::MAX).take(names.len()).collect();
        sorted.sort_by(|a, b| names[usize::from(*a)].cmp(&names[usize::from(*b)]));
        Self { names, sorted }
    }

    pub(super) fn place(&self, name: &[u8]) -> Option<usize> {
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

impl Layout {
    /// Whether two columns have the same name, which no table has.
    pub(super) fn has_twins(&self) -> bool {
        let name = |place: &u16| &self.names[usize::from(*place)];
        self.sorted
            .windows(2)
            .any(|pair| name(&pair[0]) == name(&pair[1]))
    }
}
