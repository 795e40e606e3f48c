//! The tree under load: actors are lost, more is asked than fits, sessions come and go. Committed rows and other
//! users are not the ones to suffer.

mod admission;
mod altering;
mod barrier;
mod fixture;
mod flushing;
mod journal;
mod live;
mod lost;
mod lost_root;
mod reading;
mod reopening;
mod resending;
mod restarts;
mod retiring;
mod schedules;
mod status;
mod stopping;
mod workers;
