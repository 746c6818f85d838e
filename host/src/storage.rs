//! Where turns go, and what people read of them afterwards.

pub mod sqlite;
