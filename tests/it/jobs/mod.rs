//! Replays, backfills, bulk retries and erasing: what is sent, in which order, and what happens when processes die.

mod backfill;
mod backfill_live;
mod ending;
mod erase;
mod erase_quarantine;
mod replay;
mod retry;
