//! What monitoring systems get: metrics in both text forms, alert rules, a dashboard, and traces. Prometheus itself reads and
//! evaluates them.

mod alerts;
mod cardinality;
mod dashboard;
mod files;
mod forms;
mod traces;
