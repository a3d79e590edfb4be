//! Delivery: from a stored event and a webhook to an answered HTTPS request.
//!
//! Guarantees: at least once; for one webhook and one lane in commit order, one at a time; nothing is sent to an
//! address that the guard has not vetted; every wait and body is bounded.
