//! What an administrator does to a webhook and its deliveries while the program runs, and what is seen of them.

mod answers;
mod deliveries;
mod figures;
mod log_size;
mod states;
