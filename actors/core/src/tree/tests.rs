//! The tree under load: actors are lost, more is asked than fits, sessions come and go. Committed rows and other
//! users are not the ones to suffer.

mod admission;
mod fixture;
mod journal;
mod lost;
mod lost_root;
mod reopening;
mod resending;
mod restarts;
mod retiring;
mod schedules;
mod status;
mod stopping;
