//! Replays and backfills: what is sent, in which order, and what becomes of it when processes die.

mod backfill;
mod backfill_live;
mod replay;
mod scene;
