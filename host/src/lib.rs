//! x
pub mod column;
pub mod command;
pub mod database;
pub mod decode;
pub mod definition;
pub mod delivery;
pub mod engine;
pub mod error;
pub mod exact_sum;
pub mod limits;
pub mod live;
pub mod nats;
pub mod operator;
pub mod pipeline;
pub mod plan;
pub mod row;
pub mod sample;
pub mod sink;
pub mod source;
pub mod stage;
pub mod state;
pub mod time_zone;
pub mod turn;

