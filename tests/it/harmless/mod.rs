//! The host is never harmed: Nextcloud's writes, upgrades and catalogs are as they would be without us.

mod catalog;
mod ddl;
mod first_rows;
mod hostile;
mod soak;
mod traffic;
mod transactions;
mod unpinned;
mod upgrade;
mod writes;
