//! What the server promises, one test per promise, over HTTP.

mod batches;
mod bounds;
mod catalog;
mod copies;
mod ddl;
mod ddl_under_load;
mod dml;
mod flush;
mod formats;
mod functions;
mod idle;
mod isolation;
mod live;
mod parameters;
mod plans;
mod readme;
mod restart;
mod roles;
mod select;
mod status;
mod stop;
mod storages;
mod streamed;
mod streams;
mod user_qualifier;
mod users;
