//! Which activity belongs to a change: the first one after it, unless another change came in between.

use crate::lifecycle::ActivityLookup;

/// An activity of the change's row and kind of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The low half of its transaction's id, as `xmin` has it.
    pub(super) xid: u32,
    pub(super) user: String,
}

/// What the activities say about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    By(String),
    /// Nobody was logged in, or it cannot be known.
    Nobody,
    /// Its row may still come.
    Wait,
}

/// Whether the row's transaction is not before the change's. Transaction ids wrap around: an id less than half of them ahead is later.
fn not_before(row: u32, change: &ActivityLookup) -> bool {
    row.wrapping_sub(low(change)) < 1 << 31
}

#[expect(clippy::cast_possible_truncation, reason = "`xmin` has the low half")]
const fn low(change: &ActivityLookup) -> u32 {
    change.xid.0 as u32
}

/// Decides whose change it was. `all` are the changes under way, this one among them; `last`: there will be no further look.
pub(super) fn choose<'a>(
    change: &ActivityLookup,
    all: impl Iterator<Item = &'a ActivityLookup>,
    rows: &[Row],
    last: bool,
) -> Verdict {
    let undecided = if last { Verdict::Nobody } else { Verdict::Wait };
    let mut after: Vec<&Row> = rows.iter().filter(|row| not_before(row.xid, change)).collect();
    after.sort_by_key(|row| row.xid.wrapping_sub(low(change)));
    let Some(first) = after.first() else {
        return undecided;
    };
    let named = |user: &str| match user {
        "" => Verdict::Nobody,
        user => Verdict::By(user.to_owned()),
    };
    if first.xid == low(change) {
        return named(&first.user);
    }
    // Another request changed the same row, and the row that was found may be its activity.
    let rivals: Vec<&ActivityLookup> = all
        .filter(|other| {
            (other.kind, other.action, other.id) == (change.kind, change.action, change.id)
                && other.pid != change.pid
                && not_before(first.xid, other)
        })
        .filter(|other| {
            // A change whose own activity came before this change does not compete.
            !rows
                .iter()
                .any(|row| not_before(row.xid, other) && !not_before(row.xid, change))
        })
        .collect();
    if rivals.is_empty() {
        return named(&first.user);
    }
    let contested: Vec<&Row> = rows
        .iter()
        .filter(|row| not_before(row.xid, change) || rivals.iter().any(|other| not_before(row.xid, other)))
        .collect();
    if !last && contested.len() <= rivals.len() {
        return Verdict::Wait;
    }
    if contested.iter().all(|row| row.user == first.user) {
        named(&first.user)
    } else {
        Verdict::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Xid;
    use orw_model::{Action, EntityKind};

    fn change(xid: u64, pid: i32) -> ActivityLookup {
        ActivityLookup {
            event: 0,
            kind: EntityKind::Register,
            action: Action::Updated,
            id: 1,
            xid: Xid(xid),
            pid,
            at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn rows(rows: &[(u32, &str)]) -> Vec<Row> {
        rows.iter()
            .map(|(xid, user)| Row {
                xid: *xid,
                user: (*user).to_owned(),
            })
            .collect()
    }

    fn verdict(own: &ActivityLookup, all: &[ActivityLookup], found: &[(u32, &str)], last: bool) -> Verdict {
        choose(own, all.iter(), &rows(found), last)
    }

    fn by(user: &str) -> Verdict {
        Verdict::By(user.to_owned())
    }

    #[test]
    fn the_first_activity_after_the_change_is_its_own() {
        let own = change(10, 1);
        let alone = std::slice::from_ref(&own);
        assert_eq!(verdict(&own, alone, &[], false), Verdict::Wait);
        assert_eq!(verdict(&own, alone, &[], true), Verdict::Nobody);
        assert_eq!(verdict(&own, alone, &[(9, "bob")], true), Verdict::Nobody);
        // Two rows: one for the user's own stream, one for somebody who follows it.
        let found = [(9, "bob"), (13, "alice"), (12, "alice"), (20, "bob")];
        assert_eq!(verdict(&own, alone, &found, false), by("alice"));
        assert_eq!(verdict(&own, alone, &[(12, "")], false), Verdict::Nobody);
        let own = change((7 << 32) - 1, 1);
        assert_eq!(
            verdict(
                &own,
                std::slice::from_ref(&own),
                &[(u32::MAX - 5, "bob"), (1, "alice")],
                false
            ),
            by("alice"),
            "transaction ids go round"
        );
    }

    #[test]
    fn changes_one_after_another_are_told_apart() {
        let (alice, bob) = (change(10, 1), change(20, 2));
        let all = [alice.clone(), bob.clone()];
        let found = [(12, "alice"), (22, "bob")];
        assert_eq!(verdict(&alice, &all, &found, false), by("alice"));
        assert_eq!(verdict(&bob, &all, &found, false), by("bob"));
        assert_eq!(verdict(&bob, &all, &found[..1], false), Verdict::Wait);
    }

    #[test]
    fn changes_that_overlap_name_nobody_unless_both_are_by_the_same() {
        let (alice, bob) = (change(10, 1), change(11, 2));
        let all = [alice.clone(), bob.clone()];
        assert_eq!(verdict(&alice, &all, &[(12, "alice")], false), Verdict::Wait);
        for own in [&alice, &bob] {
            assert_eq!(
                verdict(own, &all, &[(12, "bob"), (13, "alice")], false),
                Verdict::Nobody
            );
            assert_eq!(verdict(own, &all, &[(12, "bob"), (13, "bob")], false), by("bob"));
        }
        // Another register is no rival.
        let other = ActivityLookup { id: 2, ..bob };
        assert_eq!(
            verdict(&alice, &[alice.clone(), other], &[(12, "alice")], false),
            by("alice")
        );
    }
}
